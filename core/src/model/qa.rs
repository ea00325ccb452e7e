//! Span extraction: `DistilBertForQuestionAnswering` (dropout, `qa_outputs`) and `BertForQuestionAnswering`.
//!
//! Start and end are softmaxes over the real tokens of a sequence. Transformers also lets padding compete there; packed
//! rows have none.

use super::encoder::Tape as EncoderTape;
use super::{DropoutSites, Model, StepOutput};
use crate::Result;
use crate::backend::{Backend, DeviceBatch};

/// What the backward pass needs.
pub(super) struct Tape<T> {
    /// The encoder's output after dropout; `None` if there was no dropout.
    dropped: Option<T>,
    /// `(N, 2)`.
    pub(super) logits: T,
}

/// Start and end scores from the encoder's output `(N, C)`.
pub(super) fn forward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    hidden: &B::Tensor,
    sites: Option<&DropoutSites>,
) -> Result<Tape<B::Tensor>> {
    let dropped = match sites.and_then(|sites| sites.question_answering.as_ref()) {
        None => None,
        Some(dropout) => {
            let mut copy = model.copied(backend, hidden)?;
            backend.dropout(&mut copy, dropout)?;
            Some(copy)
        }
    };
    let logits = model.apply(backend, model.head_out(), dropped.as_ref().unwrap_or(hidden))?;
    Ok(Tape { dropped, logits })
}

/// Loss, and the gradient of the encoder's output.
#[expect(clippy::too_many_arguments, reason = "a backward pass needs what the forward pass had, its tape and its gradients")]
pub(super) fn backward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    batch: &DeviceBatch<B::Indices>,
    encoder: &EncoderTape<B::Tensor>,
    tape: Tape<B::Tensor>,
    (starts, ends): (&B::Indices, &B::Indices),
    sites: Option<&DropoutSites>,
    gradients: &mut [B::Tensor],
) -> Result<(StepOutput<B::Tensor>, B::Tensor)> {
    let mut losses = backend.empty(batch.host.sequences(), 1)?;
    let mut d_logits = backend.empty(batch.host.tokens(), 2)?;
    backend.span_loss(&mut losses, &mut d_logits, &tape.logits, batch, starts, ends)?;
    let input = tape.dropped.as_ref().unwrap_or(encoder.hidden());
    let mut d_hidden = model.apply_backward(backend, model.head_out(), &d_logits, input, gradients)?;
    if let Some(dropout) = sites.and_then(|sites| sites.question_answering.as_ref()) {
        backend.dropout(&mut d_hidden, dropout)?;
    }
    Ok((StepOutput { losses, logits: tape.logits }, d_hidden))
}
