//! Matrix products of the few dozen rows and columns found inside attention, where the `gemm` crate's packing costs more
//! than the product. The right operand and the result have rows padded to a multiple of [`LANES`].

use super::rows::LANES;

/// The left operand of a [`product`].
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// Element `(i, l)` at `data[i * stride + l]`.
    Plain { data: &'a [f32], stride: usize },
    /// Element `(i, l)` at `data[l * stride + i]`.
    Transposed { data: &'a [f32], stride: usize },
}

/// Rounds up to a multiple of [`LANES`].
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(LANES)
}

/// `out = a b`, or `out += a b` if `accumulate`, with `a (rows, depth)` and row-major `b` and `out` of `stride` columns, a
/// multiple of [`LANES`].
#[inline(always)]
pub(super) fn product(out: &mut [f32], a: Left<'_>, depth: usize, b: &[f32], stride: usize, accumulate: bool) {
    let mut row = 0;
    let mut fours = out.chunks_exact_mut(4 * stride);
    for out in &mut fours {
        band::<4>(out, a, row, depth, b, stride, accumulate);
        row += 4;
    }
    for out in fours.into_remainder().chunks_exact_mut(stride) {
        band::<1>(out, a, row, depth, b, stride, accumulate);
        row += 1;
    }
}

/// Rows `row..row + ROWS` of the product.
#[inline(always)]
fn band<const ROWS: usize>(out: &mut [f32], a: Left<'_>, row: usize, depth: usize, b: &[f32], stride: usize, accumulate: bool) {
    for column in (0..stride).step_by(LANES) {
        let mut sums = [[0.0; LANES]; ROWS];
        match a {
            Left::Plain { data, stride: step } => {
                let mut rows = [&data[..0]; ROWS];
                for (i, slot) in rows.iter_mut().enumerate() {
                    *slot = &data[(row + i) * step..][..depth];
                }
                for (l, b) in b[column..].chunks(stride).take(depth).enumerate() {
                    let mut a = [0.0; ROWS];
                    for i in 0..ROWS {
                        a[i] = rows[i][l];
                    }
                    step_in(&mut sums, a, b);
                }
            }
            Left::Transposed { data, stride: step } => {
                for (a, b) in data[row..].chunks(step).zip(b[column..].chunks(stride)).take(depth) {
                    let a = a.first_chunk::<ROWS>().expect("a row of the transposed operand");
                    step_in(&mut sums, *a, b);
                }
            }
        }
        for (sums, out) in sums.iter().zip(out.chunks_exact_mut(stride)) {
            let out = &mut out[column..column + LANES];
            for lane in 0..LANES {
                out[lane] = if accumulate { out[lane] + sums[lane] } else { sums[lane] };
            }
        }
    }
}

/// `sums[i] += a[i] b` over the first [`LANES`] of `b`.
#[inline(always)]
fn step_in<const ROWS: usize>(sums: &mut [[f32; LANES]; ROWS], a: [f32; ROWS], b: &[f32]) {
    let b = &b[..LANES];
    for i in 0..ROWS {
        for lane in 0..LANES {
            sums[i][lane] += a[i] * b[lane];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_on_integers() {
        for (m, n, k) in [(1, 1, 1), (4, 16, 8), (7, 20, 5), (21, 33, 20), (6, 40, 1)] {
            let stride = padded(n);
            let a: Vec<f32> = (0..m * k).map(|index| (index % 9) as f32 - 4.0).collect();
            let turned: Vec<f32> = (0..m * k).map(|index| a[index % m * k + index / m]).collect();
            let b: Vec<f32> = (0..k * stride).map(|index| (index % 7) as f32 - 3.0).collect();
            let (mut plain, mut transposed) = (vec![f32::NAN; m * stride], vec![2.0; m * stride]);
            product(&mut plain, Left::Plain { data: &a, stride: k }, k, &b, stride, false);
            product(&mut transposed, Left::Transposed { data: &turned, stride: m }, k, &b, stride, true);
            for (index, (&plain, &transposed)) in plain.iter().zip(&transposed).enumerate() {
                let expected: f32 = (0..k).map(|l| a[index / stride * k + l] * b[l * stride + index % stride]).sum();
                assert_eq!((plain, transposed), (expected, expected + 2.0));
            }
        }
    }
}
