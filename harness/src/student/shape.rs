//! Students trained from scratch: `tiny` and `small`.

use stepsynth_core::backend::Activation;
use stepsynth_core::config::{Dropouts, EncoderConfig, Family};

/// Shape of an encoder whose vocabulary is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Name on the command line.
    pub name: &'static str,
    /// Hidden size.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Dropout, wherever BERT has one.
    pub dropout: f64,
    /// Largest WordPiece vocabulary, learned from the training rows alone.
    pub vocab_size: usize,
}

/// The shapes, smallest first.
pub const SHAPES: [Shape; 2] = [
    Shape { name: "tiny", hidden: 48, layers: 2, heads: 4, dropout: 0.0, vocab_size: 1_000 },
    Shape { name: "small", hidden: 128, layers: 2, heads: 4, dropout: 0.1, vocab_size: 8_000 },
];

impl Shape {
    /// The shape with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SHAPES.iter().find(|shape| shape.name == name)
    }

    /// The BERT configuration with this shape; the feed-forward size is four times the hidden size.
    pub fn config(&self, vocab_size: usize, pad_token_id: usize, max_positions: usize, labels: Vec<String>) -> EncoderConfig {
        EncoderConfig {
            family: Family::Bert,
            vocab_size,
            hidden: self.hidden,
            layers: self.layers,
            heads: self.heads,
            feed_forward: 4 * self.hidden,
            max_positions,
            token_types: 2,
            layer_norm_epsilon: 1e-12,
            activation: Activation::GeluErf,
            dropouts: Dropouts {
                hidden: self.dropout,
                attention: self.dropout,
                classifier: self.dropout,
                // BERT has none there.
                question_answering: 0.0,
            },
            initializer_range: 0.02,
            pad_token_id,
            id2label: labels,
        }
    }
}
