//! The CPU backend. Tensors are `f32`; linear layers can multiply in bfloat16.
//!
//! Work is cut into chunks whose size depends on the shapes alone and reductions over chunks are added in the order of the
//! chunks, so results are the same bit for bit for any number of threads. Every chunk runs inside a [`pulp`] dispatch:
//! plain loops compile to AVX2 or AVX-512, as the [`Isa`] has it. Multiply-adds are fused where the source says `mul_add`,
//! and only there, so outside of the matrix products results do not depend on the instruction set either; an x86 machine
//! without the instruction (before 2013) gets the same from the C library, slowly. The matrix products have kernels of their
//! own.

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
mod rows;
mod tile;
mod touched;

use std::sync::Arc;

use stepsynth_core::Result;

pub use gemm::{Isa, Precision};
pub use memory::Tensor;

/// The CPU backend: a number of threads, the way it multiplies matrices and a store of buffers to use again.
pub struct Cpu {
    workers: parallel::Workers,
    engine: gemm::Engine,
    memory: Arc<memory::Memory>,
}

impl Cpu {
    /// A backend in `f32` that computes on `threads` threads; with one, everything runs on the caller's thread.
    ///
    /// # Errors
    /// [`Error::Device`](stepsynth_core::Error::Device) if `threads` is zero, if the system refuses to start them, or if the
    /// environment variable `STEPSYNTH_CPU` asks for instructions that this machine lacks.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with(threads, Precision::F32)
    }

    /// A backend whose linear layers multiply in the given precision.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(threads: usize, precision: Precision) -> Result<Self> {
        Self::with_isa(threads, precision, Isa::choose()?)
    }

    /// A backend whose matrix products use the given instructions, and all other operations vectors of their width, whatever
    /// the environment says.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_isa(threads: usize, precision: Precision, isa: Isa) -> Result<Self> {
        let memory = Arc::default();
        let engine = gemm::Engine::new(isa.checked()?, precision, Arc::clone(&memory));
        Ok(Self { workers: parallel::Workers::new(threads, isa)?, engine, memory })
    }

    /// Whether the AMX tile unit is available to products of bf16 matrices, and why not, for people to read.
    pub fn amx_status() -> String {
        gemm::amx_status()
    }

    /// GFLOP/s that one core reaches in a loop of nothing but the multiply-adds of the matrix products, measured now, which takes
    /// some hundredths of a second: no product is faster. None for instructions without such a loop (portable and AMX).
    pub fn peak(&self) -> Option<f64> {
        self.engine.peak()
    }

    /// How many threads it computes on.
    pub fn threads(&self) -> usize {
        self.workers.threads()
    }

    /// The instructions of its matrix products.
    pub fn isa(&self) -> Isa {
        self.engine.isa()
    }

    /// The numbers that its linear layers multiply.
    pub fn precision(&self) -> Precision {
        self.engine.precision()
    }
}
