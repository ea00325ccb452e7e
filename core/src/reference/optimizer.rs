//! AdamW, one parameter at a time.

use ndarray::{Array2, Zip};

use super::ReferenceReal;
use crate::Result;
use crate::backend::{AdamWSlot, AdamWStep, expect_shape};

pub(super) fn adamw<T: ReferenceReal>(slot: &mut AdamWSlot<'_, Array2<T>>, step: &AdamWStep) -> Result<()> {
    let shape = slot.parameter.dim();
    expect_shape("adamw", "gradient", slot.gradient.dim(), shape)?;
    expect_shape("adamw", "first moment", slot.first.dim(), shape)?;
    expect_shape("adamw", "second moment", slot.second.dim(), shape)?;
    let (beta1, beta2) = (T::of(step.beta1), T::of(step.beta2));
    let correction1 = T::of(1.0 - step.beta1.powf(step.step as f64));
    let correction2 = T::of(1.0 - step.beta2.powf(step.step as f64));
    let decay = T::of(if slot.decay { 1.0 - step.learning_rate * step.weight_decay } else { 1.0 });
    Zip::from(&mut *slot.parameter).and(slot.gradient).and(&mut *slot.first).and(&mut *slot.second).for_each(|p, &g, m, v| {
        let g = g * T::of(step.gradient_scale);
        *m = beta1 * *m + (T::one() - beta1) * g;
        *v = beta2 * *v + (T::one() - beta2) * g * g;
        let update = (*m / correction1) / ((*v / correction2).sqrt() + T::of(step.epsilon));
        *p = *p * decay - T::of(step.learning_rate) * update;
    });
    Ok(())
}
