//! The steps of a training run as JSON lines, for comparisons with another trainer.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stepsynth_core::train::{HostTargets, TrainSet, TrainSettings};

/// Writes a line for every optimizer step: `{"epoch", "learning_rate", "rows": [..]}`, a row being `{"ids", "token_types",
/// "label"}` or `{"ids", "token_types", "start", "end"}` with tokens counted from the row's first.
pub(super) fn steps(path: &Path, set: &TrainSet, settings: &TrainSettings) -> Result<()> {
    let place = || path.display().to_string();
    let directory = path.parent().with_context(place)?;
    let mut file = std::io::BufWriter::new(tempfile::NamedTempFile::new_in(directory).with_context(place)?);
    for (epoch, planned) in (1..).zip(settings.plan(set)) {
        for step in planned {
            let rows: Vec<Value> = step.rows.iter().map(|&index| row(set, index)).collect();
            let line = json!({ "epoch": epoch, "learning_rate": step.learning_rate, "rows": rows });
            writeln!(file, "{line}").with_context(place)?;
        }
    }
    file.into_inner().map_err(|error| error.into_error()).with_context(place)?.persist(path).with_context(place)?;
    Ok(())
}

fn row(set: &TrainSet, index: usize) -> Value {
    let sequence = &set.sequences[index];
    let (ids, token_types) = (&sequence.ids, &sequence.token_types);
    match &set.targets {
        HostTargets::Labels(labels) => json!({ "ids": ids, "token_types": token_types, "label": labels[index] }),
        HostTargets::Spans(spans) => {
            let (start, end) = spans[index];
            json!({ "ids": ids, "token_types": token_types, "start": start, "end": end })
        }
    }
}
