//! What a device must offer to run kernels.

use std::path::PathBuf;

use stepsynth_core::{Error, Result};

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

impl Properties {
    /// Which kernels it runs.
    pub fn tier(&self) -> Tier {
        match self.capability {
            (9, 0) => Tier::Hopper,
            (8.., _) => Tier::Mma,
            _ => Tier::Portable,
        }
    }
}

/// Kernels of matrix products and attention, by what a device can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Any device: products without tensor cores.
    Portable,
    /// Compute capability 8.0 and newer: `mma.sync`, `ldmatrix`, `cp.async`.
    Mma,
    /// Compute capability 9.0: `wgmma` and TMA too.
    Hopper,
}

impl Tier {
    /// In messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Mma => "mma",
            Self::Hopper => "hopper",
        }
    }
}

/// What a GPU is driven with.
#[derive(Clone, Debug)]
pub struct About {
    /// CUDA version of the driver, for example `(12, 8)`.
    pub driver: (i32, i32),
    /// Architecture that kernels are compiled for, for example `sm_90a`.
    pub architecture: String,
    /// Version of NVRTC.
    pub nvrtc: (i32, i32),
    /// NVRTC's file, or its name where the system's loader found it.
    pub nvrtc_path: PathBuf,
    /// Where compiled kernels are kept, if anywhere.
    pub cache: Option<PathBuf>,
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
    /// `TensorMap`, by value: what [`Device::tensor_map`] made.
    TensorMap([u64; 16]),
}

/// One launch of a kernel. Made by `Call` (`launch.rs`) alone, from tensors that outlive it.
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

    /// An allocation is handed out again, as memory of `bytes` bytes (not more than it has): the emulator holds accesses to
    /// these bytes and forgets what was written.
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

    /// Whether the copy engine (TMA, compute capability 9.0) can be used: [`tensor_map`](Self::tensor_map) works.
    fn has_copy_engine(&self) -> bool {
        false
    }

    /// The map by which the copy engine moves boxes of 64 x 64 of a row-major matrix of bf16 whose rows are multiples of 16
    /// bytes: a `CUtensorMap` with dimensions `columns` and `rows`, the 128-byte swizzle, and zeros outside.
    ///
    /// # Errors
    /// If the device has no copy engine, or refuses the matrix.
    fn tensor_map(&self, _address: u64, _rows: usize, _columns: usize) -> Result<[u64; 16]> {
        Err(Error::Device { device: self.properties().name.clone(), message: "it has no copy engine".into() })
    }

    /// Puts a kernel on the stream.
    ///
    /// # Errors
    /// If the kernel cannot be compiled or started. The emulator also reports what its checks found.
    fn launch(&self, launch: &Launch) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_follow_the_capability() {
        let tier = |capability| {
            let name = String::new();
            Properties { name, capability, multiprocessors: 1, shared_bytes: 0, memory_bytes: 0 }.tier()
        };
        use Tier::{Hopper, Mma, Portable};
        // What Hopper alone has, its successors have not.
        let expected = [((7, 5), Portable), ((8, 0), Mma), ((8, 9), Mma), ((9, 0), Hopper), ((10, 0), Mma), ((12, 0), Mma)];
        for (capability, expected) in expected {
            assert_eq!(tier(capability), expected, "{capability:?}");
        }
    }
}
