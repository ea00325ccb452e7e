//! Model weights as safetensors under Hugging Face names.
//!
//! Inside, the query, key and value projections of a layer are one matrix `layer.{i}.qkv`
//! (see [`parameter_layout`]); in files they are three, so that transformers loads them.

mod names;
mod number;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::config::{EncoderConfig, Family, Head, Kind, ParameterSpec, parameter_layout};
use crate::{Error, Result, file};

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
    /// Whether the file lacks (a part of) the head, which then has to be initialised and trained.
    pub new_head: bool,
}

/// Reads the parameters of `config` with `head`; `path` is a safetensors file or a directory with `model.safetensors`.
///
/// Accepts the files of transformers' `DistilBert...`/`Bert...ForSequenceClassification`, `...ForQuestionAnswering` and
/// of the bare models, with or without the `distilbert.` or `bert.` prefix, stored as f32, f16 or bf16. Language-model
/// heads, the head of the other task and `position_ids` are ignored.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Weights`] if it is malformed, or if a tensor is missing, unknown,
/// of another shape (both are named) or of another number type; [`Error::Config`] if the head has no classes.
pub fn load(path: &Path, config: &EncoderConfig, head: Head) -> Result<Loaded> {
    let path = if path.is_dir() { path.join("model.safetensors") } else { path.to_path_buf() };
    head.validate("model head")?;
    let bytes = std::fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
    let mut stored = Stored::parse(&path, &bytes, config)?;
    let mut loaded = Loaded { tensors: Vec::new(), new_head: false };
    for spec in parameter_layout(config, head) {
        match stored.take(&spec, head)? {
            Some(tensor) => loaded.tensors.push((spec.name, tensor)),
            None => loaded.new_head = true,
        }
    }
    stored.expect_only_known_extras()?;
    Ok(loaded)
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

/// Writes the parameters of `config` with `head` to the file `path`, atomically, as f32 under transformers' names.
///
/// # Errors
/// [`Error::Weights`] if `tensors` is not exactly the layout of the model (any order); [`Error::Config`] if the head has no
/// classes; [`Error::Io`].
pub fn save(path: &Path, config: &EncoderConfig, head: Head, tensors: &[(String, HostTensor)]) -> Result<()> {
    head.validate("model head")?;
    let fail = |message: String| Error::Weights { path: path.to_path_buf(), message };
    let by_name: HashMap<&str, &HostTensor> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let layout = parameter_layout(config, head);
    if tensors.len() != layout.len() {
        return Err(fail(format!("{} tensors given, the model has {}", tensors.len(), layout.len())));
    }
    let mut parts: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for spec in &layout {
        let tensor = by_name.get(spec.name.as_str()).ok_or_else(|| fail(format!("tensor {} is missing", spec.name)))?;
        let got = (tensor.rows, tensor.columns, tensor.data.len());
        if got != (spec.rows, spec.columns, spec.rows * spec.columns) {
            return Err(fail(format!(
                "tensor {} has shape {:?} with {} values, the model needs {:?}",
                spec.name,
                (tensor.rows, tensor.columns),
                tensor.data.len(),
                (spec.rows, spec.columns)
            )));
        }
        let names = hugging_face_names(config.family, head, &spec.name);
        let share = tensor.data.len() / names.len();
        for (name, values) in names.into_iter().zip(tensor.data.chunks_exact(share)) {
            let shape = stored_shape(spec, share);
            parts.push((name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()));
        }
    }
    let views: Vec<(&str, TensorView<'_>)> = parts
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()
        .map_err(|error| fail(error.to_string()))?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let contents = safetensors::serialize(views, Some(metadata)).map_err(|error| fail(error.to_string()))?;
    file::write_atomically(path, &contents)
}

/// Shape in the file of a part with `values` values: vectors have one dimension there.
fn stored_shape(spec: &ParameterSpec, values: usize) -> Vec<usize> {
    match spec.kind {
        Kind::Embedding | Kind::Matrix => vec![values / spec.columns, spec.columns],
        Kind::Bias | Kind::NormGain | Kind::NormBias => vec![values],
    }
}

/// The tensors of a file that were not used yet, under names without prefix.
struct Stored<'a> {
    path: PathBuf,
    config: &'a EncoderConfig,
    tensors: BTreeMap<String, TensorView<'a>>,
    /// Layers of which the file has a weight or a bias.
    layers_in_use: HashSet<String>,
}

impl<'a> Stored<'a> {
    fn parse(path: &Path, bytes: &'a [u8], config: &'a EncoderConfig) -> Result<Self> {
        let mut stored = Self { path: path.to_path_buf(), config, tensors: BTreeMap::new(), layers_in_use: HashSet::new() };
        let file =
            SafeTensors::deserialize(bytes).map_err(|error| stored.fail(format!("not a valid safetensors file: {error}")))?;
        for (name, view) in file.tensors() {
            let plain = names::without_prefix(config.family, &name);
            stored.layers_in_use.insert(names::layer_of(&plain).to_owned());
            if stored.tensors.insert(plain.clone(), view).is_some() {
                return Err(stored.fail(format!("tensor {plain} occurs twice, with and without prefix")));
            }
        }
        Ok(stored)
    }

    /// The parameter `spec`, put together from its parts; `None` if it belongs to the head and the file has no such layer.
    fn take(&mut self, spec: &ParameterSpec, head: Head) -> Result<Option<HostTensor>> {
        let names = names::stored(self.config.family, head, &spec.name);
        if spec.name.starts_with("head.") && !self.layers_in_use.contains(names::layer_of(&names[0])) {
            return Ok(None);
        }
        let expected = stored_shape(spec, spec.rows * spec.columns / names.len());
        let mut data = Vec::new();
        for name in &names {
            let view = self
                .tensors
                .remove(name)
                .ok_or_else(|| self.fail(format!("tensor {name} {expected:?} is missing; is config.json of another model?")))?;
            if view.shape() != expected {
                return Err(self.fail(format!(
                    "tensor {name} has shape {:?}, the model needs {expected:?}; is config.json of another model?",
                    view.shape()
                )));
            }
            number::decode(&view, &mut data)
                .map_err(|dtype| self.fail(format!("tensor {name} is stored as {dtype:?}; convert it to F32, F16 or BF16")))?;
        }
        Ok(Some(HostTensor { rows: spec.rows, columns: spec.columns, data }))
    }

    /// What is left must be something that these models do not need.
    fn expect_only_known_extras(&self) -> Result<()> {
        match self.tensors.iter().find(|(name, _)| !names::is_known_extra(name)) {
            None => Ok(()),
            Some((name, view)) => Err(self
                .fail(format!("tensor {name} {:?} has no place in the model; is config.json of another model?", view.shape()))),
        }
    }

    fn fail(&self, message: String) -> Error {
        Error::Weights { path: self.path.clone(), message }
    }
}

#[cfg(test)]
mod tests;
