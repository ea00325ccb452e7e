//! Memory that is kept for the next tensor of its size, so that a steady step allocates nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use stepsynth_core::Result;

use super::Device;

/// Sizes are rounded up to steps of an eighth of their power of two, so that batches of similar size share memory.
fn size_class(bytes: usize) -> usize {
    let step = (bytes.max(2048).next_power_of_two() / 8).max(256);
    bytes.max(1).div_ceil(step) * step
}

/// The memory of one device.
pub(super) struct Pool {
    device: Arc<dyn Device>,
    free: Mutex<HashMap<usize, Vec<u64>>>,
}

impl Pool {
    pub(super) fn new(device: Arc<dyn Device>) -> Arc<Self> {
        Arc::new(Self { device, free: Mutex::default() })
    }

    /// At least `bytes` bytes of unspecified contents.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Result<Memory> {
        let class = size_class(bytes);
        let kept = self.lock().get_mut(&class).and_then(Vec::pop);
        let address = match kept {
            Some(address) => address,
            None => self.allocate(class)?,
        };
        self.device.issue(address, bytes.max(1));
        Ok(Memory { address, class, pool: Arc::clone(self) })
    }

    /// New memory; when there is none left, what is kept is released first.
    fn allocate(&self, class: usize) -> Result<u64> {
        self.device.allocate(class).or_else(|_| {
            self.release_kept();
            self.device.allocate(class)
        })
    }

    fn release_kept(&self) {
        let kept = std::mem::take(&mut *self.lock());
        kept.into_values().flatten().for_each(|address| self.device.release(address));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Vec<u64>>> {
        // The map is whole at every point where a panic could happen.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.release_kept();
    }
}

/// Memory on the device; dropping it gives it back to the pool. The stream's order makes reuse safe.
pub(super) struct Memory {
    address: u64,
    class: usize,
    pool: Arc<Pool>,
}

impl Memory {
    pub(super) fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.pool.device.retire(self.address);
        self.pool.lock().entry(self.class).or_default().push(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_waste_at_most_an_eighth() {
        for bytes in [1, 255, 256, 257, 2048, 2049, 5000, 1 << 20, (1 << 20) + 1, 123_456_789] {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(256));
            assert!(class - bytes < 256 || (class - bytes) * 8 <= bytes.next_power_of_two(), "{bytes} {class}");
        }
    }
}
