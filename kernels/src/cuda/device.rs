//! What a device must offer to run kernels.

use stepsynth_core::Result;

/// What the host's choices depend on: tiers of kernels, grid sizes.
#[derive(Clone, Debug)]
pub struct Properties {
    /// Name for people, for example `NVIDIA H200`.
    pub name: String,
    /// Compute capability, for example `(9, 0)`.
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Most dynamic shared memory a block may have, in bytes.
    pub shared_bytes: u32,
    /// Memory of the device in bytes.
    pub memory_bytes: u64,
}

/// One argument of a kernel, in the order of its declaration. The emulator checks kinds against the declaration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// `Global<const T>`: address of memory that is read.
    Input(u64),
    /// `Global<T>`: address of memory that is written (or updated).
    Output(u64),
    /// `int`.
    I32(i32),
    /// `u32`.
    U32(u32),
    /// `i64`.
    I64(i64),
    /// `u64`.
    U64(u64),
    /// `float`.
    F32(f32),
    /// `DropoutMask`: key, purpose, threshold and the bits of the scale.
    Dropout([u32; 6]),
}

/// One launch of a kernel. Made by [`Call`](super::launch::Call) alone, from tensors that outlive it.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The operation of the backend, for messages.
    pub op: &'static str,
    /// Stem of the source file under `kernels/cu`.
    pub source: &'static str,
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block, all along x.
    pub block: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// Arguments in order.
    pub arguments: Vec<Argument>,
}

/// A device that holds memory and launches kernels, in order, on one stream.
///
/// Addresses come from [`allocate`](Self::allocate) and are given back to the device that made them.
pub trait Device: Send + Sync + 'static {
    /// What the device is.
    fn properties(&self) -> &Properties;

    /// Address of `bytes` bytes (more than zero), aligned to 256.
    ///
    /// # Errors
    /// If there is no such memory left; the message says how much was asked for and how much is in use.
    fn allocate(&self, bytes: usize) -> Result<u64>;

    /// Gives memory back for good.
    fn release(&self, address: u64);

    /// From here on the allocation is memory of `bytes` bytes (not more than it has) whose contents do not matter: it was handed
    /// out again, or a kernel is about to write all of it. The emulator holds accesses to these bytes and forgets what was
    /// written.
    fn issue(&self, _address: u64, _bytes: usize) {}

    /// The memory's contents are no longer wanted, though it will be used again: the emulator forgets what was written.
    fn retire(&self, _address: u64) {}

    /// Copies from the host; returns when `bytes` may be reused.
    ///
    /// # Errors
    /// If the device fails.
    fn copy_in(&self, address: u64, bytes: &[u8]) -> Result<()>;

    /// Copies to the host, after everything launched before.
    ///
    /// # Errors
    /// If the device fails; that may be the fault of an earlier launch.
    fn copy_out(&self, address: u64, bytes: &mut [u8]) -> Result<()>;

    /// Sets `bytes` bytes to zero.
    ///
    /// # Errors
    /// If the device fails.
    fn zero(&self, address: u64, bytes: usize) -> Result<()>;

    /// Puts a kernel on the stream.
    ///
    /// # Errors
    /// If the kernel cannot be compiled or started. The emulator also reports what its checks found.
    fn launch(&self, launch: &Launch) -> Result<()>;
}
