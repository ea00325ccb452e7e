//! Matrices and indices in device memory.

use super::memory::Memory;

/// How a number is stored. Computation is in f32 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 4 bytes.
    F32,
    /// bfloat16, 2 bytes: activations and their gradients in the bf16 precision.
    Bf16,
}

impl Format {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// A dense row-major matrix. One that was made by `empty` gets its memory and format when an operation first writes it:
/// the operation knows whether it makes an activation or, say, the statistics of a softmax.
pub struct Tensor {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) storage: Option<Storage>,
}

pub(super) struct Storage {
    pub(super) format: Format,
    pub(super) memory: Memory,
}

impl Tensor {
    /// `(rows, columns)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Number of elements.
    pub(super) fn count(&self) -> usize {
        self.rows * self.columns
    }
}

/// A vector of `i32`.
pub struct Indices {
    pub(super) length: usize,
    pub(super) memory: Memory,
}
