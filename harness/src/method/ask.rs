//! Asking the teacher for rows: requests are numbered, answers are cleaned, rejected ones asked for again, all is counted.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stepsynth_datasets::{Example, Target};

use super::Row;
use crate::experiment::cell::Cell;
use crate::prompt::hygiene::{Against, Rejection, clean};
use crate::prompt::{Asks, Prompt};
use crate::teacher::{About, Completion, FinishReason, Request, RequestError, Step};

/// What was counted, by the name of the metric.
pub(super) type Counts = BTreeMap<String, u64>;

/// A row to ask for: everything but the part that the teacher writes.
pub(super) struct Draft {
    pub(super) round: usize,
    pub(super) asks: Asks,
    pub(super) prompt: Prompt,
    pub(super) about: About,
    /// The row's id, target and context.
    pub(super) example: Example,
}

/// What asking gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Written {
    /// At most one row per draft that was asked for, in the drafts' order.
    pub(super) rows: Vec<Row>,
    /// `requests`, `rejected_<reason>`, `not_recorded`, `abandoned` (drafts whose every answer was rejected).
    pub(super) counts: Counts,
}

/// Name of row `index` of `round`, unique in the cell.
pub(super) fn row_id(cell: &Cell<'_>, round: usize, index: usize) -> String {
    format!("{}/{round}/{index}", cell.options.label())
}

/// Drafts beyond `wanted` that may take the place of abandoned ones, where a method is held to a size.
pub(super) fn spare(wanted: usize) -> usize {
    wanted / 10 + 10
}

/// Asks for the first `wanted` drafts. A rejected answer is asked for again up to `retries` times; what is not recorded is not.
/// A draft whose every answer was rejected is replaced by the next of the drafts beyond `wanted`, as long as there are any.
///
/// # Errors
/// If the teacher cannot do such requests or a budget is used up.
pub(super) fn write(cell: &Cell<'_>, drafts: &[Draft], wanted: usize, numbering: &mut Numbering) -> Result<Written> {
    let mut counts = Counts::new();
    let mut rows: Vec<Option<Row>> = vec![None; drafts.len()];
    let mut next = wanted.min(drafts.len());
    let mut open: Vec<usize> = (0..next).collect();
    while !open.is_empty() {
        let abandoned = ask(cell, drafts, open, &mut rows, &mut counts, numbering)?;
        count(&mut counts, "abandoned", abandoned);
        let last = next.saturating_add(abandoned).min(drafts.len());
        open = (next..last).collect();
        next = last;
    }
    Ok(Written { rows: rows.into_iter().flatten().collect(), counts })
}

/// Asks for the drafts `open`; the number of those whose every answer was rejected.
fn ask(
    cell: &Cell<'_>,
    drafts: &[Draft],
    mut open: Vec<usize>,
    rows: &mut [Option<Row>],
    counts: &mut Counts,
    numbering: &mut Numbering,
) -> Result<usize> {
    for _ in 0..=cell.options.retries {
        let numbered = |index: &usize| {
            let draft = &drafts[*index];
            numbering.request(&cell.task.name, draft.asks, &draft.prompt, &draft.about)
        };
        let requests: Vec<Request> = open.iter().map(numbered).collect();
        count(counts, "requests", requests.len());
        let mut rejected = Vec::new();
        for ((index, request), answer) in open.iter().zip(&requests).zip(complete(cell, &requests)?) {
            let Ok(completion) = answer else {
                count(counts, "not_recorded", 1);
                continue;
            };
            match judge(cell, &drafts[*index], request, completion) {
                Ok(row) => rows[*index] = Some(row),
                Err(rejection) => {
                    count(counts, &format!("rejected_{}", rejection.name()), 1);
                    rejected.push(*index);
                }
            }
        }
        open = rejected;
        if open.is_empty() {
            break;
        }
    }
    Ok(open.len())
}

/// The teacher's answers, in order. What it has no recording for stays an error of its own.
///
/// # Errors
/// Every other request error: all requests of this kind would fail, or a budget is used up.
pub(super) fn complete(cell: &Cell<'_>, requests: &[Request]) -> Result<Vec<Result<Completion, RequestError>>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let answers = cell.teacher.complete(requests);
    let (asked, got) = (requests.len(), answers.len());
    ensure!(asked == got, "teacher `{}` gave {got} answers to {asked} requests", cell.teacher.name());
    for answer in &answers {
        match answer {
            Ok(_) | Err(RequestError::NotRecorded) => {}
            Err(error) => bail!(anyhow::Error::new(error.clone()).context(format!("teacher `{}`", cell.teacher.name()))),
        }
    }
    Ok(answers)
}

/// Keeps the counts of a step as measurements of its round.
pub(super) fn record(cell: &Cell<'_>, round: usize, counts: &Counts) -> Result<()> {
    counts.iter().try_for_each(|(name, value)| cell.record(round, name, *value as f64))
}

/// What the text of `example` is held against. `source` is the text that it should be similar to.
pub(super) fn against<'a>(cell: &Cell<'_>, example: &'a Example, source: Option<&'a str>) -> Against<'a> {
    let answer = match &example.target {
        Target::Answers(answers) if !cell.options.answer_in_question => answers.first().map(|answer| answer.text.as_str()),
        _ => None,
    };
    Against { source, context: example.input.context(), answer }
}

fn judge(cell: &Cell<'_>, draft: &Draft, request: &Request, completion: Completion) -> Result<Row, Rejection> {
    match completion.finish {
        FinishReason::Stop => {}
        FinishReason::Length => return Err(Rejection::Truncated),
        FinishReason::ContentFilter => return Err(Rejection::Withheld),
    }
    let mut parent = draft.about.parent.as_ref().map(|parent| parent.id.clone());
    let mut example = draft.example.clone();
    if let Some(recorded) = completion.recorded {
        example = recorded.example;
        if request.step == Step::Seed {
            parent = recorded.parent;
        }
    }
    let source = match request.step {
        Step::Extrapolate => draft.about.parent.as_ref().map(|parent| parent.input.written()),
        Step::Rationale | Step::Seed => None,
    };
    let clean = clean(&completion.text, &against(cell, &example, source))?;
    example.input = example.input.with_written(clean.text);
    Ok(Row {
        round: draft.round,
        example,
        parent,
        rationales: draft.about.rationales.clone(),
        prompt_id: draft.prompt.id.clone(),
        request_hash: request.identity(&cell.teacher.name()),
        teacher: cell.teacher.name(),
        provenance: cell.teacher.provenance(),
        usage: completion.usage,
        filters: clean.filters,
    })
}

fn count(counts: &mut Counts, name: &str, by: usize) {
    *counts.entry(name.to_owned()).or_default() += by as u64;
}

/// Numbers requests, so that no two of a cell are the same: see `sample` and `occurrence` in [`crate::teacher`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbering {
    /// Requests so far, by prompt.
    prompts: BTreeMap<String, u64>,
    /// Requests so far, by step, label or answer and, when extrapolating, context.
    occurrences: BTreeMap<String, u64>,
}

impl Numbering {
    /// The next request with this prompt.
    pub(super) fn request(&mut self, task: &str, asks: Asks, prompt: &Prompt, about: &About) -> Request {
        let step = asks.step();
        let answer = about.answer.as_ref().map(|answer| &answer.text);
        let context = about.context.as_ref().filter(|_| step == Step::Extrapolate);
        let context = context.map(|text| text.split_whitespace().collect::<Vec<_>>());
        // Any question serves where only the recording knows its answer.
        let answer = answer.filter(|_| step == Step::Extrapolate);
        let occurrence = next(&mut self.occurrences, &format!("{:?}", (step, about.label, answer, context)));
        Request {
            task: task.to_owned(),
            step,
            prompt: prompt.text.clone(),
            prompt_id: prompt.id.clone(),
            sample: next(&mut self.prompts, &prompt.text),
            about: About { occurrence, ..about.clone() },
        }
    }
}

/// The count so far of `key`, which goes up by one. Keys are kept as half a SHA-256: they are texts of any length.
fn next(counts: &mut BTreeMap<String, u64>, key: &str) -> u64 {
    let short = Sha256::digest(key).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let count = counts.entry(short).or_default();
    *count += 1;
    *count - 1
}
