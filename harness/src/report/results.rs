//! `results.csv`: one measured value a row.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use stepsynth_datasets::Protocol;

use crate::failure::Failure;
use crate::teacher::Provenance;

/// The columns, in order.
pub const COLUMNS: [&str; 31] = [
    "run_id",
    "task",
    "method",
    "variant",
    "student",
    "teacher",
    "provenance",
    "protocol",
    "seed",
    "round",
    "epoch",
    "split",
    "metric",
    "value",
    "n",
    "ci_low",
    "ci_high",
    "train_rows",
    "seed_rows",
    "additional_rows",
    "gold_rows",
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "usd",
    "train_tokens",
    "train_flops",
    "wall_seconds",
    "peak_rss_mb",
    "device",
    "commit",
];

/// Columns that measure time or memory, and so differ between two runs of one spec.
pub const TIMING_COLUMNS: [&str; 2] = ["wall_seconds", "peak_rss_mb"];

/// Metrics that are rates, and so lie in `[0, 1]`. All others are only finite.
const RATES: [&str; 9] =
    ["accuracy", "span_accuracy", "macro_f1", "exact_match", "f1", "coverage", "overlap_exact", "tv", "tv_floor"];

/// The part of the gold or training data that a value was measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The training rows, during training.
    Train,
    /// Gold data mined for errors.
    Mine,
    /// Gold data that chooses the epoch.
    Select,
    /// Gold data scored once, at the end.
    Test,
}

/// One measured value. Absent = empty in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// Names the run: the beginning of its fingerprint.
    pub run_id: String,
    /// Task.
    pub task: String,
    /// Kind of method.
    pub method: String,
    /// Variant of the method, may be empty.
    pub variant: String,
    /// Student.
    pub student: String,
    /// Teacher, empty if none was used.
    pub teacher: String,
    /// Where the training text came from.
    pub provenance: Provenance,
    /// Protocol.
    pub protocol: Protocol,
    /// Seed.
    pub seed: u64,
    /// Round, 0 = seed data only.
    pub round: usize,
    /// Epoch of training, from 1; empty where it does not apply.
    pub epoch: Option<usize>,
    /// Measured on.
    pub split: Split,
    /// `accuracy`, `macro_f1`, `exact_match`, `f1`, `loss`, ...; rates in `[0, 1]`. On training rows of questions,
    /// `span_accuracy` is the share of windows with both ends right. Of laboratory tasks, `tv` is the distance of the training
    /// rows' empirical distribution of attributes from that of gold data, and `tv_floor` what rows of gold data would have.
    pub metric: String,
    /// The value.
    pub value: f64,
    /// Examples it was measured on.
    pub n: Option<usize>,
    /// Lower end of the 95% interval.
    pub ci_low: Option<f64>,
    /// Upper end of the 95% interval.
    pub ci_high: Option<f64>,
    /// Rows of the training set: the sum of the next three.
    pub train_rows: Option<usize>,
    /// Of these, seed data.
    pub seed_rows: Option<usize>,
    /// Of these, additional data.
    pub additional_rows: Option<usize>,
    /// Of these, gold data.
    pub gold_rows: Option<usize>,
    /// Requests sent to the teacher by this cell so far.
    pub requests: Option<u64>,
    /// Their prompts' tokens; empty if unknown.
    pub prompt_tokens: Option<u64>,
    /// Tokens written for them; empty if unknown.
    pub completion_tokens: Option<u64>,
    /// Their price; empty if unknown.
    pub usd: Option<f64>,
    /// Tokens this student was trained on, over all epochs.
    pub train_tokens: Option<u64>,
    /// Floating-point operations of that.
    pub train_flops: Option<f64>,
    /// Seconds spent on this student.
    pub wall_seconds: Option<f64>,
    /// The process's largest resident memory so far, in MB (1e6 bytes).
    pub peak_rss_mb: Option<f64>,
    /// Device and precision.
    pub device: String,
    /// Commit of the program, empty if unknown.
    pub commit: String,
}

/// Writes the header and `rows`.
pub fn write<'a>(rows: impl IntoIterator<Item = &'a ResultRow>, out: impl Write) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record(COLUMNS)?;
    for row in rows {
        writer.serialize(row)?;
    }
    writer.flush()?;
    Ok(())
}

/// Reads and checks a results file.
///
/// # Errors
/// [`Failure::Usage`] naming file, line and column.
pub fn read_file(path: &Path) -> Result<Vec<ResultRow>> {
    let file = std::fs::File::open(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    read(file, &path.display().to_string())
}

/// Reads and checks results; `place` names them in errors.
pub fn read(source: impl Read, place: &str) -> Result<Vec<ResultRow>> {
    let mut reader = csv::Reader::from_reader(source);
    let header = reader.headers().with_context(|| place.to_owned())?.clone();
    if let Some(at) = (0..COLUMNS.len().max(header.len())).find(|&at| header.get(at) != COLUMNS.get(at).copied()) {
        let (got, want) = (header.get(at).unwrap_or("nothing"), COLUMNS.get(at).copied().unwrap_or("nothing"));
        return Err(Failure::usage(format!("{place}: column {} is `{got}`, expected `{want}`: not a results file", at + 1)));
    }
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(rows),
            Ok(true) => {}
            Err(error) => return Err(Failure::usage(format!("{place}:{line}: {error}"))),
        }
        let row: ResultRow = record.deserialize(Some(&header)).map_err(|error| bad_field(place, line, &error))?;
        check(&row).map_err(|message| Failure::Usage(format!("{place}:{line}: {message}")))?;
        rows.push(row);
    }
}

fn bad_field(place: &str, line: u64, error: &csv::Error) -> anyhow::Error {
    let message = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => {
            let column = err.field().and_then(|at| COLUMNS.get(at as usize)).unwrap_or(&"row");
            format!("`{column}`: {}", err.kind())
        }
        _ => error.to_string(),
    };
    Failure::usage(format!("{place}:{line}: {message}"))
}

/// What a row must satisfy beyond its types.
pub fn check(row: &ResultRow) -> Result<(), String> {
    let rate = RATES.contains(&row.metric.as_str());
    for (column, value) in [("value", Some(row.value)), ("ci_low", row.ci_low), ("ci_high", row.ci_high)] {
        let Some(value) = value else { continue };
        if !value.is_finite() {
            return Err(format!("`{column}` is {value}: values are finite"));
        }
        if rate && !(0.0..=1.0).contains(&value) {
            return Err(format!("`{column}` is {value}: `{}` is a rate in [0, 1]", row.metric));
        }
    }
    for (column, value) in
        [("usd", row.usd), ("train_flops", row.train_flops), ("wall_seconds", row.wall_seconds), ("peak_rss_mb", row.peak_rss_mb)]
    {
        if value.is_some_and(|value| !value.is_finite() || value < 0.0) {
            return Err(format!("`{column}` is not a finite number of at least 0"));
        }
    }
    for (column, text) in [("run_id", &row.run_id), ("task", &row.task), ("method", &row.method), ("metric", &row.metric)] {
        if text.is_empty() {
            return Err(format!("`{column}` is empty"));
        }
    }
    if let (Some(train), Some(seed), Some(additional), Some(gold)) =
        (row.train_rows, row.seed_rows, row.additional_rows, row.gold_rows)
        && seed.checked_add(additional).and_then(|sum| sum.checked_add(gold)) != Some(train)
    {
        return Err("`train_rows` is not `seed_rows` + `additional_rows` + `gold_rows`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
