//! The device's memory: blocks, and copies between it and the host.

#![expect(unsafe_code, reason = "the driver's C interface, and memory that the device reads by itself")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result::{self, DriverError};

use super::context::{Context, Mark};

/// Bytes of one part of the staging memory: a copy of this size takes long enough to hide what starting it costs.
const PART: usize = 4 << 20;

/// Parts: one is filled while others are copied.
const PARTS: usize = 4;

/// Memory of one context.
pub(super) struct Memory {
    /// Bytes of each block by address.
    blocks: Mutex<HashMap<u64, usize>>,
    staging: Mutex<Option<Staging>>,
    context: Arc<Context>,
}

impl Memory {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { blocks: Mutex::default(), staging: Mutex::default(), context }
    }

    /// Bytes in blocks.
    pub(super) fn used(&self) -> usize {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    pub(super) fn allocate(&self, bytes: usize) -> Result<u64, DriverError> {
        self.context.enter()?;
        // SAFETY: the context is this thread's; the block is freed once, by `release`.
        let address = unsafe { result::malloc_sync(bytes) }?;
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).insert(address, bytes);
        Ok(address)
    }

    /// Gives a block back; an address that is not a block's is ignored.
    pub(super) fn release(&self, address: u64) {
        if self.blocks.lock().unwrap_or_else(PoisonError::into_inner).remove(&address).is_some() {
            // Kernels on the stream may still use it.
            let _ = self.context.synchronize();
            // SAFETY: the block was allocated here and is not in the map any more, so it is freed once.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    /// Whether `bytes` bytes at `address` lie in a block.
    fn holds(&self, address: u64, bytes: usize) -> bool {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.get(&address).is_some_and(|&size| bytes <= size)
    }

    /// Copies from the host, in order with the stream. `bytes` may be reused when this returns, though the copy may still run.
    pub(super) fn copy_in(&self, address: u64, bytes: &[u8]) -> Result<(), DriverError> {
        assert!(self.holds(address, bytes.len()), "a copy must end where its block ends");
        self.context.enter()?;
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        let staging = match &mut *staging {
            Some(staging) => staging,
            none => none.insert(Staging::new(&self.context)?),
        };
        for (number, chunk) in bytes.chunks(PART).enumerate() {
            staging.send(&self.context, address + (number * PART) as u64, chunk)?;
        }
        Ok(())
    }

    /// Copies to the host after everything on the stream.
    pub(super) fn copy_out(&self, address: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        assert!(self.holds(address, bytes.len()), "a copy must end where its block ends");
        self.context.enter()?;
        // SAFETY: the block holds that many bytes, checked above; `bytes` is not touched before the stream has been waited for.
        let started = unsafe { result::memcpy_dtoh_async(bytes, address, self.context.stream()) };
        let finished = self.context.synchronize();
        started.and(finished)
    }

    /// Sets the first `bytes` bytes of a block to zero, in order with the stream.
    pub(super) fn zero(&self, address: u64, bytes: usize) -> Result<(), DriverError> {
        self.fill(address, 0, bytes)
    }

    /// Fills a block with ones, which are NaN in f32 and in bf16, in order with the stream.
    pub(super) fn poison(&self, address: u64) -> Result<(), DriverError> {
        let bytes = self.blocks.lock().unwrap_or_else(PoisonError::into_inner).get(&address).copied();
        bytes.map_or(Ok(()), |bytes| self.fill(address, 0xff, bytes))
    }

    fn fill(&self, address: u64, value: u8, bytes: usize) -> Result<(), DriverError> {
        assert!(self.holds(address, bytes), "what is filled must end where its block ends");
        self.context.enter()?;
        // SAFETY: the block holds that many bytes, checked above.
        unsafe { result::memset_d8_async(address, value, bytes, self.context.stream()) }
    }

    /// Copies the first `bytes` bytes of one block to another, in order with the stream.
    pub(super) fn copy_between(&self, to: u64, from: u64, bytes: usize) -> Result<(), DriverError> {
        assert!(to != from && self.holds(to, bytes) && self.holds(from, bytes), "a copy goes from one block to another");
        self.context.enter()?;
        // SAFETY: both blocks hold that many bytes and are different blocks, checked above.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.context.stream()) }
    }
}

/// Page-locked memory, from which the device copies by itself while the host goes on.
struct Staging {
    host: *mut u8,
    /// For each part, set after its last copy.
    marks: Vec<Mark>,
    next: usize,
}

// SAFETY: the pointer is this value's own memory; it is reached through `&mut self` alone.
unsafe impl Send for Staging {}

impl Staging {
    /// In the context that is this thread's.
    fn new(context: &Context) -> Result<Self, DriverError> {
        let marks = (0..PARTS).map(|_| context.mark()).collect::<Result<_, _>>()?;
        // SAFETY: the context is this thread's; freed once, by `drop`.
        let host = unsafe { result::malloc_host(PART * PARTS, 0) }?.cast();
        Ok(Self { host, marks, next: 0 })
    }

    /// Copies at most a part's bytes to `address`, a block of that size at least.
    fn send(&mut self, context: &Context, address: u64, bytes: &[u8]) -> Result<(), DriverError> {
        let part = self.next;
        self.next = (part + 1) % PARTS;
        self.marks[part].wait()?;
        assert!(bytes.len() <= PART);
        // SAFETY: parts do not overlap, each has PART bytes, and no copy reads this one any more: its mark has passed. The
        // device reads `staged` until the mark that is set next has passed; until then nothing writes there.
        unsafe {
            let staged = self.host.add(part * PART);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), staged, bytes.len());
            let staged = std::slice::from_raw_parts(staged, bytes.len());
            result::memcpy_htod_async(address, staged, context.stream())?;
        }
        context.record(&self.marks[part])
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        for mark in &self.marks {
            let _ = mark.wait();
        }
        // SAFETY: allocated by `new`, freed once, and no copy reads it any more.
        let _ = unsafe { result::free_host(self.host.cast()) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = self.context.synchronize();
        let blocks = std::mem::take(&mut *self.blocks.lock().unwrap_or_else(PoisonError::into_inner));
        for address in blocks.into_keys() {
            // SAFETY: the block was allocated here, the stream is done with it, and it is freed once.
            let _ = unsafe { result::free_sync(address) };
        }
    }
}
