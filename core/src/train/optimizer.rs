//! AdamW over all parameters of a model.

use crate::Result;
use crate::backend::{AdamWSlot, AdamWStep, Backend};
use crate::model::Model;

/// Constants of AdamW; the defaults are those of `torch.optim.AdamW` but for weight decay, 0 here.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWSettings {
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether biases and normalisations decay too, as in `AdamW(model.parameters())`; the customary recipe exempts them.
    pub decay_all: bool,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, decay_all: false }
    }
}

/// Optimizer state: gradients and both moments of every parameter.
pub struct AdamW<B: Backend> {
    settings: AdamWSettings,
    gradients: Vec<B::Tensor>,
    first: Vec<B::Tensor>,
    second: Vec<B::Tensor>,
    steps: u64,
}

impl<B: Backend> AdamW<B> {
    /// Fresh state for `model`.
    ///
    /// # Errors
    /// Whatever the backend reports.
    pub fn new(backend: &B, model: &Model<B>, settings: AdamWSettings) -> Result<Self> {
        Ok(Self {
            settings,
            gradients: model.zeros_like_parameters(backend)?,
            first: model.zeros_like_parameters(backend)?,
            second: model.zeros_like_parameters(backend)?,
            steps: 0,
        })
    }

    /// The gradients, to be accumulated into.
    pub fn gradients(&mut self) -> &mut [B::Tensor] {
        &mut self.gradients
    }

    /// Steps taken so far.
    pub fn steps_done(&self) -> usize {
        self.steps as usize
    }

    /// Euclidean norm of all gradients together.
    ///
    /// # Errors
    /// Whatever the backend reports.
    pub fn gradient_norm(&self, backend: &B) -> Result<f64> {
        Ok(backend.sum_of_squares(&self.gradients)?.sqrt())
    }

    /// Updates the model with `gradient_scale` times the gradients and clears them.
    ///
    /// # Errors
    /// Whatever the backend reports.
    pub fn step(&mut self, backend: &B, model: &mut Model<B>, learning_rate: f64, gradient_scale: f64) -> Result<()> {
        self.steps += 1;
        let AdamWSettings { beta1, beta2, epsilon, weight_decay, decay_all } = self.settings;
        let constants = AdamWStep { learning_rate, beta1, beta2, epsilon, weight_decay, step: self.steps, gradient_scale };
        let decays: Vec<bool> = model.layout().iter().map(|spec| decay_all || spec.kind.decays()).collect();
        let moments = self.first.iter_mut().zip(&mut self.second);
        let mut slots: Vec<_> = model
            .parameters_mut()
            .iter_mut()
            .zip(&self.gradients)
            .zip(moments)
            .zip(decays)
            .map(|(((parameter, gradient), (first, second)), decay)| AdamWSlot { parameter, gradient, first, second, decay })
            .collect();
        backend.adamw(&mut slots, &constants)?;
        drop(slots);
        self.gradients.iter_mut().try_for_each(|gradient| backend.clear(gradient))
    }
}
