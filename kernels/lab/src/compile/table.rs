//! `kernels/cu/resources.csv`: what each kernel needs on each architecture.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

/// The table's columns.
const COLUMNS: [&str; 8] = ["source", "kernel", "arch", "registers", "shared", "stack", "spill_stores", "spill_loads"];

/// What a thread or block of a kernel needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Registers of a thread.
    pub(crate) registers: u32,
    /// Static shared memory of a block in bytes.
    pub(crate) shared: u32,
    /// Stack of a thread in bytes: arrays that are indexed by a variable, and spills.
    pub(crate) stack: u32,
    /// Bytes that a thread writes because registers ran out.
    pub(crate) spill_stores: u32,
    /// Bytes that it reads back.
    pub(crate) spill_loads: u32,
}

/// By source, kernel and architecture.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Table(BTreeMap<(String, String, String), Resources>);

impl Table {
    pub(crate) fn insert(&mut self, source: &str, kernel: &str, arch: &str, resources: Resources) {
        self.0.insert((source.to_owned(), kernel.to_owned(), arch.to_owned()), resources);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many kernels spill.
    pub(crate) fn spilling(&self) -> usize {
        self.0.values().filter(|resources| resources.spill_stores + resources.spill_loads > 0).count()
    }

    /// The sources, each once, in order.
    #[cfg(test)]
    pub(crate) fn sources(&self) -> Vec<&str> {
        let mut sources: Vec<&str> = self.0.keys().map(|(source, _, _)| source.as_str()).collect();
        sources.dedup();
        sources
    }

    /// Reads the table.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let place = path.display();
        let mut reader = csv::Reader::from_path(path).map_err(|error| format!("{place}: {error}"))?;
        let mut table = Self::default();
        for row in reader.records() {
            let row = row.map_err(|error| format!("{place}: {error}"))?;
            let line = row.position().map_or(0, csv::Position::line);
            let text = |column: usize| row.get(column).unwrap_or_default();
            let number = |column: usize| {
                let value = text(column);
                value.parse::<u32>().map_err(|_| format!("{place}:{line}: `{}` is `{value}`, not a number", COLUMNS[column]))
            };
            let resources = Resources {
                registers: number(3)?,
                shared: number(4)?,
                stack: number(5)?,
                spill_stores: number(6)?,
                spill_loads: number(7)?,
            };
            table.insert(text(0), text(1), text(2), resources);
        }
        Ok(table)
    }

    /// Writes it, as a whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> Result<(), String> {
        let fail = |error: String| format!("{}: {error}", path.display());
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(COLUMNS).map_err(|error| fail(error.to_string()))?;
        for ((source, kernel, arch), resources) in &self.0 {
            let Resources { registers, shared, stack, spill_stores, spill_loads } = resources;
            let numbers = [registers, shared, stack, spill_stores, spill_loads].map(u32::to_string);
            let row = [source, kernel, arch].into_iter().chain(&numbers);
            writer.write_record(row).map_err(|error| fail(error.to_string()))?;
        }
        let bytes = writer.into_inner().map_err(|error| fail(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| fail(error.to_string()))?;
        file.write_all(&bytes).map_err(|error| fail(error.to_string()))?;
        file.persist(path).map_err(|error| fail(error.to_string()))?;
        Ok(())
    }

    /// In what way this table, found for the architectures that `wanted` names, is not the committed one.
    pub(crate) fn differences(&self, committed: &Self, wanted: impl Fn(&String) -> bool) -> Vec<String> {
        let name = |(source, kernel, arch): &(String, String, String)| format!("{kernel} ({source}.cu, {arch})");
        let changed = self.0.iter().filter_map(|(key, now)| match committed.0.get(key) {
            None => Some(format!("{}: not in the table; it needs {now:?}", name(key))),
            Some(before) if before != now => Some(format!("{}: {now:?}, the table says {before:?}", name(key))),
            Some(_) => None,
        });
        let gone = committed.0.keys().filter(|key| wanted(&key.2) && !self.0.contains_key(*key));
        changed.chain(gone.map(|key| format!("{}: in the table, but there is no such kernel", name(key)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_survives_the_disk_and_differences_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resources.csv");
        let mut table = Table::default();
        table.insert("add", "add_f32", "sm_80", Resources { registers: 12, ..Resources::default() });
        table.insert("add", "add_f32", "sm_75", Resources { registers: 14, shared: 64, ..Resources::default() });
        table.save(&path).unwrap();
        assert_eq!(Table::load(&path).unwrap(), table);
        assert!(table.differences(&Table::load(&path).unwrap(), |_| true).is_empty());

        let mut now = Table::default();
        now.insert("add", "add_f32", "sm_80", Resources { registers: 12, spill_stores: 8, ..Resources::default() });
        now.insert("add", "add_bf16", "sm_80", Resources::default());
        let found = now.differences(&table, |arch| arch == "sm_80");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("add_bf16 (add.cu, sm_80): not in the table"), "{found:?}");
        assert!(found[1].contains("spill_stores: 8") && found[1].contains("the table says"), "{found:?}");
        let found = now.differences(&table, |_| true);
        assert!(found[2].starts_with("add_f32 (add.cu, sm_75): in the table, but"), "{found:?}");
    }

    #[test]
    fn a_number_that_is_none_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resources.csv");
        std::fs::write(&path, format!("{}\nadd,add_f32,sm_80,12,0,0,0,many\n", COLUMNS.join(","))).unwrap();
        let error = Table::load(&path).unwrap_err();
        assert!(error.ends_with("resources.csv:2: `spill_loads` is `many`, not a number"), "{error}");
    }
}
