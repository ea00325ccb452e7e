//! Rationales: for each label y, the reasons that could lead to y (`T_ration(y)`).

use anyhow::{Context, Result, bail};

use super::ask::{self, Counts, Numbering};
use crate::experiment::cell::Cell;
use crate::prompt::{Asks, Library, items};
use crate::teacher::{About, Request};

/// Up to `rationale_count` reasons for each label, in the order of the labels; a journaled step. A list that is too short
/// for one seed prompt is asked for again, up to `retries` times, and added to.
///
/// # Errors
/// If a label gets no reason at all.
pub(super) fn write(cell: &Cell<'_>) -> Result<Vec<Vec<String>>> {
    let (reasons, counts): (Vec<Vec<String>>, Counts) = cell.step("rationales", || ask_all(cell))?;
    ask::record(cell, 0, &counts)?;
    Ok(reasons)
}

fn ask_all(cell: &Cell<'_>) -> Result<(Vec<Vec<String>>, Counts)> {
    let options = cell.options;
    let library = Library::paper()?;
    let mut numbering = Numbering::default();
    let mut counts = Counts::new();
    let mut reasons: Vec<Vec<String>> = vec![Vec::new(); cell.task.labels.len()];
    for _ in 0..=options.retries {
        let short = |list: &Vec<String>| list.len() < options.rationales_per_prompt;
        let labels: Vec<usize> = (0..reasons.len()).filter(|label| short(&reasons[*label])).collect();
        if labels.is_empty() {
            break;
        }
        let requests: Result<Vec<Request>> = labels.iter().map(|label| request(cell, &library, *label, &mut numbering)).collect();
        for (label, answer) in labels.into_iter().zip(ask::complete(cell, &requests?)?) {
            *counts.entry("rationale_requests".to_owned()).or_default() += 1;
            let answer = answer.with_context(|| {
                format!(
                    "teacher `{}` has no rationales for task `{}`: set `rationales = false`",
                    cell.teacher.name(),
                    cell.task.name
                )
            })?;
            for item in items(&answer.text) {
                if reasons[label].len() < options.rationale_count && !reasons[label].contains(&item) {
                    reasons[label].push(item);
                }
            }
        }
    }
    if let Some(label) = reasons.iter().position(Vec::is_empty) {
        bail!(
            "teacher `{}` answered without a list of rationales for label `{}` of task `{}`, {} times",
            cell.teacher.name(),
            cell.task.labels[label],
            cell.task.name,
            options.retries + 1
        );
    }
    counts.insert("rationales".to_owned(), reasons.iter().map(Vec::len).sum::<usize>() as u64);
    Ok((reasons, counts))
}

fn request(cell: &Cell<'_>, library: &Library, label: usize, numbering: &mut Numbering) -> Result<Request> {
    let count = cell.options.rationale_count;
    let values = [("n", &*count.to_string()), ("label_word", cell.task.label_word(label))];
    let prompt = library.prompt(cell.task, Asks::Rationale, &values)?;
    let about = About { label: Some(label), rationale_count: count, ..About::default() };
    Ok(numbering.request(&cell.task.name, Asks::Rationale, &prompt, &about))
}
