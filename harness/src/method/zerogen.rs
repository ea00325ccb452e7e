//! ZeroGen (Ye et al. 2022): seed data alone, without rationales. With `additional`, recorded extrapolations take the place of
//! some of it: the paper's Table 5.

use anyhow::{Context, Result};

use super::{Row, ask, seed};
use crate::experiment::cell::Cell;
use crate::prompt::hygiene;
use crate::teacher::{Step, Usage};

pub(super) fn run(cell: &Cell<'_>) -> Result<()> {
    let size = cell.wanted_rows()?.unwrap_or(cell.options.seed_rows);
    let mut additional = if cell.options.additional { recorded(cell)? } else { Vec::new() };
    additional.truncate(size);
    let seed_rows = size - additional.len();
    let mut rows = seed::write(cell, seed_rows, ask::spare(seed_rows), false)?;
    rows.extend(additional);
    cell.train(0, &rows, true)?;
    Ok(())
}

/// The additional data in the teacher's recording, whoever's errors they extrapolate.
fn recorded(cell: &Cell<'_>) -> Result<Vec<Row>> {
    let rows = cell.teacher.recording().with_context(|| {
        format!("`additional = true` needs a replay teacher, not `{}`: the rows come from its recording", cell.teacher.name())
    })?;
    let mut counts = ask::Counts::new();
    let mut kept = Vec::new();
    for row in rows.iter().filter(|row| row.step == Step::Extrapolate) {
        match hygiene::clean(row.example.input.written(), &ask::against(cell, &row.example, None)) {
            Err(rejection) => *counts.entry(format!("rejected_{}", rejection.name())).or_default() += 1,
            Ok(clean) => {
                let mut example = row.example.clone();
                example.input = example.input.with_written(clean.text);
                kept.push(Row {
                    round: row.round,
                    example,
                    parent: row.parent.clone(),
                    rationales: Vec::new(),
                    prompt_id: String::new(),
                    request_hash: String::new(),
                    teacher: cell.teacher.name(),
                    provenance: cell.teacher.provenance(),
                    usage: Usage::default(),
                    filters: clean.filters,
                });
            }
        }
    }
    ask::record(cell, 1, &counts)?;
    Ok(kept)
}
