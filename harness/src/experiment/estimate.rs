//! What a plan would cost, for `--dry-run`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use stepsynth_datasets::Example;

use super::method_options::{MethodKind, MethodOptions, Size};
use super::plan::Plan;
use super::spec::Spec;
use super::world::{TaskData, World};

/// English text has about four tokens in three words.
const TOKENS_PER_WORD: f64 = 4.0 / 3.0;

/// Words of a prompt apart from what is filled in.
const PROMPT_WORDS: f64 = 30.0;

/// Upper bounds of one cell: every mined example counts as an error, so the true numbers are lower.
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
    /// Of a cell with `mine` rows to mine, `gold` rows of gold training data and `labels` labels. `as_rows` is the estimated
    /// size of the method that `size` refers to.
    pub fn new(method: &MethodOptions, mine: usize, gold: usize, labels: usize, as_rows: usize, epochs: usize) -> Self {
        let size = |otherwise| match method.size {
            Some(Size::Rows(rows)) => rows,
            Some(Size::As(_)) => as_rows,
            None => otherwise,
        };
        let rationales = if method.rationales { labels } else { 0 };
        match method.kind {
            MethodKind::Gold => {
                let rows = size(gold).min(gold);
                Self { requests: 0, rows, trained_rows: rows * epochs }
            }
            MethodKind::ZeroGen => {
                let rows = size(method.seed_rows);
                Self { requests: rows, rows, trained_rows: rows * epochs }
            }
            MethodKind::GoldGen => {
                let rows = size(method.seed_rows + mine);
                Self { requests: rows + rationales, rows, trained_rows: rows * epochs }
            }
            MethodKind::S3 => {
                let rows = method.seed_rows + method.rounds * mine;
                let trained: usize = (0..=method.rounds).map(|round| method.seed_rows + round * mine).sum();
                Self { requests: rows + rationales, rows, trained_rows: trained * epochs }
            }
        }
    }
}

/// Describes the plan of `spec` in `world`: every cell and the sums. All numbers are upper bounds or estimates.
///
/// # Errors
/// If the tasks cannot be loaded.
pub fn describe(spec: &Spec, world: &dyn World) -> Result<String> {
    let plan = Plan::new(spec);
    let mut out = String::new();
    let (mut requests, mut tokens, mut train_tokens) = (0, 0.0, 0.0);
    let mut flops = Some(0.0);
    for task in &spec.tasks {
        let data = world.task(task)?;
        let (written, read) = mean_words(&data);
        let epochs = spec.train.get(task).map_or(1, |settings| settings.epochs);
        let (mine, gold) = (data.gold.mine.len(), data.gold.train.len());
        let estimate =
            |method: &MethodOptions, as_rows| Estimate::new(method, mine, gold, data.spec.labels.len(), as_rows, epochs);
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
            let _ = writeln!(out, "  {}: at most {} requests, {} training rows", cell.id, cost.requests, cost.rows);
            requests += cost.requests;
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
        "{} cells; at most {requests} requests, about {tokens:.1e} teacher tokens, USD {usd}; about {train_tokens:.1e} training \
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
