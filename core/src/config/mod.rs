//! The shape of an encoder and of its head, read from and written to Hugging Face's `config.json`.

mod fields;
mod json;
mod layout;
mod unsupported;

pub use layout::{Kind, ParameterSpec, parameter_layout};

use std::collections::HashSet;
use std::path::Path;

use crate::backend::{ATTENTION_DROPOUT_KEYS, Activation};
use crate::{Error, Result, file};

/// Which family of Hugging Face models the encoder belongs to: decides names, segment embeddings and the pooling head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `model_type` `distilbert`: no segments; classification head is `pre_classifier`, ReLU, `classifier`.
    DistilBert,
    /// `model_type` `bert` (MiniLM too): segments; classification head is `pooler.dense`, tanh, `classifier`.
    Bert,
}

/// What stands on top of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// One of `labels` classes for each sequence, read from its first token.
    Classification {
        /// Number of classes `K`, at least 1.
        labels: usize,
    },
    /// A start score and an end score for each token.
    QuestionAnswering,
}

impl Head {
    /// Rows of `head.out.weight`: the classes, or 2 (start and end).
    pub fn outputs(self) -> usize {
        match self {
            Self::Classification { labels } => labels,
            Self::QuestionAnswering => 2,
        }
    }

    /// Checks that the number of classes is positive and not absurd. `place` names the origin in errors.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(self, place: &str) -> Result<()> {
        match self {
            Self::Classification { labels } if labels == 0 || labels > MAX_LABELS => {
                let message = format!("number of labels is {labels}, must be between 1 and {MAX_LABELS}");
                Err(Error::Config { place: place.to_owned(), message })
            }
            _ => Ok(()),
        }
    }
}

/// Dropout probabilities, each in `[0, 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropouts {
    /// After the embeddings and after each sub-layer's output (`dropout`, `hidden_dropout_prob`).
    pub hidden: f64,
    /// On attention probabilities (`attention_dropout`, `attention_probs_dropout_prob`).
    pub attention: f64,
    /// Before the classifier (`seq_classif_dropout`; `classifier_dropout`, or the hidden one where that is null).
    pub classifier: f64,
    /// Before the span scores (`qa_dropout`; BERT has none: 0).
    pub question_answering: f64,
}

/// An encoder of the BERT kind with absolute positions and post-layer normalisation.
///
/// Made by [`from_json`](Self::from_json) or [`load`](Self::load); a value built by hand should pass
/// [`validate`](Self::validate).
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Model family.
    pub family: Family,
    /// Vocabulary size `V`.
    pub vocab_size: usize,
    /// Hidden size `C`.
    pub hidden: usize,
    /// Number of layers `L`.
    pub layers: usize,
    /// Attention heads `H`; divides `hidden`.
    pub heads: usize,
    /// Feed-forward size `F`.
    pub feed_forward: usize,
    /// Longest sequence `P`.
    pub max_positions: usize,
    /// Segments `T`; 0 for DistilBERT, which has none.
    pub token_types: usize,
    /// Added to the variance in layer normalisation; 1e-12 for DistilBERT.
    pub layer_norm_epsilon: f64,
    /// Non-linearity of the feed-forward layers.
    pub activation: Activation,
    /// Dropout probabilities.
    pub dropouts: Dropouts,
    /// Standard deviation of freshly initialised matrices.
    pub initializer_range: f64,
    /// Id of `[PAD]`; its embedding starts at zero. Packed batches never contain it.
    pub pad_token_id: usize,
    /// Class names in the order of the logits; never empty.
    pub id2label: Vec<String>,
}

/// Longest `config.json` read, in bytes: room for the names of [`MAX_LABELS`] classes.
pub(crate) const MAX_FILE: u64 = 16 << 20;

/// Largest sizes accepted: above every published model of these families, small enough that a hostile file cannot ask for
/// an absurd allocation.
pub(crate) const MAX_VOCABULARY: usize = 2_000_000;
const MAX_HIDDEN: usize = 16_384;
const MAX_LAYERS: usize = 256;
const MAX_FEED_FORWARD: usize = 65_536;
const MAX_TOKEN_TYPES: usize = 64;
const MAX_LABELS: usize = 65_536;
const MAX_PARAMETERS: u128 = 4_000_000_000;

impl EncoderConfig {
    /// Reads `config.json`; `path` is that file or the directory that holds it.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no such file or directory, [`Error::Io`] if it cannot be read, otherwise as
    /// [`from_json`](Self::from_json).
    pub fn load(path: &Path) -> Result<Self> {
        let fail = |message: &str| Err(Error::Config { place: path.display().to_string(), message: message.into() });
        if !path.exists() {
            return fail("no such file or directory; give the directory of a Hugging Face model");
        }
        let path = &if path.is_dir() { path.join("config.json") } else { path.to_path_buf() };
        if !path.exists() {
            return fail("config.json is missing; is it a Hugging Face model directory?");
        }
        Self::from_json(&file::read_text(path, MAX_FILE)?, &path.display().to_string())
    }

    /// Reads the text of a `config.json`; `place` names it in errors.
    ///
    /// Sizes must be stated; where a probability, flag or name is absent or null, transformers' default holds, so files of old
    /// versions load. Fields that ask for another computation than [`EncoderConfig`] describes (relative positions, pruned
    /// heads, quantised weights, code of the model's own, ...) are errors. `chunk_size_feed_forward` is no such field: it only
    /// trades memory for time. Unknown fields are ignored, as in transformers.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field that is missing, of the wrong type, or not supported.
    pub fn from_json(text: &str, place: &str) -> Result<Self> {
        let config = json::parse(text, place)?;
        config.validate(place)?;
        Ok(config)
    }

    /// The `config.json` that transformers reads back as a model of this shape with `head`.
    ///
    /// `id2label` is written for classification, and when it holds other than `head`'s number of names the missing ones
    /// are `LABEL_i` as transformers would name them.
    pub fn to_json(&self, head: Head) -> String {
        json::write(self, head)
    }

    /// Writes `config.json` into `directory`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, directory: &Path, head: Head) -> Result<()> {
        file::write_atomically(&directory.join("config.json"), self.to_json(head).as_bytes())
    }

    /// Head size `D = C / H`.
    pub fn head_size(&self) -> usize {
        self.hidden / self.heads
    }

    /// Checks that sizes are positive, fit together and are not absurd. `place` names the origin in errors.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self, place: &str) -> Result<()> {
        let fail = |message: String| Err(Error::Config { place: place.to_owned(), message: file::printable(&message) });
        let name = json::Names::of(self.family);
        let sizes = [
            (name.vocab_size, self.vocab_size, MAX_VOCABULARY),
            (name.hidden, self.hidden, MAX_HIDDEN),
            (name.layers, self.layers, MAX_LAYERS),
            (name.heads, self.heads, MAX_HIDDEN),
            (name.feed_forward, self.feed_forward, MAX_FEED_FORWARD),
            (name.max_positions, self.max_positions, ATTENTION_DROPOUT_KEYS),
            ("number of labels", self.id2label.len(), MAX_LABELS),
        ];
        for (field, value, largest) in sizes {
            if value == 0 || value > largest {
                return fail(format!("{field} is {value}, must be between 1 and {largest}"));
            }
        }
        match self.family {
            Family::DistilBert if self.token_types != 0 => return fail("distilbert has no token types; set them to 0".into()),
            Family::Bert if self.token_types == 0 || self.token_types > MAX_TOKEN_TYPES => {
                return fail(format!("type_vocab_size is {}, must be between 1 and {MAX_TOKEN_TYPES}", self.token_types));
            }
            _ => {}
        }
        if !self.hidden.is_multiple_of(self.heads) {
            return fail(format!("{} {} does not divide {} {}", name.heads, self.heads, name.hidden, self.hidden));
        }
        if self.pad_token_id >= self.vocab_size {
            return fail(format!("pad_token_id {} is outside the vocabulary of {}", self.pad_token_id, self.vocab_size));
        }
        let parameters = self.encoder_parameters();
        if parameters > MAX_PARAMETERS {
            return fail(format!("the sizes ask for {parameters} parameters, more than {MAX_PARAMETERS}"));
        }
        if self.activation == Activation::Tanh {
            return fail(format!("{} tanh is not supported in feed-forward layers", name.activation));
        }
        let probabilities = [
            (name.hidden_dropout, self.dropouts.hidden),
            (name.attention_dropout, self.dropouts.attention),
            (name.classifier_dropout, self.dropouts.classifier),
            ("qa_dropout", self.dropouts.question_answering),
        ];
        for (field, value) in probabilities {
            if !(0.0..1.0).contains(&value) {
                return fail(format!("{field} is {value}, must be at least 0 and below 1"));
            }
        }
        if self.family == Family::Bert && self.dropouts.question_answering != 0.0 {
            let rate = self.dropouts.question_answering;
            return fail(format!("bert has no dropout before the span scores, so its rate must be 0, not {rate}"));
        }
        for (field, value) in [("layer_norm_eps", self.layer_norm_epsilon), ("initializer_range", self.initializer_range)] {
            if !(value > 0.0 && value <= 1.0) {
                return fail(format!("{field} is {value}, must be above 0 and at most 1"));
            }
        }
        let mut seen = HashSet::new();
        for (index, label) in self.id2label.iter().enumerate() {
            if label.is_empty() || !seen.insert(label) {
                return fail(format!("id2label: label {index} ({label:?}) is empty or repeats an earlier one"));
            }
        }
        Ok(())
    }

    /// Parameters without the head; wide enough not to overflow on unchecked sizes.
    fn encoder_parameters(&self) -> u128 {
        let [v, c, l, f, p, t] =
            [self.vocab_size, self.hidden, self.layers, self.feed_forward, self.max_positions, self.token_types]
                .map(|n| n as u128);
        (v + p + t) * c + l * (4 * c * c + 2 * c * f)
    }
}

#[cfg(test)]
mod tests;
