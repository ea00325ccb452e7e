//! Which files a replay teacher reads.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use stepsynth_datasets::TaskSpec;
use stepsynth_datasets::load::{ReadOptions, read};
use stepsynth_datasets::task::Source;

use super::{Recorded, Replay, Step};
use crate::method::Row;

/// The parameters of `[teacher]` with `kind = "replay"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recording {
    /// Seed data: examples of the task in any format that gold data may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Source>,
    /// Additional data, one file a round from round 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional: Option<Source>,
    /// Rows of an earlier run, `synthetic/<task>/<method>/seed-<s>/round-<q>.jsonl`, which know their rounds and parents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<PathBuf>,
}

impl Recording {
    /// Reads the files, which are relative to `data`, as rows of `task`. The teacher is named after the first file of each
    /// part.
    ///
    /// # Errors
    /// Naming file, line and field, as [`read`] does.
    pub fn open(&self, task: &TaskSpec, data: &Path, options: &ReadOptions) -> Result<Replay> {
        // Where gold rows have a column of ids, written rows need not: they are named after file and row.
        let mut task = task.clone();
        task.fields.id = None;
        let mut recorded = Vec::new();
        let mut stems = Vec::new();
        for (source, step) in [(&self.seed, Step::Seed), (&self.additional, Step::Extrapolate)] {
            let Some(source) = source else { continue };
            let loaded = read(&task, source, data, options)?;
            stems.extend(source.files.first().map(|file| stem(file)));
            let mut examples = loaded.examples.into_iter();
            for (index, file) in loaded.files.iter().enumerate() {
                let round = if step == Step::Seed { 0 } else { index + 1 };
                recorded.extend(examples.by_ref().take(file.rows).map(|example| Recorded { example, parent: None, round, step }));
            }
        }
        stems.extend(self.rows.first().map(|file| stem(file)));
        for file in &self.rows {
            recorded.extend(read_rows(&data.join(file))?);
        }
        if recorded.is_empty() {
            bail!("a replay teacher needs `seed`, `additional` or `rows`: name the files that it reads");
        }
        Ok(Replay::new(&stems.join("+"), recorded))
    }
}

fn stem(file: &Path) -> String {
    // "train.jsonl.gz" is called "train", "gpt-3.5.jsonl" "gpt-3.5".
    let packed = file.extension().is_some_and(|extension| extension == "gz");
    let file = if packed { file.with_extension("") } else { file.to_owned() };
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn read_rows(path: &Path) -> Result<Vec<Recorded>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let row = |(index, line): (usize, &str)| {
        let row: Row =
            serde_json::from_str(line).with_context(|| format!("{}:{}: not a row of a run", path.display(), index + 1))?;
        Ok(Recorded::from(row))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teacher::Teacher;

    fn open(recording: &str, files: &[(&str, &str)]) -> Result<Replay> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let recording: Recording = toml::from_str(recording).unwrap();
        recording.open(&TaskSpec::find("rte").unwrap(), folder.path(), &ReadOptions::default())
    }

    const PAIR: &str = r#"{"premise":"p","hypothesis":"h","label":1}"#;
    const ORDER: &str = r#"label_order = ["entailment", "not_entailment"]"#;

    #[test]
    fn additional_files_are_rounds() {
        let spec = format!(
            "seed = {{ files = [\"s-3.5.jsonl\"], {ORDER} }}\nadditional = {{ files = [\"a.jsonl\", \"b.jsonl\"], {ORDER} }}"
        );
        let two = format!("{PAIR}\n{PAIR}\n");
        let replay = open(&spec, &[("s-3.5.jsonl", PAIR), ("a.jsonl", &two), ("b.jsonl", PAIR)]).unwrap();
        let rounds: Vec<usize> = replay.recording().unwrap().iter().map(|row| row.round).collect();
        assert_eq!((replay.name().as_str(), rounds), ("replay:s-3.5+a", vec![0, 1, 1, 2]));
    }

    #[test]
    fn rows_of_a_run_keep_their_parents_and_bad_ones_are_named() {
        let row = r#"{"round":1,"example":{"id":"x","input":{"text":"h","text_pair":"p"},"target":{"label":1}},"parent":"g","rationales":[],"prompt_id":"","request_hash":"","teacher":"t","provenance":"live","usage":{"prompt_tokens":null,"completion_tokens":null,"usd":null},"filters":[]}"#;
        let replay = open("rows = [\"round-1.jsonl\"]", &[("round-1.jsonl", row)]).unwrap();
        let read = &replay.recording().unwrap()[0];
        assert_eq!((read.parent.as_deref(), read.step, read.round), (Some("g"), Step::Extrapolate, 1));
        let error = open("rows = [\"r.jsonl\"]", &[("r.jsonl", &format!("{row}\n{PAIR}"))]).err().unwrap();
        assert!(error.to_string().ends_with("r.jsonl:2: not a row of a run"), "{error}");
        assert!(open("", &[]).err().unwrap().to_string().contains("name the files"));
    }
}
