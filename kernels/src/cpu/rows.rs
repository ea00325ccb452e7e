//! Reductions of a row in a fixed order that vectorises: sixteen running values, folded at the end.

/// Running values of a reduction: one AVX-512 register, or two of AVX2.
pub(super) const LANES: usize = 16;

/// `sum_i f(a[i], b[i])` over slices of equal length.
#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).fold(0.0, |sum, (&a, &b)| sum + f(a, b));
    fold(lanes, |a, b| a + b) + rest
}

/// Combines lanes pairwise.
#[inline(always)]
pub(super) fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = f(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of lanes.
#[inline(always)]
pub(super) fn total(lanes: [f32; LANES]) -> f32 {
    fold(
        lanes,
        #[inline(always)]
        |a, b| a + b,
    )
}

/// `sum_i a[i]`.
#[inline(always)]
pub(super) fn sum(a: &[f32]) -> f32 {
    sum_of(a, a, |a, _| a)
}

/// `sum_i a[i] b[i]`.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a, b, |a, b| a * b)
}

/// `sum_i a[i] b[i] c[i]`.
#[inline(always)]
pub(super) fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let (c_blocks, c_rest) = c.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for ((a, b), c) in a_blocks.iter().zip(b_blocks).zip(c_blocks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane] * c[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).zip(c_rest).fold(0.0, |sum, ((&a, &b), &c)| sum + a * b * c);
    fold(lanes, |a, b| a + b) + rest
}

/// `sum_i (a[i] - center)^2`.
#[inline(always)]
pub(super) fn squared_deviations(a: &[f32], center: f32) -> f32 {
    sum_of(a, a, |a, _| (a - center) * (a - center))
}

/// The largest element that is a number, negative infinity if there is none.
#[inline(always)]
pub(super) fn max(a: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (blocks, rest) = a.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], block[lane]);
        }
    }
    rest.iter().fold(fold(lanes, larger), |a, &b| larger(a, b))
}

/// `y[i] = f(y[i])`; see [`update`].
#[inline(always)]
pub(super) fn map(y: &mut [f32], f: impl Fn(f32) -> f32) {
    let (blocks, rest) = y.as_chunks_mut::<LANES>();
    for y in blocks {
        *y = update_block(
            *y,
            *y,
            *y,
            #[inline(always)]
            |y, _, _| f(y),
        );
    }
    if !rest.is_empty() {
        let block = block_of(rest);
        rest.copy_from_slice(
            &update_block(
                block,
                block,
                block,
                #[inline(always)]
                |y, _, _| f(y),
            )[..rest.len()],
        );
    }
}

/// `y[i] = f(y[i], a[i], b[i])`, a register at a time, the rest too.
///
/// Values pass through local arrays of fixed length: the compiler then knows that nothing overlaps and vectorises long
/// functions too, which it does not do for a loop over slices.
#[expect(clippy::redundant_closure, reason = "a closure can be marked as always inlined, a function passed by name cannot")]
#[inline(always)]
pub(super) fn update(y: &mut [f32], a: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32) {
    let (y_blocks, y_rest) = y.as_chunks_mut::<LANES>();
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for ((y, a), b) in y_blocks.iter_mut().zip(a_blocks).zip(b_blocks) {
        *y = update_block(
            *y,
            *a,
            *b,
            #[inline(always)]
            |y, a, b| f(y, a, b),
        );
    }
    if !y_rest.is_empty() {
        let result = update_block(
            block_of(y_rest),
            block_of(a_rest),
            block_of(b_rest),
            #[inline(always)]
            |y, a, b| f(y, a, b),
        );
        y_rest.copy_from_slice(&result[..y_rest.len()]);
    }
}

#[inline(always)]
fn update_block(y: [f32; LANES], a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32, f32) -> f32) -> [f32; LANES] {
    let mut result = [0.0; LANES];
    for lane in 0..LANES {
        result[lane] = f(y[lane], a[lane], b[lane]);
    }
    result
}

/// Fewer than [`LANES`] values, filled up with zeros.
#[inline(always)]
fn block_of(rest: &[f32]) -> [f32; LANES] {
    let mut block = [0.0; LANES];
    block[..rest.len()].copy_from_slice(rest);
    block
}

/// `y[i] += x[i]`.
#[inline(always)]
pub(super) fn add(y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// Replaces scores by `exp(score - largest)`; returns the largest and the sum. A NaN makes the sum NaN.
#[inline(always)]
pub(super) fn exponentials(scores: &mut [f32]) -> (f32, f32) {
    let largest = max(scores);
    map(
        scores,
        #[inline(always)]
        |score| super::math::exp(score - largest),
    );
    (largest, sum(scores))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_are_exact_on_integers_of_any_length() {
        for length in [0, 1, 15, 16, 17, 33, 64, 511] {
            let a: Vec<f32> = (0..length).map(|index| (index % 13) as f32 - 6.0).collect();
            let b: Vec<f32> = (0..length).map(|index| (index % 7) as f32).collect();
            assert_eq!(sum(&a), a.iter().sum::<f32>());
            assert_eq!(dot(&a, &b), a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>());
            assert_eq!(dot3(&a, &b, &b), a.iter().zip(&b).map(|(a, b)| a * b * b).sum::<f32>());
            assert_eq!(squared_deviations(&a, 2.0), a.iter().map(|a| (a - 2.0) * (a - 2.0)).sum::<f32>());
            assert_eq!(max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }

    #[test]
    fn a_nan_score_makes_the_sum_nan() {
        for at in [0, 5, 16, 18] {
            let mut scores = [1.0; 19];
            scores[at] = f32::NAN;
            assert!(exponentials(&mut scores).1.is_nan());
        }
    }
}
