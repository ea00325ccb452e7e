//! Keeps the parameters of the best epoch and decides when to stop.

use crate::Result;
use crate::backend::Backend;
use crate::model::Model;

/// The best epoch so far. Larger metrics are better; of equal ones the first counts.
pub struct BestEpoch<S> {
    patience: Option<usize>,
    best: Option<Best<S>>,
    last_epoch: usize,
}

struct Best<S> {
    epoch: usize,
    metric: f64,
    /// The parameters, on the host.
    parameters: Vec<Vec<S>>,
}

impl<S: Copy> BestEpoch<S> {
    /// `patience` = epochs without improvement after which to stop.
    pub fn new(patience: Option<usize>) -> Self {
        Self { patience, best: None, last_epoch: 0 }
    }

    /// Takes note of an epoch; true = stop. Without a metric nothing is kept and nothing stops.
    ///
    /// # Errors
    /// Whatever the backend reports.
    pub fn observe<B: Backend<Scalar = S>>(
        &mut self,
        backend: &B,
        model: &Model<B>,
        epoch: usize,
        metric: Option<f64>,
    ) -> Result<bool> {
        self.last_epoch = epoch;
        let Some(metric) = metric else { return Ok(false) };
        if self.best.as_ref().is_none_or(|best| metric > best.metric) {
            let parameters = model.parameters().iter().map(|tensor| backend.download(tensor)).collect::<Result<_>>()?;
            self.best = Some(Best { epoch, metric, parameters });
        }
        let waited = self.best.as_ref().map_or(0, |best| epoch - best.epoch);
        Ok(self.patience.is_some_and(|patience| waited >= patience))
    }

    /// Gives the model the best epoch's parameters and returns that epoch (the last one if no metric was ever seen).
    ///
    /// # Errors
    /// Whatever the backend reports.
    pub fn restore<B: Backend<Scalar = S>>(self, backend: &B, model: &mut Model<B>) -> Result<usize> {
        let Some(best) = self.best else { return Ok(self.last_epoch) };
        if best.epoch != self.last_epoch {
            for (index, data) in best.parameters.iter().enumerate() {
                let (rows, columns) = (model.layout()[index].rows, model.layout()[index].columns);
                model.parameters_mut()[index] = backend.upload(rows, columns, data)?;
            }
        }
        Ok(best.epoch)
    }
}
