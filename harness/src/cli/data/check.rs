//! `stepsynth data check`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use stepsynth_datasets::load::ReadOptions;
use stepsynth_datasets::task::LabelOrder;
use stepsynth_datasets::{Part, check as check_gold};

use crate::cli::{print, task};
use crate::failure::Failure;

pub(super) fn check(name: &str, data: &Path, max_bad_rows: usize, label_order: Option<LabelOrder>) -> Result<()> {
    let task = task::find(name)?;
    let options = ReadOptions { max_bad_rows, label_order };
    let report = check_gold(&task, data, &options).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut out = String::new();
    describe(&mut out, "train", &report.train);
    describe(&mut out, "test", &report.test);
    if let Some(overlap) = report.overlap {
        let _ = writeln!(out, "train rows also in test: {} whole inputs, {} contexts", overlap.inputs, overlap.contexts);
    }
    print(&out)?;
    match report.train.problem.or(report.test.problem) {
        None => Ok(()),
        Some(problem) => Err(Failure::usage(problem)),
    }
}

fn describe(out: &mut String, name: &str, part: &Part) {
    if part.problem.is_some() {
        let _ = writeln!(out, "{name}: cannot be read");
        return;
    }
    let _ = writeln!(
        out,
        "{name}: {} rows, {:.1} words on average, {} at most; {} repeated, {} of them with another target; {} bad rows left out",
        part.rows,
        part.mean_words,
        part.max_words,
        part.repeated,
        part.contradicting,
        part.bad_rows.len()
    );
    for file in &part.files {
        let _ = writeln!(out, "  {}: {} rows, sha256 {}", file.file.display(), file.rows, file.sha256);
    }
    for label in &part.labels {
        let _ = writeln!(out, "  label {}: {} rows", label.label, label.rows);
    }
}
