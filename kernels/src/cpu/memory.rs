//! Tensors and the store their buffers return to, so that a steady training step allocates nothing.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stepsynth_core::Result;
use stepsynth_core::backend::expect_shape;

use super::gemm::{Panels, View};
use super::touched::Rows;

/// Buffers start on a cache line, which spares the widest loads from straddling two.
const ALIGNMENT: usize = 64;
/// Elements a buffer may have to skip to start on a line.
const SLACK: usize = ALIGNMENT / size_of::<f32>();

/// A free buffer serves a request if it is at most this many times too large.
const LARGEST_EXCESS: usize = 2;

/// Buffers not in use.
#[derive(Default)]
pub(super) struct Memory {
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    /// By the elements that they hold.
    buffers: BTreeMap<usize, Vec<Vec<f32>>>,
    /// How many have ever been allocated.
    #[cfg(test)]
    allocations: usize,
}

impl Memory {
    /// A buffer of `length` elements with unspecified contents; NaN in debug builds, so that reading them shows.
    pub(super) fn buffer(self: &Arc<Self>, length: usize) -> Buffer {
        let class = size_class(length);
        let reused = self.lock().take(class);
        let store = reused.unwrap_or_else(|| vec![0.0; class + SLACK]);
        let offset = store.as_ptr().align_offset(ALIGNMENT).min(SLACK);
        let (touched, packed) = (Rows::default(), Mutex::default());
        let mut buffer = Buffer { store, offset, length, home: Arc::clone(self), touched, knows: false, packed };
        if cfg!(debug_assertions) {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    /// As [`buffer`](Self::buffer), filled with zeros.
    pub(super) fn zeroed(self: &Arc<Self>, length: usize) -> Buffer {
        let mut buffer = self.buffer(length);
        buffer.fill(0.0);
        buffer.knows = true;
        buffer
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many buffers have ever been allocated.
    #[cfg(test)]
    pub(super) fn allocations(&self) -> usize {
        self.lock().allocations
    }
}

impl Free {
    /// The smallest buffer that fits. Buffers of the largest batch so far thus serve all smaller ones; if none is large enough,
    /// the next smaller one makes room for what the caller allocates, so that memory does not hold a set for each batch size.
    fn take(&mut self, class: usize) -> Option<Vec<f32>> {
        let fitting = self.buffers.range_mut(class..=class.saturating_mul(LARGEST_EXCESS));
        if let Some(store) = fitting.filter_map(|(_, stores)| stores.pop()).next() {
            return Some(store);
        }
        let smaller = self.buffers.range_mut(class / 2..class).rev();
        drop(smaller.filter_map(|(_, stores)| stores.pop()).next());
        #[cfg(test)]
        {
            self.allocations += 1;
        }
        None
    }
}

/// Rounds up to one of eight sizes an octave: batches of about one size share buffers at little waste.
fn size_class(length: usize) -> usize {
    let step = (length.next_power_of_two() / 16).max(64);
    length.div_ceil(step) * step
}

/// A slice of floats that returns to its [`Memory`] when dropped, and may know which rows of it are zero: writing to the slice
/// forgets that, [`rows_mut`](Self::rows_mut) does not.
pub(super) struct Buffer {
    store: Vec<f32>,
    offset: usize,
    length: usize,
    home: Arc<Memory>,
    /// If `knows`, all other rows are `+0`.
    touched: Rows,
    knows: bool,
    packed: Mutex<Packed>,
}

/// A matrix in the order in which products read it, as long as the matrix does not change.
#[derive(Default)]
struct Packed {
    /// How often it has been asked for since the last change, at most 2.
    uses: u8,
    panels: Option<Arc<Panels>>,
}

impl Buffer {
    /// The rows that are not known to be zero; `None` if nothing is known.
    pub(super) fn touched(&self) -> Option<&Rows> {
        self.knows.then_some(&self.touched)
    }

    /// The elements, and the rows that are not known to be zero. Whoever writes to other rows must add them.
    pub(super) fn rows_mut(&mut self) -> (&mut [f32], Option<&mut Rows>) {
        *self.packed.get_mut().unwrap_or_else(PoisonError::into_inner) = Packed::default();
        let elements = &mut self.store[self.offset..self.offset + self.length];
        (elements, self.knows.then_some(&mut self.touched))
    }

    /// Notes that all rows are zero, which the caller has made them.
    pub(super) fn now_zero(&mut self) {
        self.touched.clear();
        self.knows = true;
    }

    /// What `pack` makes of the contents. From the second call on without a change in between, it is kept if it `fits`.
    pub(super) fn panels(&self, fits: impl Fn(&Panels) -> bool, pack: impl FnOnce() -> Panels) -> Arc<Panels> {
        let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(panels) = packed.panels.as_ref().filter(|panels| fits(panels)) {
            return Arc::clone(panels);
        }
        let panels = Arc::new(pack());
        packed.uses = (packed.uses + 1).min(2);
        packed.panels = (packed.uses == 2).then(|| Arc::clone(&panels));
        panels
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.store[self.offset..self.offset + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.knows = false;
        self.rows_mut().0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let store = std::mem::take(&mut self.store);
        self.home.lock().buffers.entry(store.len() - SLACK).or_default().push(store);
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
    fn buffers_of_a_large_batch_serve_smaller_ones_and_replace_them() {
        let memory = Arc::new(Memory::default());
        let batch = |tokens: usize| drop([1, 3, 4, 4, 1].map(|columns| memory.buffer(1000 * columns * tokens)));
        let epoch = || (30..=100).map(|index| 30 + index * 37 % 71).for_each(batch);
        // Each buffer that is allocated is larger than the one it replaces, so this comes to an end soon.
        (0..3).for_each(|_| epoch());
        let before = memory.allocations();
        epoch();
        assert_eq!(memory.allocations(), before);
        let held: usize = memory.lock().buffers.iter().map(|(size, stores)| size * stores.len()).sum();
        assert!(held < 2 * 1_300_000, "{held} elements");
    }

    #[test]
    fn only_writing_through_the_slice_forgets_which_rows_are_zero() {
        let memory = Arc::new(Memory::default());
        assert_eq!(memory.buffer(8).touched(), None);
        let mut buffer = memory.zeroed(8);
        let (elements, touched) = buffer.rows_mut();
        elements[4] = 1.0;
        touched.unwrap().insert(2);
        assert!(buffer.touched().is_some_and(|rows| rows.contains(2) && !rows.contains(0)));
        buffer[0] = 1.0;
        assert_eq!(buffer.touched(), None);
        buffer.fill(0.0);
        buffer.now_zero();
        assert!(buffer.touched().is_some_and(|rows| !rows.contains(2)));
    }

    #[test]
    fn buffers_are_aligned_and_classes_waste_little() {
        let memory = Arc::new(Memory::default());
        for length in [0, 1, 15, 64, 65, 1000, 40_960, 1_000_003] {
            assert_eq!(memory.buffer(length).as_ptr().addr() % ALIGNMENT, 0);
            assert!(size_class(length) >= length && size_class(length) <= length + length / 8 + 64);
        }
    }

    #[test]
    fn panels_are_kept_from_the_second_use_on_until_a_change() {
        let cpu = crate::cpu::Cpu::new(1).unwrap();
        let mut buffer = cpu.memory.zeroed(6);
        let packs = std::cell::Cell::new(0);
        let ask = |buffer: &Buffer, fits: bool| {
            let pack = || {
                packs.set(packs.get() + 1);
                cpu.engine.pack(&cpu.workers, View::new(buffer, 2, 3))
            };
            drop(buffer.panels(|_| fits, pack));
            packs.get()
        };
        assert_eq!([0; 4].map(|_| ask(&buffer, true)), [1, 2, 2, 2]);
        assert_eq!(ask(&buffer, false), 3);
        buffer[0] = 1.0;
        assert_eq!([0; 3].map(|_| ask(&buffer, true)), [4, 5, 5]);
    }

    #[cfg(debug_assertions)]
    #[test]
    fn unspecified_contents_are_nan_in_debug_builds() {
        let memory = Arc::new(Memory::default());
        drop(memory.zeroed(100));
        assert!(memory.buffer(100).iter().all(|value| value.is_nan()));
    }
}
