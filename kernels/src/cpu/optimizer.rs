//! AdamW and the gradient norm, both without a look at rows that are known to be at rest.

use stepsynth_core::Result;
use stepsynth_core::backend::{AdamWSlot, AdamWStep};

use super::parallel::rows_per_chunk;
use super::rows::LANES;
use super::touched::Rows;
use super::{Cpu, Tensor};

/// Chunks of the norm are this many times larger than others: their number is that of the partial sums.
const NORM_CHUNKS: usize = 8;

/// One step's constants as the update uses them.
#[derive(Clone, Copy)]
struct Update {
    gradient_scale: f32,
    beta1: f32,
    beta2: f32,
    /// `1 - beta1` and `1 - beta2`.
    fresh1: f32,
    fresh2: f32,
    /// `lr / (1 - beta1^t)`.
    step_size: f32,
    /// `1 / (1 - beta2^t)`.
    correction2: f32,
    epsilon: f32,
}

impl Update {
    fn new(step: &AdamWStep) -> Self {
        let steps = step.step as f64;
        Self {
            gradient_scale: step.gradient_scale as f32,
            beta1: step.beta1 as f32,
            beta2: step.beta2 as f32,
            fresh1: (1.0 - step.beta1) as f32,
            fresh2: (1.0 - step.beta2) as f32,
            step_size: (step.learning_rate / (1.0 - step.beta1.powf(steps))) as f32,
            correction2: (1.0 / (1.0 - step.beta2.powf(steps))) as f32,
            epsilon: step.epsilon as f32,
        }
    }

    /// Elements are a parameter, its gradient and its moments; `kept` is what decay leaves of the parameter.
    #[inline(always)]
    fn apply(self, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], kept: f32) {
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * self.gradient_scale;
            *m = self.beta1 * *m + self.fresh1 * g;
            *v = self.beta2 * *v + self.fresh2 * (g * g);
            *p = *p * kept - self.step_size * *m / ((*v * self.correction2).sqrt() + self.epsilon);
        }
    }

    /// Whether an element with neither gradient nor moments stays so and its parameter only decays.
    fn leaves_alone_what_rests(self) -> bool {
        // Also negative zero, which subtracting a negative zero would turn.
        [1.0_f32, -0.0].into_iter().all(|parameter| {
            let (mut p, mut m, mut v) = ([parameter], [0.0_f32], [0.0_f32]);
            self.apply(&mut p, &[0.0], &mut m, &mut v, 1.0);
            [p[0], m[0], v[0]].map(f32::to_bits) == [parameter, 0.0, 0.0].map(f32::to_bits)
        })
    }
}

/// See [`Backend::adamw`](stepsynth_core::backend::Backend::adamw).
pub(super) fn adamw(cpu: &Cpu, slots: &mut [AdamWSlot<'_, Tensor>], step: &AdamWStep) -> Result<()> {
    for slot in slots.iter() {
        let (rows, columns) = slot.parameter.shape();
        slot.gradient.expect("adamw", "gradient", rows, columns)?;
        slot.first.expect("adamw", "first moment", rows, columns)?;
        slot.second.expect("adamw", "second moment", rows, columns)?;
    }
    let update = Update::new(step);
    let may_skip = update.leaves_alone_what_rests();
    let items = slots.iter_mut().flat_map(|slot| {
        let kept = (if slot.decay { 1.0 - step.learning_rate * step.weight_decay } else { 1.0 }) as f32;
        let columns = slot.parameter.columns.max(1);
        let per_chunk = rows_per_chunk(columns);
        let length = per_chunk * columns;
        let (m, v, active) = moments(slot.first, slot.second, slot.gradient.data.touched().filter(|_| may_skip));
        let chunks = slot.parameter.data.chunks_mut(length).zip(slot.gradient.data.chunks(length));
        let chunks = chunks.zip(m.chunks_mut(length).zip(v.chunks_mut(length))).enumerate();
        chunks.map(move |(chunk, slices)| (slices, kept, active.map(|active| (active, chunk * per_chunk, columns))))
    });
    cpu.workers.run(
        items,
        #[inline(always)]
        |(((p, g), (m, v)), kept, active)| match active {
            None => update.apply(p, g, m, v, kept),
            Some((active, first, columns)) => {
                let rows = p.chunks_exact_mut(columns).zip(g.chunks_exact(columns));
                let moments = m.chunks_exact_mut(columns).zip(v.chunks_exact_mut(columns));
                for (row, ((p, g), (m, v))) in (first..).zip(rows.zip(moments)) {
                    if active.contains(row) {
                        update.apply(p, g, m, v, kept);
                    } else if kept != 1.0 {
                        p.iter_mut().for_each(|p| *p *= kept);
                    }
                }
            }
        },
    );
    Ok(())
}

/// The elements of both moments and, if it is known, the rows in which they or the gradient are not zero, as both will know
/// after the step.
fn moments<'a>(
    first: &'a mut Tensor,
    second: &'a mut Tensor,
    gradient: Option<&Rows>,
) -> (&'a mut [f32], &'a mut [f32], Option<&'a Rows>) {
    let Some(gradient) = gradient.filter(|_| first.data.touched().is_some() && second.data.touched().is_some()) else {
        return (&mut first.data, &mut second.data, None);
    };
    let ((m, active), (v, other)) = (first.data.rows_mut(), second.data.rows_mut());
    if let (Some(active), Some(other)) = (active, other) {
        active.insert_all(gradient);
        active.insert_all(other);
        other.insert_all(active);
        return (m, v, Some(active));
    }
    (m, v, None)
}

/// Sum of the squares of all elements of all tensors, in double precision.
pub(super) fn sum_of_squares(cpu: &Cpu, tensors: &[Tensor]) -> f64 {
    let chunks = || {
        tensors.iter().flat_map(|tensor| {
            let columns = tensor.columns.max(1);
            let per_chunk = NORM_CHUNKS * rows_per_chunk(columns);
            let chunks = tensor.data.chunks(per_chunk * columns).enumerate();
            chunks.map(move |(chunk, values)| (values, columns, chunk * per_chunk, tensor.data.touched()))
        })
    };
    let mut partials = vec![0.0; chunks().count()];
    cpu.workers.run(
        partials.iter_mut().zip(chunks()),
        #[inline(always)]
        |(partial, (values, columns, first, touched))| {
            // Row by row also where nothing is known, so that leaving out rows of zeros changes no bit.
            let mut lanes = [0.0; LANES];
            for (row, values) in (first..).zip(values.chunks_exact(columns)) {
                if touched.is_none_or(|touched| touched.contains(row)) {
                    add_squares(&mut lanes, values);
                }
            }
            *partial = lanes.iter().sum();
        },
    );
    partials.iter().sum()
}

#[inline(always)]
fn add_squares(lanes: &mut [f64; LANES], values: &[f32]) {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut sums = *lanes;
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] += f64::from(block[lane]) * f64::from(block[lane]);
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum += f64::from(value) * f64::from(value);
    }
    *lanes = sums;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stepsynth_core::backend::Backend;

    use super::*;

    /// Some steps on a table whose gradient touches the given rows in each step; returns parameter, moments and norms. A dense
    /// run forgets that rows are zero before each operation.
    fn train(steps: &[Vec<usize>], rows: usize, columns: usize, weight_decay: f64, epsilon: f64, dense: bool) -> Vec<Vec<u32>> {
        let cpu = Cpu::new(1).unwrap();
        let forget = |tensor: &mut Tensor| {
            if dense {
                tensor.data.fill_with(|| 0.0);
            }
        };
        let values: Vec<f32> = (0..rows * columns).map(|index| (index as f32 * 0.37).sin() - 0.5).collect();
        let mut parameter = cpu.upload(rows, columns, &values).unwrap();
        let [mut gradient, mut first, mut second] = [(); 3].map(|()| cpu.zeros(rows, columns).unwrap());
        forget(&mut first);
        forget(&mut second);
        let mut norms = Vec::new();
        for (step, touched) in (1..).zip(steps) {
            forget(&mut gradient);
            let (elements, mut known) = gradient.data.rows_mut();
            for (number, &row) in touched.iter().enumerate() {
                for (column, value) in elements[row * columns..][..columns].iter_mut().enumerate() {
                    *value += ((number * 31 + column * 7) as f32).cos();
                }
                if let Some(known) = &mut known {
                    known.insert(row);
                }
            }
            assert_eq!(gradient.data.touched().is_none(), dense);
            norms.extend(cpu.sum_of_squares(std::slice::from_ref(&gradient)).unwrap().to_bits().to_le_bytes().map(u32::from));
            let constants =
                AdamWStep { learning_rate: 1e-2, beta1: 0.9, beta2: 0.999, epsilon, weight_decay, step, gradient_scale: 0.7 };
            let slot =
                AdamWSlot { parameter: &mut parameter, gradient: &gradient, first: &mut first, second: &mut second, decay: true };
            cpu.adamw(&mut [slot], &constants).unwrap();
            cpu.clear(&mut gradient).unwrap();
            assert!(gradient.data.iter().all(|value| value.to_bits() == 0));
        }
        let bits = |tensor: &Tensor| tensor.data.iter().map(|value| value.to_bits()).collect();
        vec![bits(&parameter), bits(&first), bits(&second), norms]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn skipping_rows_changes_no_bit(
            steps in prop::collection::vec(prop::collection::vec(0..700_usize, 0..12), 1..6),
            columns in 1..70_usize,
            weight_decay in prop::sample::select(vec![0.0, 0.1]),
            epsilon in prop::sample::select(vec![1e-8, 0.0]),
        ) {
            let sparse = train(&steps, 700, columns, weight_decay, epsilon, false);
            prop_assert_eq!(sparse, train(&steps, 700, columns, weight_decay, epsilon, true));
        }
    }

    #[test]
    fn constants_that_move_resting_rows_are_noticed() {
        let step = AdamWStep {
            learning_rate: 1e-2,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.1,
            step: 1,
            gradient_scale: 1.0,
        };
        assert!(Update::new(&step).leaves_alone_what_rests());
        for step in [
            AdamWStep { epsilon: 0.0, ..step },
            AdamWStep { gradient_scale: f64::NAN, ..step },
            AdamWStep { learning_rate: f64::INFINITY, ..step },
            AdamWStep { learning_rate: -1.0, ..step },
            AdamWStep { beta2: 1.0, ..step },
        ] {
            assert!(!Update::new(&step).leaves_alone_what_rests(), "{step:?}");
        }
    }
}
