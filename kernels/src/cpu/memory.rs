//! Tensors and the store their buffers return to, so that a steady training step allocates nothing.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use stepsynth_core::Result;
use stepsynth_core::backend::expect_shape;

use super::gemm::View;

/// Buffers start on a cache line, which spares the widest loads from straddling two.
const ALIGNMENT: usize = 64;
/// Elements a buffer may have to skip to start on a line.
const SLACK: usize = ALIGNMENT / size_of::<f32>();

/// Buffers not in use, by their size class.
#[derive(Default)]
pub(super) struct Memory {
    free: Mutex<BTreeMap<usize, Vec<Vec<f32>>>>,
}

impl Memory {
    /// A buffer of `length` elements with unspecified contents; NaN in debug builds, so that reading them shows.
    pub(super) fn buffer(self: &Arc<Self>, length: usize) -> Buffer {
        let class = size_class(length);
        let reused = self.free.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&class).and_then(Vec::pop);
        let store = reused.unwrap_or_else(|| vec![0.0; class + SLACK]);
        let offset = store.as_ptr().align_offset(ALIGNMENT).min(SLACK);
        let mut buffer = Buffer { store, offset, length, home: Arc::clone(self) };
        if cfg!(debug_assertions) {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    /// As [`buffer`](Self::buffer), filled with zeros.
    pub(super) fn zeroed(self: &Arc<Self>, length: usize) -> Buffer {
        let mut buffer = self.buffer(length);
        buffer.fill(0.0);
        buffer
    }
}

/// Rounds up to one of eight sizes an octave: batches of about one size share buffers at little waste.
fn size_class(length: usize) -> usize {
    let step = (length.next_power_of_two() / 16).max(64);
    length.div_ceil(step) * step
}

/// A slice of floats that returns to its [`Memory`] when dropped.
pub(super) struct Buffer {
    store: Vec<f32>,
    offset: usize,
    length: usize,
    home: Arc<Memory>,
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.store[self.offset..self.offset + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.store[self.offset..self.offset + self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let store = std::mem::take(&mut self.store);
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.entry(store.len() - SLACK).or_default().push(store);
    }
}

/// A dense row-major `f32` matrix of a [`Cpu`](super::Cpu).
pub struct Tensor {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) data: Buffer,
}

impl Tensor {
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.data, self.rows, self.columns)
    }

    /// Checks the shape as argument `what` of operation `op`.
    pub(super) fn expect(&self, op: &'static str, what: &'static str, rows: usize, columns: usize) -> Result<()> {
        expect_shape(op, what, self.shape(), (rows, columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let memory = Arc::new(Memory::default());
        let first = memory.buffer(1000);
        let address = first.as_ptr();
        drop(first);
        // 1000 and 1001 are of one size class.
        let second = memory.buffer(1001);
        assert_eq!(second.as_ptr(), address);
        assert_eq!(second.len(), 1001);
        assert_ne!(memory.buffer(1000).as_ptr(), address);
    }

    #[test]
    fn buffers_are_aligned_and_classes_waste_little() {
        let memory = Arc::new(Memory::default());
        for length in [0, 1, 15, 64, 65, 1000, 40_960, 1_000_003] {
            assert_eq!(memory.buffer(length).as_ptr().addr() % ALIGNMENT, 0);
            assert!(size_class(length) >= length && size_class(length) <= length + length / 8 + 64);
        }
    }

    #[cfg(debug_assertions)]
    #[test]
    fn unspecified_contents_are_nan_in_debug_builds() {
        let memory = Arc::new(Memory::default());
        drop(memory.zeroed(100));
        assert!(memory.buffer(100).iter().all(|value| value.is_nan()));
    }
}
