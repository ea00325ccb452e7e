//! Inference over many sequences.

use crate::backend::{Backend, Real};
use crate::config::Head;
use crate::model::Model;
use crate::train::Progress;
use crate::{Batch, Error, Result, Sequence};

/// Logits of every sequence, in order: `K` values for classification, `2 S` for question answering (start and end of each
/// token in turn).
///
/// Batches hold at most `token_budget` tokens (or one sequence). The budget decides speed and memory; the result only
/// in the last bits. `progress` is told after each batch how many sequences are done, and of how many.
///
/// # Errors
/// [`Error::Interrupted`], and whatever the backend reports.
pub fn logits<B: Backend>(
    backend: &B,
    model: &Model<B>,
    sequences: &[Sequence],
    token_budget: usize,
    progress: Progress<'_>,
) -> Result<Vec<Vec<f32>>> {
    let mut results = Vec::with_capacity(sequences.len());
    let mut rest = sequences;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(fitting(rest, token_budget));
        rest = later;
        let batch = backend.upload_batch(Batch::pack(now)?)?;
        let output = backend.download(&model.logits(backend, &batch)?)?;
        let values: Vec<f32> = output.into_iter().map(|value| value.f64() as f32).collect();
        match model.head() {
            Head::Classification { labels } => results.extend(values.chunks(labels).map(<[f32]>::to_vec)),
            Head::QuestionAnswering => {
                results.extend(batch.host.ranges().map(|tokens| values[2 * tokens.start..2 * tokens.end].to_vec()));
            }
        }
        if !progress(sequences.len() - rest.len(), sequences.len()) {
            return Err(Error::Interrupted);
        }
    }
    Ok(results)
}

/// How many of the first sequences fit the budget, at least one.
fn fitting(sequences: &[Sequence], token_budget: usize) -> usize {
    let mut tokens = 0;
    let fits = |sequence: &&Sequence| {
        tokens += sequence.ids.len();
        tokens <= token_budget
    };
    sequences.iter().take_while(fits).count().max(1)
}
