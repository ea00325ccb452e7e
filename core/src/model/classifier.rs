//! Sequence classification from the first token: `DistilBertForSequenceClassification` (`pre_classifier`, ReLU, dropout,
//! `classifier`) and `BertForSequenceClassification` (`pooler.dense`, tanh, dropout, `classifier`).

use super::{DropoutSites, Model, StepOutput};
use crate::Result;
use crate::backend::{Activation, Backend, DeviceBatch};
use crate::config::Family;

/// What the backward pass needs.
pub(super) struct Tape<T> {
    first: T,
    inner: T,
    pooled: T,
    /// `(B, K)`.
    pub(super) logits: T,
}

fn activation<B: Backend>(model: &Model<B>) -> Activation {
    match model.config.family {
        Family::DistilBert => Activation::Relu,
        Family::Bert => Activation::Tanh,
    }
}

/// Logits from the encoder's output `(N, C)`.
pub(super) fn forward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    batch: &DeviceBatch<B::Indices>,
    hidden: &B::Tensor,
    sites: Option<&DropoutSites>,
) -> Result<Tape<B::Tensor>> {
    let (sequences, columns) = (batch.host.sequences(), model.config.hidden);
    let mut first = backend.empty(sequences, columns)?;
    backend.gather_rows(&mut first, hidden, &batch.first_rows)?;
    let inner = model.apply(backend, model.head_pre(), &first)?;
    let mut pooled = backend.empty(sequences, columns)?;
    backend.activation(&mut pooled, &inner, activation(model))?;
    if let Some(dropout) = sites.and_then(|sites| sites.classifier.as_ref()) {
        backend.dropout(&mut pooled, dropout)?;
    }
    let logits = model.apply(backend, model.head_out(), &pooled)?;
    Ok(Tape { first, inner, pooled, logits })
}

/// Loss, and the gradient of the encoder's output.
pub(super) fn backward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    batch: &DeviceBatch<B::Indices>,
    tape: Tape<B::Tensor>,
    labels: &B::Indices,
    sites: Option<&DropoutSites>,
    gradients: &mut [B::Tensor],
) -> Result<(StepOutput<B::Tensor>, B::Tensor)> {
    let (sequences, classes) = backend.shape(&tape.logits);
    let mut losses = backend.empty(sequences, 1)?;
    let mut d_logits = backend.empty(sequences, classes)?;
    backend.cross_entropy(&mut losses, &mut d_logits, &tape.logits, labels)?;
    let mut d_pooled = model.apply_backward(backend, model.head_out(), &d_logits, &tape.pooled, gradients)?;
    if let Some(dropout) = sites.and_then(|sites| sites.classifier.as_ref()) {
        backend.dropout(&mut d_pooled, dropout)?;
    }
    let mut d_inner = backend.empty(sequences, model.config.hidden)?;
    backend.activation_backward(&mut d_inner, &d_pooled, &tape.inner, activation(model))?;
    let d_first = model.apply_backward(backend, model.head_pre(), &d_inner, &tape.first, gradients)?;
    let mut d_hidden = backend.empty(batch.host.tokens(), model.config.hidden)?;
    backend.scatter_rows(&mut d_hidden, &d_first, &batch.first_rows)?;
    Ok((StepOutput { losses, logits: tape.logits }, d_hidden))
}
