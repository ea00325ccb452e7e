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
        assert!(first + width <= stride, "columns {first}+{width} of {stride}");
        let rows = data.len().checked_div(stride).unwrap_or(0);
        let data = if rows == 0 { data } else { &data[first..] };
        Self { data, rows, columns: width, row_stride: stride, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    /// Whether every element lies within `data`.
    fn is_within_bounds(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride < self.data.len()
    }
}

/// `out = a b`, or `out += a b` if `accumulate`, for a row-major `out` as large as the product, on the calling thread.
pub(super) fn gemm(out: &mut [f32], a: View<'_>, b: View<'_>, accumulate: bool) {
    let (rows, columns, depth) = (a.rows, b.columns, a.columns);
    assert!(depth == b.rows && out.len() == rows * columns, "product of ({rows}, {depth}) and ({}, {columns})", b.rows);
    assert!(a.is_within_bounds() && b.is_within_bounds(), "operand out of bounds");
    let alpha = if accumulate { 1.0 } else { 0.0 };
    // SAFETY: `gemm` reads `a` and `b` and writes `out` at `base + row * row_stride + column * column_stride` for rows and
    // columns within the given dimensions. The assertions above hold all of these within the three slices, strides fit
    // `isize` because slices do, and `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            1,
            columns as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
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
    #[should_panic(expected = "product of")]
    fn shapes_must_agree() {
        gemm(&mut [0.0; 4], View::new(&[1.0; 6], 3), View::new(&[1.0; 4], 2), false);
    }
}
