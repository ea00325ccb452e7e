//! What gold files hold, for `stepsynth data check` and `stepsynth task check`: numbers only, never the test rows.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::load::{self, BadRow, FileRecord, ReadOptions};
use crate::task::Source;
use crate::{Example, Result, TaskSpec};

/// What the gold files of a task hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The task.
    pub task: String,
    /// Training files.
    pub train: Part,
    /// Test files.
    pub test: Part,
    /// What both share; absent if one cannot be read.
    pub overlap: Option<Overlap>,
}

impl CheckReport {
    /// Whether both parts can be read.
    pub fn is_ok(&self) -> bool {
        self.train.problem.is_none() && self.test.problem.is_none()
    }
}

/// The files of one part of the gold data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Why the files cannot be read; then the numbers below are 0.
    pub problem: Option<String>,
    /// The files.
    pub files: Vec<FileRecord>,
    /// Rows read.
    pub rows: usize,
    /// Rows of each label, in the order of the task's labels; empty for question answering.
    pub labels: Vec<LabelCount>,
    /// Rows whose input repeats an earlier row's.
    pub repeated: usize,
    /// Of those, rows whose target differs from the first such row's.
    pub contradicting: usize,
    /// Mean words of an input (both texts together).
    pub mean_words: f64,
    /// Most words of an input.
    pub max_words: usize,
    /// Rows that were left out as bad.
    pub bad_rows: Vec<BadRow>,
}

/// How many rows have a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// Label name.
    pub label: String,
    /// Rows.
    pub rows: usize,
}

/// What training and test files share, by content (case and spaces aside).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// Training rows whose whole input is in the test data.
    pub inputs: usize,
    /// Training rows whose context (premise, paragraph) is in the test data; 0 for single texts.
    pub contexts: usize,
}

/// Reads a task's gold files and counts. A part that cannot be read is a `problem` in the report, so that one missing file
/// does not hide what the others hold.
///
/// # Errors
/// [`crate::Error::NoGold`] if the task names no files.
pub fn check(task: &TaskSpec, data: &Path, options: &ReadOptions) -> Result<CheckReport> {
    let gold = task.gold_in(data)?;
    let (train, train_rows) = part(task, &gold.train, data, options);
    let (test, test_rows) = part(task, &gold.test, data, options);
    let readable = train.problem.is_none() && test.problem.is_none();
    let overlap = readable.then(|| overlap(&train_rows, &test_rows));
    Ok(CheckReport { task: task.name.clone(), train, test, overlap })
}

fn part(task: &TaskSpec, source: &Source, data: &Path, options: &ReadOptions) -> (Part, Vec<Example>) {
    let loaded = match load::read(task, source, data, options) {
        Ok(loaded) => loaded,
        Err(error) => return (Part { problem: Some(error.to_string()), ..Part::default() }, Vec::new()),
    };
    let rows = loaded.examples;
    let words: Vec<usize> = rows.iter().map(words).collect();
    let (repeated, contradicting) = repeats(&rows);
    let count = |label| rows.iter().filter(|example| example.label() == Some(label)).count();
    let labels = task.labels.iter().enumerate().map(|(index, name)| LabelCount { label: name.clone(), rows: count(index) });
    let part = Part {
        problem: None,
        files: loaded.files,
        rows: rows.len(),
        labels: labels.collect(),
        repeated,
        contradicting,
        mean_words: words.iter().sum::<usize>() as f64 / words.len() as f64,
        max_words: words.into_iter().max().unwrap_or(0),
        bad_rows: loaded.bad_rows,
    };
    (part, rows)
}

fn words(example: &Example) -> usize {
    let count = |text: &str| text.split_whitespace().count();
    count(example.input.written()) + example.input.context().map_or(0, count)
}

fn repeats(rows: &[Example]) -> (usize, usize) {
    let mut first = HashMap::new();
    let (mut repeated, mut contradicting) = (0, 0);
    for example in rows {
        let target = first.entry(example.input.content_key()).or_insert(&example.target);
        if !std::ptr::eq(*target, &example.target) {
            repeated += 1;
            contradicting += usize::from(**target != example.target);
        }
    }
    (repeated, contradicting)
}

fn overlap(train: &[Example], test: &[Example]) -> Overlap {
    let inputs: HashSet<String> = test.iter().map(|example| example.input.content_key()).collect();
    let contexts: HashSet<String> = test.iter().filter_map(|example| example.input.context_key()).collect();
    Overlap {
        inputs: train.iter().filter(|example| inputs.contains(&example.input.content_key())).count(),
        contexts: train.iter().filter(|e| e.input.context_key().is_some_and(|key| contexts.contains(&key))).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = r#"
        version = 1
        name = "tiny"
        kind = "pair"
        labels = ["yes", "no"]
        metric = "accuracy"
        [gold.train]
        files = ["train.csv"]
        [gold.test]
        files = ["test.csv"]
    "#;

    #[test]
    fn counts_repeats_contradictions_and_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let train = "text,text_pair,label\na b,P q,yes\nA  b,p Q,no\nnew,P q,yes\nc,own,no\nc,own,no\n";
        std::fs::write(folder.path().join("train.csv"), train).unwrap();
        std::fs::write(folder.path().join("test.csv"), "text,text_pair,label\na B,p q,yes\n").unwrap();
        let task = TaskSpec::parse(TASK, Path::new("tiny.toml")).unwrap();
        let report = check(&task, folder.path(), &ReadOptions::default()).unwrap();
        assert!(report.is_ok());
        assert_eq!((report.train.rows, report.train.repeated, report.train.contradicting), (5, 2, 1));
        assert_eq!(report.train.labels.iter().map(|l| l.rows).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((report.train.mean_words, report.train.max_words), ((4 + 4 + 3 + 2 + 2) as f64 / 5.0, 4));
        assert_eq!(report.overlap, Some(Overlap { inputs: 2, contexts: 3 }));
    }

    #[test]
    fn a_missing_part_does_not_hide_the_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("test.csv"), "text,text_pair,label\na,p,yes\n").unwrap();
        let task = TaskSpec::parse(TASK, Path::new("tiny.toml")).unwrap();
        let report = check(&task, folder.path(), &ReadOptions::default()).unwrap();
        assert!(!report.is_ok());
        assert!(report.train.problem.unwrap().ends_with("train.csv: no such file; check the path and the data folder"));
        assert_eq!((report.test.rows, report.overlap), (1, None));
    }
}
