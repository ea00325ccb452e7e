//! The encoder: embeddings and `L` post-norm transformer layers (`DistilBertModel`, `BertModel` of transformers).

use super::Model;
use super::parameters::{POSITION, WORD, pair};
use crate::Result;
use crate::backend::{Backend, DeviceBatch, Dropout, InputGradient};
use crate::config::{EncoderConfig, Family};
use crate::random::Stream;

/// The dropout masks of one training step; every site has its own stream.
pub struct DropoutSites {
    embedding: Option<Dropout>,
    layers: Vec<LayerSites>,
    /// Before the classifier or the span scores.
    pub(super) classifier: Option<Dropout>,
    pub(super) question_answering: Option<Dropout>,
}

struct LayerSites {
    attention: Option<Dropout>,
    /// After the attention's output projection; DistilBERT has none.
    attention_out: Option<Dropout>,
    ffn_out: Option<Dropout>,
}

impl DropoutSites {
    /// The sites of one step, all derived from `stream`.
    pub fn new(config: &EncoderConfig, stream: Stream) -> Self {
        let rates = &config.dropouts;
        let site = |p: f64, index: usize| Dropout::new(p, stream.child(index as u64));
        let layers = (0..config.layers)
            .map(|layer| LayerSites {
                attention: site(rates.attention, 3 + 3 * layer),
                attention_out: if config.family == Family::Bert { site(rates.hidden, 4 + 3 * layer) } else { None },
                ffn_out: site(rates.hidden, 5 + 3 * layer),
            })
            .collect();
        Self {
            embedding: site(rates.hidden, 0),
            layers,
            classifier: site(rates.classifier, 1),
            question_answering: site(rates.question_answering, 2),
        }
    }
}

/// Input and statistics of one layer normalisation, with its output.
struct NormTape<T> {
    input: T,
    stats: T,
    output: T,
}

/// What the backward pass of an attention block needs, besides its input.
struct AttentionTape<T> {
    qkv: T,
    attended: T,
    lse: T,
    middle: NormTape<T>,
}

/// What the backward pass of one layer needs, besides the layer's input.
struct LayerTape<T> {
    attention: AttentionTape<T>,
    inner: T,
    activated: T,
    output: NormTape<T>,
}

/// What the backward pass needs of a forward pass.
pub(super) struct Tape<T> {
    embedding: NormTape<T>,
    layers: Vec<LayerTape<T>>,
}

impl<T> Tape<T> {
    /// Output of the last layer, `(N, C)`.
    pub(super) fn hidden(&self) -> &T {
        self.layers.last().map_or(&self.embedding.output, |layer| &layer.output.output)
    }
}

/// Forward pass that keeps what the backward pass needs.
pub(super) fn forward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    batch: &DeviceBatch<B::Indices>,
    sites: Option<&DropoutSites>,
) -> Result<Tape<B::Tensor>> {
    let embedding = embed(backend, model, batch, sites)?;
    let mut tape = Tape { embedding, layers: Vec::with_capacity(model.config.layers) };
    for layer in 0..model.config.layers {
        let sites = sites.map(|sites| &sites.layers[layer]);
        let attention = attention_forward(backend, model, batch, layer, tape.hidden(), sites)?;
        let mut inner = backend.empty(batch.host.tokens(), model.config.feed_forward)?;
        let (activated, output) = ffn_forward(backend, model, layer, &attention.middle.output, Some(&mut inner), sites)?;
        tape.layers.push(LayerTape { attention, inner, activated, output });
    }
    Ok(tape)
}

/// Forward pass that keeps one layer at a time.
pub(super) fn infer<B: Backend>(backend: &B, model: &Model<B>, batch: &DeviceBatch<B::Indices>) -> Result<B::Tensor> {
    let mut hidden = embed(backend, model, batch, None)?.output;
    for layer in 0..model.config.layers {
        let middle = attention_forward(backend, model, batch, layer, &hidden, None)?.middle.output;
        hidden = ffn_forward(backend, model, layer, &middle, None, None)?.1.output;
    }
    Ok(hidden)
}

/// Backward pass from `d_hidden`, the gradient of the last layer's output. Frees the tape layer by layer.
pub(super) fn backward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    batch: &DeviceBatch<B::Indices>,
    mut tape: Tape<B::Tensor>,
    d_hidden: B::Tensor,
    sites: Option<&DropoutSites>,
    gradients: &mut [B::Tensor],
) -> Result<()> {
    let mut d_output = d_hidden;
    while let Some(last) = tape.layers.pop() {
        let layer = tape.layers.len();
        let sites = sites.map(|sites| &sites.layers[layer]);
        d_output = layer_backward(backend, model, batch, layer, tape.hidden(), last, d_output, sites, gradients)?;
    }
    if let Some(dropout) = sites.and_then(|sites| sites.embedding.as_ref()) {
        backend.dropout(&mut d_output, dropout)?;
    }
    let d_sum = norm_backward(backend, model, model.embedding_norm(), &tape.embedding, &d_output, gradients)?;
    let (d_word, rest) = gradients.split_at_mut(POSITION);
    let (d_position, rest) = rest.split_at_mut(1);
    let d_token_type = model.token_type().map(|_| &mut rest[0]);
    backend.embed_backward(&mut d_word[WORD], &mut d_position[0], d_token_type, &d_sum, batch)
}

fn embed<B: Backend>(
    backend: &B,
    model: &Model<B>,
    batch: &DeviceBatch<B::Indices>,
    sites: Option<&DropoutSites>,
) -> Result<NormTape<B::Tensor>> {
    let tables = &model.parameters;
    let mut sum = backend.empty(batch.host.tokens(), model.config.hidden)?;
    let token_type = model.token_type().map(|index| &tables[index]);
    backend.embed(&mut sum, batch, &tables[WORD], &tables[POSITION], token_type)?;
    let mut tape = norm(backend, model, model.embedding_norm(), sum)?;
    if let Some(dropout) = sites.and_then(|sites| sites.embedding.as_ref()) {
        backend.dropout(&mut tape.output, dropout)?;
    }
    Ok(tape)
}

/// `middle = norm(input + drop(attention_out(attention(qkv(input)))))`.
fn attention_forward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    batch: &DeviceBatch<B::Indices>,
    layer: usize,
    input: &B::Tensor,
    sites: Option<&LayerSites>,
) -> Result<AttentionTape<B::Tensor>> {
    let config = &model.config;
    let slots = model.layer(layer);
    let tokens = batch.host.tokens();

    let qkv = model.apply(backend, slots.qkv, input)?;
    let mut attended = backend.empty(tokens, config.hidden)?;
    let mut lse = backend.empty(tokens, config.heads)?;
    let dropout = sites.and_then(|sites| sites.attention.as_ref());
    backend.attention(&mut attended, &mut lse, &qkv, batch, config.heads, dropout)?;

    let dropout = sites.and_then(|sites| sites.attention_out.as_ref());
    let sum = model.apply_residual(backend, slots.attention_out, &attended, dropout, input)?;
    let middle = norm(backend, model, slots.attention_norm, sum)?;
    Ok(AttentionTape { qkv, attended, lse, middle })
}

/// `activated = act(inner)` with `inner = ffn_in(middle)`, kept if asked for, and `output = norm(middle + drop(ffn_out(activated)))`.
fn ffn_forward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    layer: usize,
    middle: &B::Tensor,
    inner: Option<&mut B::Tensor>,
    sites: Option<&LayerSites>,
) -> Result<(B::Tensor, NormTape<B::Tensor>)> {
    let slots = model.layer(layer);
    let activated = model.apply_activated(backend, slots.ffn_in, middle, inner)?;
    let dropout = sites.and_then(|sites| sites.ffn_out.as_ref());
    let sum = model.apply_residual(backend, slots.ffn_out, &activated, dropout, middle)?;
    let output = norm(backend, model, slots.ffn_norm, sum)?;
    Ok((activated, output))
}

#[expect(clippy::too_many_arguments, reason = "a backward pass needs what the forward pass had, its tape and its gradients")]
fn layer_backward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    batch: &DeviceBatch<B::Indices>,
    layer: usize,
    input: &B::Tensor,
    tape: LayerTape<B::Tensor>,
    d_output: B::Tensor,
    sites: Option<&LayerSites>,
    gradients: &mut [B::Tensor],
) -> Result<B::Tensor> {
    let config = &model.config;
    let slots = model.layer(layer);
    let LayerTape { attention: AttentionTape { qkv, attended, lse, middle }, inner, activated, output } = tape;

    // output = norm(middle + drop(ffn_out(act(ffn_in(middle)))))
    let d_sum = norm_backward(backend, model, slots.ffn_norm, &output, &d_output, gradients)?;
    drop((d_output, output));
    let branch = dropped(backend, model, &d_sum, sites.and_then(|sites| sites.ffn_out.as_ref()))?;
    let d_projected = branch.as_ref().unwrap_or(&d_sum);
    let through = InputGradient::Through { inner: &inner, kind: config.activation };
    let d_inner = model.apply_backward_into(backend, slots.ffn_out, d_projected, &activated, through, gradients)?;
    drop((branch, activated, inner));
    let plus = InputGradient::Plus(&d_sum);
    let d_middle = model.apply_backward_into(backend, slots.ffn_in, &d_inner, &middle.output, plus, gradients)?;
    drop(d_inner);

    // middle = norm(input + drop(attention_out(attention(qkv(input)))))
    let d_sum = norm_backward(backend, model, slots.attention_norm, &middle, &d_middle, gradients)?;
    drop((d_middle, middle));
    let branch = dropped(backend, model, &d_sum, sites.and_then(|sites| sites.attention_out.as_ref()))?;
    let d_projected = branch.as_ref().unwrap_or(&d_sum);
    let d_attended = model.apply_backward(backend, slots.attention_out, d_projected, &attended, gradients)?;
    drop(branch);
    let mut d_qkv = backend.empty(batch.host.tokens(), 3 * config.hidden)?;
    let dropout = sites.and_then(|sites| sites.attention.as_ref());
    backend.attention_backward(&mut d_qkv, &d_attended, &attended, &lse, &qkv, batch, config.heads, dropout)?;
    drop((d_attended, attended, lse, qkv));
    model.apply_backward_into(backend, slots.qkv, &d_qkv, input, InputGradient::Plus(&d_sum), gradients)
}

/// A copy of `d_y` with dropout applied; `None` where nothing is dropped.
fn dropped<B: Backend>(backend: &B, model: &Model<B>, d_y: &B::Tensor, dropout: Option<&Dropout>) -> Result<Option<B::Tensor>> {
    let Some(dropout) = dropout else { return Ok(None) };
    let mut copy = model.copied(backend, d_y)?;
    backend.dropout(&mut copy, dropout)?;
    Ok(Some(copy))
}

fn norm<B: Backend>(
    backend: &B,
    model: &Model<B>,
    slot: super::parameters::Norm,
    input: B::Tensor,
) -> Result<NormTape<B::Tensor>> {
    let (rows, columns) = backend.shape(&input);
    let mut output = backend.empty(rows, columns)?;
    let mut stats = backend.empty(rows, 2)?;
    let (gamma, beta) = (&model.parameters[slot.0], &model.parameters[slot.0 + 1]);
    backend.layer_norm(&mut output, &mut stats, &input, gamma, beta, model.config.layer_norm_epsilon)?;
    Ok(NormTape { input, stats, output })
}

fn norm_backward<B: Backend>(
    backend: &B,
    model: &Model<B>,
    slot: super::parameters::Norm,
    tape: &NormTape<B::Tensor>,
    d_output: &B::Tensor,
    gradients: &mut [B::Tensor],
) -> Result<B::Tensor> {
    let (rows, columns) = backend.shape(d_output);
    let mut d_input = backend.empty(rows, columns)?;
    let [d_gamma, d_beta] = pair(gradients, slot.0);
    let gamma = &model.parameters[slot.0];
    backend.layer_norm_backward(&mut d_input, d_gamma, d_beta, d_output, &tape.input, &tape.stats, gamma)?;
    Ok(d_input)
}
