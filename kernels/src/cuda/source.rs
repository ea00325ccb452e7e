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
pub const HEADERS: &[Source] = sources![
    "activation.cuh",
    "attention.cuh",
    "attention_mma.cuh",
    "common.cuh",
    "gemm.cuh",
    "gemm_hopper.cuh",
    "mma.cuh",
];

/// Files with kernels.
pub const SOURCES: &[Source] = sources![
    "attention.cu",
    "attention_mma.cu",
    "elementwise.cu",
    "gemm_head.cu",
    "gemm_hopper.cu",
    "gemm_mma.cu",
    "gemm_portable.cu",
    "gemm_sums.cu",
];
