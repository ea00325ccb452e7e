//! AdamW and the gradient norm.

use stepsynth_core::Result;
use stepsynth_core::backend::{AdamWSlot, AdamWStep};

use super::parallel::CHUNK;
use super::{Cpu, Tensor};

/// See [`Backend::adamw`](stepsynth_core::backend::Backend::adamw).
pub(super) fn adamw(cpu: &Cpu, slots: &mut [AdamWSlot<'_, Tensor>], step: &AdamWStep) -> Result<()> {
    for slot in slots.iter() {
        let (rows, columns) = slot.parameter.shape();
        slot.gradient.expect("adamw", "gradient", rows, columns)?;
        slot.first.expect("adamw", "first moment", rows, columns)?;
        slot.second.expect("adamw", "second moment", rows, columns)?;
    }
    let steps = step.step as f64;
    let (beta1, beta2) = (step.beta1 as f32, step.beta2 as f32);
    let (fresh1, fresh2) = ((1.0 - step.beta1) as f32, (1.0 - step.beta2) as f32);
    let step_size = (step.learning_rate / (1.0 - step.beta1.powf(steps))) as f32;
    let correction2 = (1.0 / (1.0 - step.beta2.powf(steps))) as f32;
    let (epsilon, gradient_scale) = (step.epsilon as f32, step.gradient_scale as f32);
    let items = slots.iter_mut().flat_map(|slot| {
        let kept = (if slot.decay { 1.0 - step.learning_rate * step.weight_decay } else { 1.0 }) as f32;
        let moments = slot.first.data.chunks_mut(CHUNK).zip(slot.second.data.chunks_mut(CHUNK));
        let chunks = slot.parameter.data.chunks_mut(CHUNK).zip(slot.gradient.data.chunks(CHUNK)).zip(moments);
        chunks.map(move |chunk| (chunk, kept))
    });
    cpu.workers.run(
        items,
        #[inline(always)]
        |(((p, g), (m, v)), kept)| {
            for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                let g = g * gradient_scale;
                *m = beta1 * *m + fresh1 * g;
                *v = beta2 * *v + fresh2 * (g * g);
                *p = *p * kept - step_size * *m / ((*v * correction2).sqrt() + epsilon);
            }
        },
    );
    Ok(())
}

/// Sum of the squares of all elements of all tensors, in double precision.
pub(super) fn sum_of_squares(cpu: &Cpu, tensors: &[Tensor]) -> f64 {
    let chunks = || tensors.iter().flat_map(|tensor| tensor.data.chunks(CHUNK));
    let mut partials = vec![0.0; chunks().count()];
    cpu.workers.run(
        partials.iter_mut().zip(chunks()),
        #[inline(always)]
        |(partial, chunk)| *partial = squares(chunk),
    );
    partials.iter().sum()
}

#[inline(always)]
fn squares(values: &[f32]) -> f64 {
    const WIDTH: usize = 16;
    let (blocks, rest) = values.as_chunks::<WIDTH>();
    let mut lanes = [0.0; WIDTH];
    for block in blocks {
        for lane in 0..WIDTH {
            lanes[lane] += f64::from(block[lane]) * f64::from(block[lane]);
        }
    }
    let rest = rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
    lanes.iter().sum::<f64>() + rest
}
