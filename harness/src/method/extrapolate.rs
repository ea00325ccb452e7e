//! Extrapolation: for gold example (x, y), ask for one new example like x with label y (`T_mis1`; with context, `T_mis2`).

use anyhow::Result;
use stepsynth_datasets::{Example, Kind, Target};

use super::Row;
use super::ask::{self, Draft, Numbering, Written};
use crate::experiment::cell::Cell;
use crate::prompt::{Asks, Library};
use crate::teacher::About;

/// Before the first round, no request was made.
pub(super) fn start() -> Numbering {
    Numbering::default()
}

/// Asks for one row like each of the first `wanted` gold examples of `items` (an index may occur again), the rest of which take
/// the place of abandoned ones; a journaled step. `numbering` goes from round to round, so that an example that stays wrong is
/// not answered with the same row again.
pub(super) fn write(
    cell: &Cell<'_>,
    round: usize,
    items: &[usize],
    wanted: usize,
    numbering: &mut Numbering,
) -> Result<Vec<Row>> {
    let (written, after): (Written, Numbering) = cell.step(&format!("extrapolate/{round}"), || {
        let library = Library::paper()?;
        let drafts: Result<Vec<Draft>> =
            items.iter().enumerate().map(|(index, &item)| draft(cell, &library, round, index, &cell.gold.mine[item])).collect();
        let mut after = numbering.clone();
        let written = ask::write(cell, &drafts?, wanted, &mut after)?;
        Ok((written, after))
    })?;
    *numbering = after;
    ask::record(cell, round, &written.counts)?;
    Ok(written.rows)
}

fn draft(cell: &Cell<'_>, library: &Library, round: usize, index: usize, gold: &Example) -> Result<Draft> {
    let about = About {
        label: gold.label(),
        context: gold.input.context().map(str::to_owned),
        answer: match &gold.target {
            Target::Label(_) => None,
            Target::Answers(answers) => answers.first().cloned(),
        },
        parent: Some(gold.clone()),
        ..About::default()
    };
    let text = gold.input.written();
    let context = about.context.as_deref().unwrap_or_default();
    let label_word = about.label.map_or("", |label| cell.task.label_word(label));
    let answer = about.answer.as_ref().map_or("", |answer| answer.text.as_str());
    let values: &[(&str, &str)] = match cell.task.kind {
        Kind::Single => &[("text", text), ("label_word", label_word)],
        Kind::Pair => &[("context", context), ("text", text), ("label_word", label_word)],
        Kind::Qa => &[("context", context), ("text", text), ("answer", answer)],
    };
    let prompt = library.prompt(cell.task, Asks::Extrapolate, values)?;
    let example = Example { id: ask::row_id(cell, round, index), ..gold.clone() };
    Ok(Draft { round, asks: Asks::Extrapolate, prompt, about, example })
}
