//! The kernels' sources, inside the binary.

/// One file of `kernels/cu`.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Name with its extension, as `#include` names it.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(Source { name: $name, text: include_str!(concat!("../../cu/", $name)) }),*]
    };
}

/// What sources include.
pub const HEADERS: &[Source] = sources!["activation.cuh", "attention.cuh", "common.cuh", "gemm.cuh", "mma.cuh"];

/// Files with kernels.
<<<<<<< HEAD
pub const SOURCES: &[Source] = sources!["attention.cu", "elementwise.cu", "gemm_head.cu", "gemm_portable.cu", "gemm_sums.cu"];
=======
pub const SOURCES: &[Source] = sources!["elementwise.cu", "gemm_head.cu", "gemm_mma.cu", "gemm_portable.cu", "gemm_sums.cu"];
>>>>>>> 9d70a44 (Linear layers on tensor cores: mma.sync from 8.0 on, and wgmma with the copy engine on Hopper)
