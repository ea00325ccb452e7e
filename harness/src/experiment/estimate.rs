//! What a plan would cost, for `--dry-run`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use stepsynth_datasets::{Example, Kind, TaskSpec};

use super::method_options::{MethodKind, MethodOptions, Size};
use super::plan::Plan;
use super::spec::Spec;
use super::world::{TaskData, World};
use crate::teacher::Step;

/// English text has about four tokens in three words.
const TOKENS_PER_WORD: f64 = 4.0 / 3.0;

/// Words of a prompt apart from what is filled in.
const PROMPT_WORDS: f64 = 30.0;

/// What one cell is about to take: every mined example counts as an error, which is too many, and no answer as rejected, which
/// is too few.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Requests to the teacher.
    pub requests: usize,
    /// Rows of the final training set.
    pub rows: usize,
    /// Rows trained on, summed over all trainings, once per epoch.
    pub trained_rows: usize,
}

impl Estimate {
    /// Of a cell with `mine` rows to mine, `gold` rows of gold training data and `additional` recorded rows that extrapolate.
    /// `as_rows` is the estimated size of the method that `size` refers to.
    pub fn new(method: &MethodOptions, task: &TaskSpec, has: Has, as_rows: usize, epochs: usize) -> Self {
        let Has { mine, gold, additional } = has;
        let size = |otherwise| match method.size {
            Some(Size::Rows(rows)) => rows,
            Some(Size::As(_)) => as_rows,
            None => otherwise,
        };
        let rationales = if method.rationales && task.kind == Kind::Single { task.labels.len() } else { 0 };
        let once = |requests: usize, rows: usize| Self { requests, rows, trained_rows: rows.saturating_mul(epochs) };
        match method.kind {
            MethodKind::Gold => {
                let rows = size(gold).min(gold);
                once(0, rows)
            }
            MethodKind::ZeroGen => {
                let rows = size(method.seed_rows);
                let recorded = if method.additional { additional } else { 0 };
                once(rows.saturating_sub(recorded), rows)
            }
            MethodKind::GoldGen => {
                let rows = size(method.seed_rows.saturating_add(mine));
                once(rows.saturating_add(rationales), rows)
            }
            MethodKind::S3 if !method.extrapolate => {
                let rows = size(method.seed_rows);
                once(rows.saturating_add(rationales), rows)
            }
            MethodKind::S3 => {
                let after =
                    |round: usize| method.seed_rows.saturating_add(round.saturating_mul(mine).saturating_mul(method.per_error));
                let rows = after(method.rounds);
                let trained = (0..=method.rounds).map(after).fold(0, usize::saturating_add);
                Self { requests: rows.saturating_add(rationales), rows, trained_rows: trained.saturating_mul(epochs) }
            }
        }
    }
}

/// Rows that a cell can draw on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Has {
    /// Gold rows to mine.
    pub mine: usize,
    /// Gold rows to train on.
    pub gold: usize,
    /// Recorded rows that extrapolate.
    pub additional: usize,
}

/// Describes the plan of `spec` in `world`: every cell and the sums, all of them estimates.
///
/// # Errors
/// If the tasks cannot be loaded, or the teacher or the student cannot be made.
pub fn describe(spec: &Spec, world: &dyn World) -> Result<String> {
    let plan = Plan::new(spec);
    let mut out = String::new();
    let (mut requests, mut tokens, mut train_tokens) = (0_usize, 0.0, 0.0);
    let mut flops = Some(0.0);
    for task in &spec.tasks {
        let data = world.task(task)?;
        let (written, read) = mean_words(&data);
        let epochs = spec.train.get(task).map_or(1, |settings| settings.epochs);
        let (mine, gold) = (data.gold.mine.len(), data.gold.train.len());
        // Made also where nothing of it is read, so that its faults are found.
        let asked = spec.methods.iter().any(|method| method.kind != MethodKind::Gold);
        let teacher = spec.seeds.first().filter(|_| asked).map(|&seed| world.teacher(&data, seed)).transpose()?;
        let recorded = teacher.as_ref().and_then(|teacher| teacher.recording()).unwrap_or_default();
        let additional = recorded.iter().filter(|row| row.step == Step::Extrapolate).count();
        world.student(&data)?;
        let has = Has { mine, gold, additional };
        let estimate = |method: &MethodOptions, as_rows| Estimate::new(method, &data.spec, has, as_rows, epochs);
        let sizes: BTreeMap<String, usize> =
            spec.methods.iter().map(|method| (method.label(), estimate(method, 0).rows)).collect();
        let _ = writeln!(
            out,
            "{task}: mine {mine}, select {}, test {}, gold training rows {gold}",
            data.gold.select.len(),
            data.test.len()
        );
        for cell in plan.cells.iter().filter(|cell| cell.task == *task) {
            let as_rows = match &cell.method.size {
                Some(Size::As(label)) => sizes.get(label).copied().unwrap_or(0),
                _ => 0,
            };
            let cost = estimate(&cell.method, as_rows);
            let _ = writeln!(out, "  {}: about {} requests, {} training rows", cell.id, cost.requests, cost.rows);
            requests = requests.saturating_add(cost.requests);
            tokens += cost.requests as f64 * TOKENS_PER_WORD * (PROMPT_WORDS + read + 2.0 * written);
            let tokens = cost.trained_rows as f64 * TOKENS_PER_WORD * (read + written);
            train_tokens += tokens;
            // Six operations per parameter and token (Kaplan et al. 2020), the paper's Appendix B.
            flops = flops.zip(world.student_parameters(&data)).map(|(sum, parameters)| sum + 6.0 * parameters as f64 * tokens);
        }
    }
    let usd = if ["simulated", "replay"].contains(&spec.teacher.kind.as_str()) { "0" } else { "unknown" };
    let flops = flops.map_or_else(|| "unknown".to_owned(), |flops| format!("{flops:.1e}"));
    let _ = writeln!(
        out,
        "{} cells; about {requests} requests, about {tokens:.1e} teacher tokens, USD {usd}; about {train_tokens:.1e} training \
         tokens, {flops} training FLOPs",
        plan.cells.len()
    );
    Ok(out)
}

/// Mean words of the written part and of the context.
fn mean_words(data: &TaskData) -> (f64, f64) {
    let count = |text: &str| text.split_whitespace().count() as f64;
    let n = data.gold.mine.len().max(1) as f64;
    let sum = |words: &dyn Fn(&Example) -> f64| data.gold.mine.iter().map(words).sum::<f64>() / n;
    (sum(&|example| count(example.input.written())), sum(&|example| example.input.context().map_or(0.0, count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switches_of_a_method_count() {
        let of = |task: &str, method: MethodOptions| {
            let has = Has { mine: 20, gold: 30, additional: 5 };
            let cost = Estimate::new(&method, &TaskSpec::find(task).unwrap(), has, 40, 3);
            (cost.requests, cost.rows, cost.trained_rows)
        };
        let s3 = MethodOptions { seed_rows: 10, ..MethodOptions::new(MethodKind::S3) };
        assert_eq!(of("imdb", s3.clone()), (52, 50, 3 * (10 + 30 + 50)), "two labels' rationales, then two rounds");
        assert_eq!(of("rte", s3.clone()).0, 50, "no rationales for pairs");
        assert_eq!(of("rte", MethodOptions { per_error: 2, ..s3.clone() }), (90, 90, 3 * (10 + 50 + 90)));
        let seeds = MethodOptions { extrapolate: false, size: Some(Size::As("s3".into())), ..s3.clone() };
        assert_eq!(of("rte", seeds), (40, 40, 120));
        let zerogen = MethodOptions { seed_rows: 10, additional: true, ..MethodOptions::new(MethodKind::ZeroGen) };
        assert_eq!(of("rte", zerogen), (5, 10, 30));
        let vast = MethodOptions { seed_rows: usize::MAX, rounds: usize::MAX - 1, ..s3 };
        assert_eq!(of("rte", MethodOptions { rounds: 100, ..vast }).2, usize::MAX);
    }
}
