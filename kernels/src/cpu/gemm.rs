//! The one door to the matrix product of the `gemm` crate, whose entry point takes raw pointers.
#![allow(unsafe_code)]

/// A matrix read through strides.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// The row-major matrix `data` of `columns` columns.
    pub(super) fn new(data: &'a [f32], columns: usize) -> Self {
        Self::columns(data, columns, 0, columns)
    }

    /// `width` columns from column `first` on of the row-major matrix `data` of `stride` columns.
    pub(super) fn columns(data: &'a [f32], stride: usize, first: usize, width: usize) -> Self {
        let end = first.checked_add(width);
        assert!(end.is_some_and(|end| end <= stride), "columns {first}+{width} of {stride}");
        let rows = data.len().checked_div(stride).unwrap_or(0);
        let data = if rows == 0 { data } else { &data[first..] };
        Self { data, rows, columns: width, row_stride: stride, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    /// Whether every element lies within `data`.
    fn is_within_bounds(&self) -> bool {
        let last = |count: usize, stride: usize| (count - 1).checked_mul(stride);
        let offset = || last(self.rows, self.row_stride)?.checked_add(last(self.columns, self.column_stride)?);
        self.rows == 0 || self.columns == 0 || offset().is_some_and(|offset| offset < self.data.len())
    }
}

/// A stride as the `gemm` crate takes it.
fn stride(elements: usize) -> isize {
    isize::try_from(elements).expect("a stride is at most the length of a slice")
}

/// `out = a b`, or `out += a b` if `accumulate`, for a row-major `out` as large as the product, on the calling thread.
pub(super) fn gemm(out: &mut [f32], a: View<'_>, b: View<'_>, accumulate: bool) {
    let (rows, columns, depth) = (a.rows, b.columns, a.columns);
    assert!(
        depth == b.rows && rows.checked_mul(columns) == Some(out.len()),
        "product of ({rows}, {depth}) and ({}, {columns})",
        b.rows
    );
    assert!(a.is_within_bounds() && b.is_within_bounds(), "operand out of bounds");
    let alpha = if accumulate { 1.0 } else { 0.0 };
    if rows == 0 || columns == 0 || depth == 0 {
        // An empty sum is zero; nothing to read, so the strides and pointers below would mean nothing.
        if !accumulate {
            out.fill(0.0);
        }
        return;
    }
    let (out_stride, a_strides) = (stride(columns), (stride(a.row_stride), stride(a.column_stride)));
    let b_strides = (stride(b.row_stride), stride(b.column_stride));
    // SAFETY: `gemm` reads `a` and `b` and writes `out` at `base + row * row_stride + column * column_stride` for rows and
    // columns within the given dimensions, none of which is 0. The assertions above hold the largest of these offsets, and
    // so all of them, within the three slices, without overflow; strides are converted to `isize` with a check. The pointers
    // come from slices of `f32`, so they are aligned for `f32`, which is all that `gemm` asks of its operands, and `out` and
    // both operands are initialised. `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            1,
            out_stride,
            accumulate,
            a.data.as_ptr(),
            a_strides.1,
            a_strides.0,
            b.data.as_ptr(),
            b_strides.1,
            b_strides.0,
            alpha,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, so that products are exact in any order.
    fn integers(length: usize, seed: usize) -> Vec<f32> {
        (0..length).map(|index| ((index * 7 + seed * 13) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn products_are_exact_on_integers() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (17, 1, 9), (1, 33, 20), (64, 48, 31)] {
            let (a, b) = (integers(m * k, 1), integers(k * n, 2));
            let naive = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum::<f32>();
            let transpose = |x: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..rows * columns).map(|index| x[index % rows * columns + index / rows]).collect()
            };
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let (mut plain, mut turned) = (vec![f32::NAN; m * n], vec![1.0; m * n]);
            gemm(&mut plain, View::new(&a, k), View::new(&b, n), false);
            gemm(&mut turned, View::new(&at, m).transposed(), View::new(&bt, k).transposed(), true);
            for index in 0..m * n {
                assert_eq!(plain[index], naive(index / n, index % n));
                assert_eq!(turned[index], 1.0 + naive(index / n, index % n));
            }
        }
    }

    #[test]
    fn nan_reaches_its_row_only() {
        let mut a = vec![1.0; 20];
        a[7] = f32::NAN;
        let (b, mut out) = (vec![0.0; 15], vec![0.0; 12]);
        gemm(&mut out, View::new(&a, 5), View::new(&b, 3), false);
        assert!(out[3..6].iter().all(|value| value.is_nan()));
        assert!(out[..3].iter().chain(&out[6..]).all(|&value| value == 0.0));
    }

    #[test]
    fn an_empty_sum_is_zero() {
        let (empty, mut out) = (View::columns(&[1.0; 6], 3, 0, 0), [2.0, 3.0]);
        let (rows, none) = (View { rows: 2, ..empty }, View { rows: 0, columns: 1, ..empty });
        gemm(&mut out, rows, none, true);
        assert_eq!(out, [2.0, 3.0]);
        gemm(&mut out, rows, none, false);
        assert_eq!(out, [0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "operand out of bounds")]
    fn offsets_may_not_overflow() {
        let data = [1.0; 4];
        // The last element's offset is 2^64, which wraps to 0.
        let wide = View { data: &data, rows: 2, columns: 2, row_stride: usize::MAX, column_stride: 1 };
        gemm(&mut [0.0; 4], wide, View::new(&data, 2), false);
    }

    #[test]
    #[should_panic(expected = "product of")]
    fn sizes_may_not_overflow() {
        let half = 1 << (usize::BITS / 2);
        let (tall, wide) = (View::new(&[], 1), View::new(&[], 1));
        gemm(&mut [], View { rows: half, ..tall }, View { rows: 1, columns: half, ..wide }, false);
    }

    #[test]
    #[should_panic(expected = "of 18446744073709551615")]
    fn columns_may_not_overflow() {
        View::columns(&[], usize::MAX, 2, usize::MAX);
    }

    #[test]
    #[should_panic(expected = "product of")]
    fn shapes_must_agree() {
        gemm(&mut [0.0; 4], View::new(&[1.0; 6], 3), View::new(&[1.0; 4], 2), false);
    }
}
