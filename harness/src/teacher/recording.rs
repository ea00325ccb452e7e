//! Which files a replay teacher reads.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use stepsynth_datasets::load::{FileRecord, ReadOptions, read};
use stepsynth_datasets::task::Source;
use stepsynth_datasets::{TaskSpec, hash};

use super::{Provenance, Recorded, Replay, Sources, Step};
use crate::method::RowFile;

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
    /// Reads the files, which are relative to `data`, as rows of `task`. The teacher is named after all of them.
    ///
    /// # Errors
    /// Naming file, line and field, as [`read`] does; a mixture of the laboratory's text with other text.
    pub fn open(&self, task: &TaskSpec, data: &Path, options: &ReadOptions) -> Result<Replay> {
        // Where gold rows have a column of ids, written rows need not: they are named after file and row.
        let mut task = task.clone();
        task.fields.id = None;
        let mut recorded = Vec::new();
        let mut stems = Vec::new();
        let mut sources = Sources::default();
        for (source, step) in [(&self.seed, Step::Seed), (&self.additional, Step::Extrapolate)] {
            let Some(source) = source else { continue };
            let loaded = read(&task, source, data, options)?;
            stems.extend(source.files.iter().map(|file| stem(file)));
            let mut examples = loaded.examples.into_iter();
            for (index, file) in loaded.files.iter().enumerate() {
                let round = if step == Step::Seed { 0 } else { index + 1 };
                let row = |example| Recorded { example, parent: None, round, step, provenance: Provenance::Replayed };
                recorded.extend(examples.by_ref().take(file.rows).map(row));
            }
            sources.files.extend(loaded.files);
            sources.bad_rows.extend(loaded.bad_rows);
        }
        stems.extend(self.rows.iter().map(|file| stem(file)));
        for file in &self.rows {
            let path = data.join(file);
            let rows = read_rows(&path, &task)?;
            sources.files.push(FileRecord { file: file.clone(), sha256: hash::file(&path)?, rows: rows.len() });
            recorded.extend(rows);
        }
        if recorded.is_empty() {
            bail!("a replay teacher needs `seed`, `additional` or `rows`: name the files that it reads");
        }
        let simulated = recorded.iter().filter(|row| row.provenance == Provenance::Simulated).count();
        if simulated != 0 && simulated != recorded.len() {
            bail!(
                "{simulated} of {} rows are the simulated teacher's, the others are not: results of both could not be told \
                 apart; name files of one kind",
                recorded.len()
            );
        }
        Ok(Replay::new(&stems.join("+"), recorded).from_sources(sources))
    }
}

fn stem(file: &Path) -> String {
    // "train.jsonl.gz" is called "train", "gpt-3.5.jsonl" "gpt-3.5".
    let packed = file.extension().is_some_and(|extension| extension == "gz");
    let file = if packed { file.with_extension("") } else { file.to_owned() };
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn read_rows(path: &Path, task: &TaskSpec) -> Result<Vec<Recorded>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let row = |(index, line): (usize, &str)| {
        let place = || format!("{}:{}: not a row of a run", path.display(), index + 1);
        let row: RowFile = serde_json::from_str(line).with_context(place)?;
        let row = row.into_row(task).map_err(anyhow::Error::msg).with_context(place)?;
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

    #[test]
    fn text_of_the_laboratory_stays_that_and_is_not_mixed_with_other_text() {
        let row = |provenance: &str| {
            format!(
                r#"{{"round":0,"example":{{"id":"x","input":{{"text":"h","text_pair":"p"}},"target":{{"label":"entailment"}}}},"parent":null,"rationales":[],"prompt_id":"","request_hash":"","teacher":"t","provenance":"{provenance}","usage":{{"prompt_tokens":null,"completion_tokens":null,"usd":null}},"filters":[]}}"#
            )
        };
        let read = |rows: &[&str]| {
            let text: Vec<String> = rows.iter().map(|provenance| row(provenance)).collect();
            open("rows = [\"r.jsonl\"]", &[("r.jsonl", &text.join("\n"))])
        };
        assert_eq!(read(&["simulated", "simulated"]).unwrap().provenance(), Provenance::Simulated);
        let replayed = read(&["live", "replayed"]).unwrap();
        assert_eq!((replayed.provenance(), replayed.sources().files[0].rows), (Provenance::Replayed, 2));
        let text = read(&["simulated", "live"]).err().unwrap().to_string();
        assert!(text.starts_with("1 of 2 rows are the simulated teacher's"), "{text}");
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
        assert_eq!((replay.name().as_str(), rounds), ("replay:s-3.5+a+b", vec![0, 1, 1, 2]));
    }

    #[test]
    fn rows_of_a_run_keep_their_parents_and_bad_ones_are_named() {
        let row = r#"{"round":1,"example":{"id":"x","input":{"text":"h","text_pair":"p"},"target":{"label":"not_entailment"}},"parent":"g","rationales":[],"prompt_id":"","request_hash":"","teacher":"t","provenance":"live","usage":{"prompt_tokens":null,"completion_tokens":null,"usd":null},"filters":[]}"#;
        let replay = open("rows = [\"round-1.jsonl\"]", &[("round-1.jsonl", row)]).unwrap();
        let read = &replay.recording().unwrap()[0];
        assert_eq!((read.parent.as_deref(), read.step, read.round), (Some("g"), Step::Extrapolate, 1));
        let error = open("rows = [\"r.jsonl\"]", &[("r.jsonl", &format!("{row}\n{PAIR}"))]).err().unwrap();
        assert!(error.to_string().ends_with("r.jsonl:2: not a row of a run"), "{error}");
        let odd = row.replace("not_entailment", "maybe");
        let error = open("rows = [\"r.jsonl\"]", &[("r.jsonl", &format!("{row}\n{odd}"))]).err().unwrap();
        let text = format!("{error:#}");
        let why =
            "r.jsonl:2: not a row of a run: `label`: `maybe` is not a label of task rte; labels are entailment, not_entailment";
        assert!(text.ends_with(why), "{text}");
        let qa = row.replace(r#"{"text":"h","text_pair":"p"}"#, r#"{"text":"h"}"#);
        let text = format!("{:#}", open("rows = [\"r.jsonl\"]", &[("r.jsonl", &qa)]).err().unwrap());
        assert!(text.contains("r.jsonl:1: not a row of a run: `example`: not an example of task rte"), "{text}");
        assert!(open("", &[]).err().unwrap().to_string().contains("name the files"));
    }
}
