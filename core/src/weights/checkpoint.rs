//! A checkpoint whose tensors have been found and checked, to be read one after another.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::convert::strip_head;
use super::find::Files;
use super::safetensors_file::{Entry, SafetensorsFile, fail};
use super::{HostTensor, hugging_face_names, names, number, stored_shape};
use crate::config::{EncoderConfig, Family, Head, ParameterSpec, parameter_layout};
use crate::{Error, Result};

const HINT: &str = "is config.json of another model?";

/// The parameters of one model in its files. [`open`](Self::open) checks names, shapes and number types of all;
/// [`read`](Self::read) then holds one tensor at a time in memory.
pub struct Checkpoint {
    path: PathBuf,
    shards: Vec<SafetensorsFile>,
    parameters: Vec<Parameter>,
    missing_head: Vec<String>,
}

struct Parameter {
    spec: ParameterSpec,
    /// Shard and place of each part from top to bottom; empty if the checkpoint lacks it.
    parts: Vec<(usize, Entry)>,
}

impl Checkpoint {
    /// Finds the parameters of `config` with `head` in `path`: a safetensors file, a `model.safetensors.index.json`, or a
    /// directory with one of them. What may be absent and what is ignored: see the [module's table](super).
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read; [`Error::Weights`] if one is malformed, if a directory holds weights of another
    /// format (with the command that converts them), or if a tensor is missing, unknown, of another shape (both are named) or
    /// of another number type; [`Error::Config`] if the head has no classes.
    pub fn open(path: &Path, config: &EncoderConfig, head: Head) -> Result<Self> {
        head.validate("model head")?;
        let files = Files::open(path)?;
        let mut stored = Stored::sort(&files.path, files.tensors, config.family, head)?;
        let mut missing_head = Vec::new();
        let mut parameters = Vec::new();
        for spec in parameter_layout(config, head) {
            let parts = stored.take(&spec)?;
            if parts.is_empty() {
                missing_head.extend(hugging_face_names(config.family, head, &spec.name));
            }
            parameters.push(Parameter { spec, parts });
        }
        stored.expect_only_known_extras()?;
        Ok(Self { path: files.path, shards: files.shards, parameters, missing_head })
    }

    /// The safetensors file, or the index of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names in transformers' files of the head's tensors that the checkpoint lacks: all of a layer or none.
    pub fn missing_head(&self) -> &[String] {
        &self.missing_head
    }

    /// The parameter with this place in the layout; `None` if it belongs to the head and the checkpoint lacks it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    ///
    /// # Panics
    /// If `index` is not one of the layout.
    pub fn read(&mut self, index: usize) -> Result<Option<HostTensor>> {
        let Parameter { spec, parts } = &self.parameters[index];
        if parts.is_empty() {
            return Ok(None);
        }
        // Its bytes are in the file, so this is no larger than what the file has.
        let mut data = Vec::with_capacity(spec.rows * spec.columns);
        for (shard, entry) in parts {
            self.shards[*shard].read(entry, &mut data)?;
        }
        Ok(Some(HostTensor { rows: spec.rows, columns: spec.columns, data }))
    }

    pub(super) fn layout(&self) -> impl ExactSizeIterator<Item = &ParameterSpec> {
        self.parameters.iter().map(|parameter| &parameter.spec)
    }
}

/// The tensors that were not used yet, under names without prefix.
struct Stored<'a> {
    path: &'a Path,
    family: Family,
    head: Head,
    tensors: BTreeMap<String, (usize, Entry)>,
    /// Layers of which there is a weight or a bias.
    layers_in_use: HashSet<String>,
}

impl<'a> Stored<'a> {
    fn sort(path: &'a Path, found: BTreeMap<String, (usize, Entry)>, family: Family, head: Head) -> Result<Self> {
        let mut stored = Self { path, family, head, tensors: BTreeMap::new(), layers_in_use: HashSet::new() };
        for (name, place) in found {
            let plain = names::without_prefix(family, &name);
            stored.layers_in_use.insert(names::layer_of(&plain).to_owned());
            if stored.tensors.insert(plain.clone(), place).is_some() {
                return Err(stored.fail(format!("tensor {plain} occurs twice, with and without prefix or in old and new words")));
            }
        }
        Ok(stored)
    }

    /// The parts of the parameter `spec`; none if it belongs to the head and the checkpoint has no such layer.
    fn take(&mut self, spec: &ParameterSpec) -> Result<Vec<(usize, Entry)>> {
        let names = names::stored(self.family, self.head, &spec.name);
        if spec.name.starts_with("head.") && !self.layers_in_use.contains(names::layer_of(&names[0])) {
            return self.may_lack(spec, &names[0]);
        }
        let expected = stored_shape(spec, spec.rows * spec.columns / names.len());
        let mut parts = Vec::new();
        for name in &names {
            let found = self.tensors.remove(name);
            let missing = || self.fail(format!("tensor {name} {expected:?} is missing; {HINT}"));
            let (shard, entry) = found.ok_or_else(missing)?;
            if entry.shape != expected {
                let hint = self.shape_hint(spec, &entry.shape, &expected);
                let shape = &entry.shape;
                return Err(self.fail(format!("tensor {name} has shape {shape:?}, the model needs {expected:?}; {hint}")));
            }
            if !number::is_readable(entry.dtype) {
                let dtype = entry.dtype;
                return Err(self.fail(format!("tensor {name} is stored as {dtype:?}; convert it to F32, F16 or BF16")));
            }
            parts.push((shard, entry));
        }
        Ok(parts)
    }

    /// A head may be missing from its output on, but not the layer below an output that is there.
    fn may_lack(&self, spec: &ParameterSpec, name: &str) -> Result<Vec<(usize, Entry)>> {
        if spec.name.starts_with("head.pre.") && self.layers_in_use.contains("classifier") {
            let shape = stored_shape(spec, spec.rows * spec.columns);
            let command = self.strip_command();
            return Err(self.fail(format!(
                "tensor {name} {shape:?} is missing though classifier.weight is there, so its head is of another task; \
                 for a new head write its encoder alone: {command}"
            )));
        }
        Ok(Vec::new())
    }

    fn shape_hint(&self, spec: &ParameterSpec, got: &[usize], expected: &[usize]) -> String {
        let only_classes_differ = got.len() == expected.len() && got.get(1..) == expected.get(1..);
        match self.head {
            Head::Classification { labels } if spec.name.starts_with("head.out.") && only_classes_differ => format!(
                "its head has {} classes, not {labels}: take a task of as many, or for a new head write its encoder alone: {}",
                got[0],
                self.strip_command()
            ),
            _ => HINT.to_owned(),
        }
    }

    fn strip_command(&self) -> String {
        strip_head(self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    }

    /// What is left must be something that these models do not need.
    fn expect_only_known_extras(&self) -> Result<()> {
        match self.tensors.iter().find(|(name, _)| !names::is_ignored(self.head, name)) {
            None => Ok(()),
            Some((name, (_, entry))) => {
                Err(self.fail(format!("tensor {name} {:?} has no place in the model; {HINT}", entry.shape)))
            }
        }
    }

    fn fail(&self, message: String) -> Error {
        fail(self.path, message)
    }
}
