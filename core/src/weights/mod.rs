//! Model weights as safetensors under Hugging Face names.
//!
//! Inside, the query, key and value projections of a layer are one matrix `layer.{i}.qkv`
//! (see [`parameter_layout`](crate::config::parameter_layout)); in files they are three, so that transformers loads them.
//!
//! A checkpoint is one `model.safetensors`, or a `model.safetensors.index.json` with the files that it names, of
//! transformers' `Bert...` and `DistilBert...` classes: bare, or with a head of this or another task; with or without the
//! `bert.` or `distilbert.` prefix; stored as f32, f16 or bf16; normalisations called `weight`, `bias` or, in files converted
//! from TensorFlow such as `bert-base-uncased`, `gamma`, `beta`.
//!
//! Every tensor of the encoder must be there with the shape that `config.json` implies. The head's may be missing, and
//! is then new. Of other tensors these are ignored, anything else is an error:
//!
//! | tensor (after the prefix) | ignored | what it is |
//! |---|---|---|
//! | `embeddings.position_ids`, `embeddings.token_type_ids` | always | buffers that count 0, 1, 2, ... and hold zeros |
//! | `cls.*` | always | BERT's heads for masked language modelling and next sentences |
//! | `vocab_transform.*`, `vocab_layer_norm.*`, `vocab_projector.*` | always | DistilBERT's head for masked language modelling |
//! | `fit_dense*` | always | TinyBERT's projections onto its teacher, used while distilling |
//! | `qa_outputs.*` | classifying | the head of the other task |
//! | `classifier.*`, `pre_classifier.*`, `pooler.*` | answering questions | the head of the other task |

mod checkpoint;
mod convert;
mod find;
mod names;
mod number;
mod safetensors_file;
mod write;

pub use checkpoint::Checkpoint;
pub use write::save;

use std::path::Path;

use crate::Result;
use crate::config::{EncoderConfig, Family, Head, Kind, ParameterSpec};

/// A row-major matrix in host memory; a vector has one row.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// `rows * columns` values.
    pub data: Vec<f32>,
}

/// What [`load`] found.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Parameters under their internal names, in the order of the layout. Parameters of a new head are absent.
    pub tensors: Vec<(String, HostTensor)>,
    /// Names in transformers' files of the head's tensors that are missing and have to be initialised and trained.
    pub missing_head: Vec<String>,
}

/// Reads all parameters of `config` with `head` into memory; `path` as for [`Checkpoint::open`].
///
/// # Errors
/// As [`Checkpoint::open`] and [`Checkpoint::read`].
pub fn load(path: &Path, config: &EncoderConfig, head: Head) -> Result<Loaded> {
    let mut checkpoint = Checkpoint::open(path, config, head)?;
    let names: Vec<String> = checkpoint.layout().map(|spec| spec.name.clone()).collect();
    let mut tensors = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        tensors.extend(checkpoint.read(index)?.map(|tensor| (name, tensor)));
    }
    Ok(Loaded { tensors, missing_head: checkpoint.missing_head().to_vec() })
}

/// Names in transformers' files of the tensors that make up the parameter `internal` of the layout, from top to bottom:
/// three for a fused `qkv`, otherwise one.
pub fn hugging_face_names(family: Family, head: Head, internal: &str) -> Vec<String> {
    let full = |name: String| match names::is_outside_encoder(&name) {
        true => name,
        false => format!("{}{name}", names::prefix(family)),
    };
    names::stored(family, head, internal).into_iter().map(full).collect()
}

/// Shape in the file of a part with `values` values: vectors have one dimension there.
fn stored_shape(spec: &ParameterSpec, values: usize) -> Vec<usize> {
    match spec.kind {
        Kind::Embedding | Kind::Matrix => vec![values / spec.columns, spec.columns],
        Kind::Bias | Kind::NormGain | Kind::NormBias => vec![values],
    }
}

#[cfg(test)]
mod tests;
