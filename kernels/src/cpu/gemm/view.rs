//! A matrix or its transpose, read in place.

/// A row-major matrix, or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(super) data: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Elements from one row of the underlying matrix to the next.
    pub(super) stride: usize,
    /// Whether element `(i, j)` lies at `j * stride + i`, not at `i * stride + j`.
    pub(super) turned: bool,
}

impl<'a> View<'a> {
    /// The row-major matrix `data` of `columns` columns.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(rows.checked_mul(columns) == Some(data.len()), "{rows} x {columns} of {}", data.len());
        Self { data, rows, columns, stride: columns, turned: false }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, turned: !self.turned, ..self }
    }
}
