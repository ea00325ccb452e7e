//! Names, shapes and order of the parameters of a model.

use super::{EncoderConfig, Family, Head};

/// What a parameter is: decides how it is initialised and whether weight decay applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lookup table: normal initialisation, decayed.
    Embedding,
    /// Weight of a linear layer `(out, in)`: normal initialisation, decayed.
    Matrix,
    /// Bias of a linear layer: zero, not decayed.
    Bias,
    /// Scale of a layer normalisation: one, not decayed.
    NormGain,
    /// Shift of a layer normalisation: zero, not decayed.
    NormBias,
}

impl Kind {
    /// Whether AdamW's weight decay acts on it in the customary recipe (not on biases and normalisation).
    pub fn decays(self) -> bool {
        matches!(self, Self::Embedding | Self::Matrix)
    }
}

/// One parameter of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Internal name, for example `layer.0.qkv.weight`.
    pub name: String,
    /// Rows of the row-major matrix.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// What it is.
    pub kind: Kind,
}

/// Every parameter of the model `config` with `head`, in a fixed order.
///
/// `embeddings.word (V, C)`, `embeddings.position (P, C)`, BERT's `embeddings.token_type (T, C)`,
/// `embeddings.norm.{gamma,beta} (1, C)`; for each layer `i`: `layer.{i}.qkv.{weight (3C, C), bias}` (queries, keys,
/// values one below the other), `attention_out (C, C)`, `attention_norm`, `ffn_in (F, C)`, `ffn_out (C, F)`, `ffn_norm`;
/// then `head.pre (C, C)` (classification only) and `head.out (K, C)`. Biases and norms are `(1, columns)`.
pub fn parameter_layout(config: &EncoderConfig, head: Head) -> Vec<ParameterSpec> {
    let (c, f) = (config.hidden, config.feed_forward);
    let mut layout = Layout::default();
    layout.push("embeddings.word".into(), config.vocab_size, c, Kind::Embedding);
    layout.push("embeddings.position".into(), config.max_positions, c, Kind::Embedding);
    if config.family == Family::Bert {
        layout.push("embeddings.token_type".into(), config.token_types, c, Kind::Embedding);
    }
    layout.norm("embeddings.norm", c);
    for layer in 0..config.layers {
        layout.linear(&format!("layer.{layer}.qkv"), 3 * c, c);
        layout.linear(&format!("layer.{layer}.attention_out"), c, c);
        layout.norm(&format!("layer.{layer}.attention_norm"), c);
        layout.linear(&format!("layer.{layer}.ffn_in"), f, c);
        layout.linear(&format!("layer.{layer}.ffn_out"), c, f);
        layout.norm(&format!("layer.{layer}.ffn_norm"), c);
    }
    if matches!(head, Head::Classification { .. }) {
        layout.linear("head.pre", c, c);
    }
    layout.linear("head.out", head.outputs(), c);
    layout.0
}

#[derive(Default)]
struct Layout(Vec<ParameterSpec>);

impl Layout {
    fn push(&mut self, name: String, rows: usize, columns: usize, kind: Kind) {
        self.0.push(ParameterSpec { name, rows, columns, kind });
    }

    fn linear(&mut self, name: &str, output: usize, input: usize) {
        self.push(format!("{name}.weight"), output, input, Kind::Matrix);
        self.push(format!("{name}.bias"), 1, output, Kind::Bias);
    }

    fn norm(&mut self, name: &str, columns: usize) {
        self.push(format!("{name}.gamma"), 1, columns, Kind::NormGain);
        self.push(format!("{name}.beta"), 1, columns, Kind::NormBias);
    }
}
