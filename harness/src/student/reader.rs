//! From inputs to predictions with a model and its tokeniser.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use stepsynth_core::Sequence;
use stepsynth_core::backend::Backend;
use stepsynth_core::config::Head;
use stepsynth_core::model::Model;
use stepsynth_core::tokenize::{Tokenizer, Window};
use stepsynth_core::train::{Progress, logits};
use stepsynth_datasets::Input;

use super::encode::{self, Lengths};
use super::{Predict, Prediction};

/// Turns inputs into sequences and logits into predictions.
pub(super) struct Reader {
    pub(super) tokenizer: Tokenizer,
    pub(super) head: Head,
    pub(super) lengths: Lengths,
    /// Tokens of a batch.
    pub(super) inference_tokens: usize,
}

/// Tokenised inputs.
pub(super) enum Prepared {
    Sequences(Vec<Sequence>),
    Windows(Vec<Vec<Window>>),
}

impl Reader {
    pub(super) fn prepare(&self, inputs: &[Input]) -> Result<Prepared> {
        Ok(match self.head {
            Head::Classification { .. } => {
                let sequences = inputs.iter().map(|input| encode::sequence(&self.tokenizer, self.lengths, input));
                Prepared::Sequences(sequences.collect::<Result<_>>()?)
            }
            Head::QuestionAnswering => {
                let windows = inputs.iter().map(|input| encode::windows(&self.tokenizer, self.lengths, input));
                Prepared::Windows(windows.collect::<Result<_>>()?)
            }
        })
    }

    pub(super) fn predict<B: Backend>(
        &self,
        backend: &B,
        model: &Model<B>,
        inputs: &[Input],
        prepared: &Prepared,
        progress: Progress<'_>,
    ) -> Result<Vec<Prediction>> {
        match prepared {
            Prepared::Sequences(sequences) => {
                let all = logits(backend, model, sequences, self.inference_tokens, progress)?;
                Ok(all.into_iter().map(encode::label).collect())
            }
            Prepared::Windows(windows) => {
                let sequences: Vec<_> = windows.iter().flatten().map(|window| window.sequence.clone()).collect();
                let all = logits(backend, model, &sequences, self.inference_tokens, progress)?;
                let mut rest = all.as_slice();
                let mut predictions = Vec::with_capacity(inputs.len());
                for (input, windows) in inputs.iter().zip(windows) {
                    let (mine, later) = rest.split_at(windows.len());
                    rest = later;
                    let scored: Vec<_> = windows.iter().zip(mine.iter().map(Vec::as_slice)).collect();
                    predictions.push(encode::span(input.context().unwrap_or_default(), &scored)?);
                }
                Ok(predictions)
            }
        }
    }
}

/// A trained encoder with all that predicting takes.
pub(super) struct Learned<B: Backend> {
    pub(super) backend: Arc<B>,
    pub(super) model: Model<B>,
    pub(super) reader: Reader,
}

impl<B: Backend> Predict for Learned<B> {
    fn predict(&self, inputs: &[Input], progress: Progress<'_>) -> Result<Vec<Prediction>> {
        self.reader.predict(&*self.backend, &self.model, inputs, &self.reader.prepare(inputs)?, progress)
    }

    fn save(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        self.reader.tokenizer.save(directory, self.model.config())?;
        Ok(self.model.save(&self.backend, directory)?)
    }
}
