//! The student: encoder and head, with forward and hand-written backward passes written once over [`Backend`].

mod classifier;
mod encoder;
mod initialise;
mod new_head;
mod parameters;
mod qa;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::backend::{Backend, DeviceBatch, Real};
use crate::config::{EncoderConfig, Head, Kind, ParameterSpec, parameter_layout};
use crate::random::Stream;
use crate::weights::{self, Checkpoint, HostTensor};
use crate::{Error, Result};

pub use encoder::DropoutSites;
pub use initialise::Initialisation;
pub use new_head::NewHead;

/// What the batch should have answered, on the device.
pub enum Targets<I> {
    /// Class of each sequence, length `B`.
    Labels(I),
    /// First and last answer token of each sequence, counted from its beginning; each of length `B`.
    Spans {
        /// First token.
        starts: I,
        /// Last token (inclusive).
        ends: I,
    },
}

/// Result of [`Model::gradients`].
pub struct StepOutput<T> {
    /// Loss of each sequence, `(B, 1)`.
    pub losses: T,
    /// `(B, K)` for classification, `(N, 2)` for question answering.
    pub logits: T,
}

/// An encoder with a head; its parameters live on the backend in the order of [`parameter_layout`].
pub struct Model<B: Backend> {
    config: EncoderConfig,
    head: Head,
    layout: Vec<ParameterSpec>,
    parameters: Vec<B::Tensor>,
}

impl<B: Backend> Model<B> {
    /// A model with fresh random parameters.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration or the head cannot be used, and whatever the backend reports.
    pub fn new(backend: &B, config: EncoderConfig, head: Head, how: Initialisation, seed: u64) -> Result<Self> {
        config.validate("model configuration")?;
        head.validate("model head")?;
        let stream = Stream::new(seed, "initialise");
        let layout = parameter_layout(&config, head);
        let host = layout.iter().enumerate().map(|(index, spec)| how.draw(&config, spec, stream.child(index as u64)));
        let parameters = layout
            .iter()
            .zip(host)
            .map(|(spec, data)| backend.upload(spec.rows, spec.columns, &scalars::<B>(&data)))
            .collect::<Result<_>>()?;
        Ok(Self { config, head, layout, parameters })
    }

    /// A model with given parameters, in any order, each of the layout's names once.
    ///
    /// # Errors
    /// [`Error::Config`] naming a tensor that is missing, extra, repeated or of another shape, or what is wrong with the
    /// configuration or the head.
    pub fn from_tensors(
        backend: &B,
        config: EncoderConfig,
        head: Head,
        tensors: impl IntoIterator<Item = (String, HostTensor)>,
    ) -> Result<Self> {
        config.validate("model configuration")?;
        head.validate("model head")?;
        let fail = |message: String| Error::Config { place: "model tensors".into(), message };
        let layout = parameter_layout(&config, head);
        let mut found: Vec<Option<B::Tensor>> = layout.iter().map(|_| None).collect();
        for (name, tensor) in tensors {
            let index = layout.iter().position(|spec| spec.name == name);
            let index = index.ok_or_else(|| fail(format!("{name} is not a parameter of this model")))?;
            let spec = &layout[index];
            if (tensor.rows, tensor.columns) != (spec.rows, spec.columns) {
                let (rows, columns) = (tensor.rows, tensor.columns);
                return Err(fail(format!("{name} has shape ({rows}, {columns}), expected ({}, {})", spec.rows, spec.columns)));
            }
            if found[index].is_some() {
                return Err(fail(format!("{name} is given twice")));
            }
            found[index] = Some(backend.upload(spec.rows, spec.columns, &scalars::<B>(&tensor.data))?);
        }
        let parameters = found
            .into_iter()
            .zip(&layout)
            .map(|(tensor, spec)| tensor.ok_or_else(|| fail(format!("{} is missing", spec.name))))
            .collect::<Result<_>>()?;
        Ok(Self { config, head, layout, parameters })
    }

    /// Reads `config.json` and the weights of a Hugging Face directory, a tensor at a time. A head that the checkpoint lacks is
    /// drawn from `seed` and reported.
    ///
    /// # Errors
    /// As [`EncoderConfig::load`], [`Checkpoint::open`] and [`Checkpoint::read`], and whatever the backend reports.
    pub fn load(backend: &B, directory: &Path, head: Head, seed: u64) -> Result<(Self, Option<NewHead>)> {
        let config = EncoderConfig::load(directory)?;
        let mut checkpoint = Checkpoint::open(directory, &config, head)?;
        let layout = parameter_layout(&config, head);
        let stream = Stream::new(seed, "initialise");
        let mut parameters = Vec::new();
        for (index, spec) in layout.iter().enumerate() {
            let data = match checkpoint.read(index)? {
                Some(tensor) => tensor.data,
                None => Initialisation::Transformers.draw(&config, spec, stream.child(index as u64)),
            };
            parameters.push(backend.upload(spec.rows, spec.columns, &scalars::<B>(&data))?);
        }
        let missing = checkpoint.missing_head().to_vec();
        let file = checkpoint.path().to_path_buf();
        let new_head = (!missing.is_empty()).then_some(NewHead { file, missing, head, seed });
        Ok((Self { config, head, layout, parameters }, new_head))
    }

    /// The same model with other class names.
    #[must_use]
    pub fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.config.id2label = labels;
        self
    }

    /// Writes `config.json` and `model.safetensors` into an existing directory, each atomically.
    ///
    /// # Errors
    /// [`Error::Io`] and whatever the backend reports.
    pub fn save(&self, backend: &B, directory: &Path) -> Result<()> {
        let tensors = self.tensors(backend)?;
        weights::save(&directory.join("model.safetensors"), &self.config, self.head, &tensors)?;
        self.config.save(directory, self.head)
    }

    /// The parameters on the host, in the order of the layout.
    ///
    /// # Errors
    /// Whatever the backend reports.
    pub fn tensors(&self, backend: &B) -> Result<Vec<(String, HostTensor)>> {
        self.layout
            .iter()
            .zip(&self.parameters)
            .map(|(spec, tensor)| {
                let data = backend.download(tensor)?.into_iter().map(|value| value.f64() as f32).collect();
                Ok((spec.name.clone(), HostTensor { rows: spec.rows, columns: spec.columns, data }))
            })
            .collect()
    }

    /// Shape of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// What stands on the encoder.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Names, shapes and kinds of the parameters.
    pub fn layout(&self) -> &[ParameterSpec] {
        &self.layout
    }

    /// The parameters, in the order of [`layout`](Self::layout).
    pub fn parameters(&self) -> &[B::Tensor] {
        &self.parameters
    }

    /// The parameters, to be updated.
    pub fn parameters_mut(&mut self) -> &mut [B::Tensor] {
        &mut self.parameters
    }

    /// Tensors of zeros with the shapes of the parameters: gradients or moments.
    ///
    /// # Errors
    /// Whatever the backend reports.
    pub fn zeros_like_parameters(&self, backend: &B) -> Result<Vec<B::Tensor>> {
        self.layout.iter().map(|spec| backend.zeros(spec.rows, spec.columns)).collect()
    }

    /// Inference: logits `(B, K)` for classification, `(N, 2)` for question answering. No dropout.
    ///
    /// # Errors
    /// [`Error::Index`] if a token id or position is outside its table, and whatever the backend reports.
    pub fn logits(&self, backend: &B, batch: &DeviceBatch<B::Indices>) -> Result<B::Tensor> {
        let hidden = encoder::infer(backend, self, batch)?;
        match self.head {
            Head::Classification { .. } => Ok(classifier::forward(backend, self, batch, &hidden, None)?.logits),
            Head::QuestionAnswering => Ok(qa::forward(backend, self, &hidden, None)?.logits),
        }
    }

    /// Forward and backward: adds the gradient of the mean loss over the batch to `gradients` (tensors as of
    /// [`zeros_like_parameters`](Self::zeros_like_parameters)). `dropout` names this step's masks; `None` = no dropout.
    ///
    /// # Errors
    /// [`Error::Config`] if the targets are not of the head's kind, otherwise as [`logits`](Self::logits).
    pub fn gradients(
        &self,
        backend: &B,
        batch: &DeviceBatch<B::Indices>,
        targets: &Targets<B::Indices>,
        dropout: Option<Stream>,
        gradients: &mut [B::Tensor],
    ) -> Result<StepOutput<B::Tensor>> {
        let sites = dropout.map(|stream| DropoutSites::new(&self.config, stream));
        let tape = encoder::forward(backend, self, batch, sites.as_ref())?;
        let (output, d_hidden) = match (self.head, targets) {
            (Head::Classification { .. }, Targets::Labels(labels)) => {
                let tape = classifier::forward(backend, self, batch, tape.hidden(), sites.as_ref())?;
                classifier::backward(backend, self, batch, tape, labels, sites.as_ref(), gradients)?
            }
            (Head::QuestionAnswering, Targets::Spans { starts, ends }) => {
                let head = qa::forward(backend, self, tape.hidden(), sites.as_ref())?;
                qa::backward(backend, self, batch, &tape, head, (starts, ends), sites.as_ref(), gradients)?
            }
            _ => {
                let message = "targets do not fit the head: labels go with classification, spans with question answering";
                return Err(Error::Config { place: "training targets".into(), message: message.into() });
            }
        };
        encoder::backward(backend, self, batch, tape, d_hidden, sites.as_ref(), gradients)?;
        Ok(output)
    }

    /// Floating-point operations of one training pass over a sequence of `tokens` tokens:
    /// `3 (2 P S + 4 S^2 C L)` with `P` the elements of the layers' matrices (forward, and twice that backward).
    pub fn training_flops(&self, tokens: usize) -> f64 {
        let matrices = |spec: &&ParameterSpec| spec.kind == Kind::Matrix && spec.name.starts_with("layer.");
        let elements: usize = self.layout.iter().filter(matrices).map(|spec| spec.rows * spec.columns).sum();
        let (length, width) = (tokens as f64, (self.config.hidden * self.config.layers) as f64);
        3.0 * (2.0 * elements as f64 * length + 4.0 * length * length * width)
    }
}

fn scalars<B: Backend>(data: &[f32]) -> Vec<B::Scalar> {
    data.iter().map(|&value| B::Scalar::of(f64::from(value))).collect()
}
