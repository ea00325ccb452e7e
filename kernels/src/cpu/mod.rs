//! The portable CPU backend in `f32`.
//!
//! Work is cut into chunks whose size depends on the shapes alone and reductions over chunks are added in the order of the
//! chunks, so results are the same bit for bit for any number of threads. Every chunk runs inside a [`pulp`] dispatch:
//! plain loops compile to AVX2 or AVX-512 where the machine has it. Loops use no fused multiply-add, so outside of the
//! matrix products results do not depend on the instruction set either.

mod activation;
mod attention;
mod backend;
mod dropout;
mod elementwise;
mod embed;
mod gemm;
#[cfg(test)]
mod hygiene;
mod linear;
mod loss;
mod math;
mod memory;
mod norm;
mod optimizer;
mod parallel;
#[cfg(test)]
mod parity;
mod rows;
mod tile;

use std::sync::Arc;

use stepsynth_core::Result;

pub use memory::Tensor;

/// The CPU backend: a number of threads and a store of buffers to use again.
pub struct Cpu {
    workers: parallel::Workers,
    memory: Arc<memory::Memory>,
}

impl Cpu {
    /// A backend that computes on `threads` threads; with one, everything runs on the caller's thread.
    ///
    /// # Errors
    /// [`Error::Device`](stepsynth_core::Error::Device) if `threads` is zero or the system refuses to start them.
    pub fn new(threads: usize) -> Result<Self> {
        Ok(Self { workers: parallel::Workers::new(threads)?, memory: Arc::default() })
    }

    /// How many threads it computes on.
    pub fn threads(&self) -> usize {
        self.workers.threads()
    }
}
