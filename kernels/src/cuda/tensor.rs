//! Matrices and indices in device memory.

use std::ops::Deref;
use std::sync::OnceLock;

use stepsynth_core::Result;
use stepsynth_core::backend::expect_index;

use super::embed::SortedTokens;
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
    /// The same numbers in bf16, for products, if they are kept in f32: made when first needed.
    rounded: OnceLock<Box<Tensor>>,
}

impl Storage {
    pub(super) fn new(format: Format, memory: Memory) -> Self {
        Self { format, memory, rounded: OnceLock::new() }
    }

    /// The address for a kernel that writes, after which the copy in bf16 is out of date.
    pub(super) fn address_to_write(&mut self) -> u64 {
        self.rounded.take();
        self.memory.address()
    }
}

impl Tensor {
    /// `(rows, columns)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// A matrix without memory yet.
    pub(super) fn unwritten(rows: usize, columns: usize) -> Self {
        Self { rows, columns, storage: None }
    }

    /// Number of elements.
    pub(super) fn count(&self) -> usize {
        self.rows * self.columns
    }

    /// How the numbers are stored, once something has been written.
    pub(super) fn format(&self) -> Option<Format> {
        self.storage.as_ref().map(|storage| storage.format)
    }

    /// A copy of these numbers in bf16, made by `round` and kept until the next write; the tensor itself if it is unwritten.
    pub(super) fn rounded(&self, round: impl FnOnce(&Self) -> Result<Self>) -> Result<&Self> {
        let Some(Storage { rounded, .. }) = &self.storage else { return Ok(self) };
        if let Some(copy) = rounded.get() {
            return Ok(copy);
        }
        let copy = round(self)?;
        Ok(rounded.get_or_init(|| Box::new(copy)))
    }
}

/// A tensor in the format that an operation wants: itself, or a converted copy.
pub(super) enum Formatted<'a> {
    Itself(&'a Tensor),
    Copy(Tensor),
}

impl Deref for Formatted<'_> {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        match self {
            Self::Itself(tensor) => tensor,
            Self::Copy(tensor) => tensor,
        }
    }
}

/// A vector of `i32`.
pub struct Indices {
    /// The host's copy, from which bounds are checked.
    pub(super) host: Vec<i32>,
    pub(super) memory: Memory,
    /// For the token ids of a batch: what [`embed_backward`](super::embed) needs without and with token types, made when first
    /// needed.
    pub(super) sorted: [OnceLock<SortedTokens>; 2],
}

impl Indices {
    pub(super) fn length(&self) -> usize {
        self.host.len()
    }

    /// Checks that every index lies in `0..bound`.
    pub(super) fn expect_below(&self, op: &'static str, what: &'static str, bound: usize) -> Result<()> {
        self.host.iter().try_for_each(|&index| expect_index(op, what, index, bound).map(|_| ()))
    }
}
