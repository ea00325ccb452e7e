//! Seed data: the paper's Algorithm 1 for single texts, Algorithm 3 for pairs and questions.

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::seq::index::sample;
use stepsynth_datasets::random::generator;
use stepsynth_datasets::{Example, Input, Kind, Target};

use super::ask::{self, Draft, Numbering, Written};
use super::{Row, rationale};
use crate::experiment::cell::Cell;
use crate::prompt::{Asks, Library};
use crate::teacher::About;

/// Draws `size` times what to ask for and asks for one row each; a journaled step. The draws depend on the cell's seed and
/// their number alone: methods of one task and seed ask for the same rows. `spare` more may be drawn in place of abandoned ones.
pub(super) fn write(cell: &Cell<'_>, size: usize, spare: usize, rationales: bool) -> Result<Vec<Row>> {
    let reasons = match cell.task.kind {
        Kind::Single if rationales && size > 0 => Some(rationale::write(cell)?),
        Kind::Single | Kind::Pair | Kind::Qa => None,
    };
    let written: Written = cell.step("seed", || {
        let library = Library::paper()?;
        let drafts: Result<Vec<Draft>> =
            (0..size.saturating_add(spare)).map(|index| draft(cell, &library, reasons.as_deref(), index)).collect();
        ask::write(cell, &drafts?, size, &mut Numbering::default())
    })?;
    ask::record(cell, 0, &written.counts)?;
    Ok(written.rows)
}

fn draft(cell: &Cell<'_>, library: &Library, reasons: Option<&[Vec<String>]>, index: usize) -> Result<Draft> {
    let mut random = generator(cell.seed, "seed/draw", index as u64);
    let (asks, about, input, target) = match cell.task.kind {
        Kind::Single => single(cell, reasons, &mut random)?,
        Kind::Pair => pair(cell, &mut random)?,
        Kind::Qa => question(cell, &mut random)?,
    };
    let label_word = about.label.map_or("", |label| cell.task.label_word(label));
    let context = about.context.as_deref().unwrap_or_default();
    let answer = about.answer.as_ref().map_or("", |answer| answer.text.as_str());
    let rationales = about.rationales.join("; ");
    let values: &[(&str, &str)] = match (cell.task.kind, asks) {
        (Kind::Single, Asks::SeedFromRationales) => &[("rationales", &rationales), ("label_word", label_word)],
        (Kind::Single, _) => &[("label_word", label_word)],
        (Kind::Pair, _) => &[("context", context), ("label_word", label_word)],
        (Kind::Qa, _) => &[("context", context), ("answer", answer)],
    };
    let prompt = library.prompt(cell.task, asks, values)?;
    let example = Example { id: ask::row_id(cell, 0, index), input, target };
    Ok(Draft { round: 0, asks, prompt, about, example })
}

type Drawn = (Asks, About, Input, Target);

/// Algorithm 1: label y ~ U(Y), then k of its rationales.
fn single(cell: &Cell<'_>, reasons: Option<&[Vec<String>]>, random: &mut impl Rng) -> Result<Drawn> {
    let label = draw_label(cell, random)?;
    let input = Input::Single { text: String::new() };
    let mut about = About { label: Some(label), ..About::default() };
    let Some(reasons) = reasons else { return Ok((Asks::Seed, about, input, Target::Label(label))) };
    let reasons = &reasons[label];
    let k = cell.options.rationales_per_prompt.min(reasons.len());
    about.rationales = sample(random, reasons.len(), k).into_iter().map(|index| reasons[index].clone()).collect();
    Ok((Asks::SeedFromRationales, about, input, Target::Label(label)))
}

/// Algorithm 3: context c ~ C and label y ~ U(Y), independent of the label that c has in the gold data.
fn pair(cell: &Cell<'_>, random: &mut impl Rng) -> Result<Drawn> {
    let parent = draw_gold(cell, random)?;
    let label = draw_label(cell, random)?;
    let about = About { label: Some(label), ..about_context(parent)? };
    Ok((Asks::Seed, about, parent.input.with_written(String::new()), Target::Label(label)))
}

/// Algorithm 3 for questions: (context, answer) ~ C.
fn question(cell: &Cell<'_>, random: &mut impl Rng) -> Result<Drawn> {
    let parent = draw_gold(cell, random)?;
    let Target::Answers(answers) = &parent.target else {
        anyhow::bail!("gold example `{}` of task `{}` has no answers", parent.id, cell.task.name)
    };
    let answer = answers.first().with_context(|| format!("gold example `{}` has no answer", parent.id))?;
    let about = About { answer: Some(answer.clone()), ..about_context(parent)? };
    Ok((Asks::Seed, about, parent.input.with_written(String::new()), parent.target.clone()))
}

fn about_context(parent: &Example) -> Result<About> {
    let context = parent.input.context().with_context(|| format!("gold example `{}` has no context", parent.id))?;
    Ok(About { context: Some(context.to_owned()), parent: Some(parent.clone()), ..About::default() })
}

fn draw_label(cell: &Cell<'_>, random: &mut impl Rng) -> Result<usize> {
    ensure!(!cell.task.labels.is_empty(), "task `{}` names no labels", cell.task.name);
    Ok(random.random_range(0..cell.task.labels.len()))
}

/// Contexts are drawn by gold example: a context that several examples share is drawn as often as each of them.
fn draw_gold<'a>(cell: &'a Cell<'_>, random: &mut impl Rng) -> Result<&'a Example> {
    let gold = &cell.gold.mine;
    ensure!(!gold.is_empty(), "task `{}` takes its contexts from gold data, and there are none to mine", cell.task.name);
    Ok(&gold[random.random_range(0..gold.len())])
}
