//! `stepsynth data`.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use stepsynth_datasets::load::ReadOptions;
use stepsynth_datasets::task::LabelOrder;
use stepsynth_datasets::{Part, check};

use crate::failure::Failure;

#[derive(Subcommand)]
pub(super) enum DataCommand {
    /// Read a task's gold files and say what they hold
    Check {
        /// A built-in task or a TOML file
        task: String,
        /// Folder of the files
        #[arg(long, value_name = "DIR", default_value = ".")]
        data: PathBuf,
        /// Bad rows to leave out before giving up
        #[arg(long, value_name = "N", default_value_t = 0)]
        max_bad_rows: usize,
        /// Which label each number means, for example negative,positive or 1=world,2=sports
        #[arg(long, value_name = "LABELS")]
        label_order: Option<LabelOrder>,
    },
}

pub(super) fn data(command: &DataCommand) -> Result<()> {
    let DataCommand::Check { task, data, max_bad_rows, label_order } = command;
    let task = super::task::find(task)?;
    let options = ReadOptions { max_bad_rows: *max_bad_rows, label_order: label_order.clone() };
    let report = check(&task, data, &options).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut out = String::new();
    describe(&mut out, "train", &report.train);
    describe(&mut out, "test", &report.test);
    if let Some(overlap) = report.overlap {
        let _ = writeln!(out, "train rows also in test: {} whole inputs, {} contexts", overlap.inputs, overlap.contexts);
    }
    super::print(&out)?;
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
