//! The kernels' sources, inside the binary.

/// One file of `kernels/cu`.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Name with its extension, as `#include` names it.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

impl Source {
    /// Its name without the extension.
    pub fn stem(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(stem, _)| stem)
    }

    /// Whether its kernels are meant for devices of this compute capability: those of `*_mma.cu` need 8.0, those of
    /// `*_hopper.cu` are for 9.0 alone.
    pub fn is_for(&self, capability: (u32, u32)) -> bool {
        match self.stem() {
            stem if stem.ends_with("_mma") => capability >= (8, 0),
            stem if stem.ends_with("_hopper") => capability == (9, 0),
            _ => true,
        }
    }
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
    "vectors.cuh",
];

/// Files with kernels.
pub const SOURCES: &[Source] = sources![
    "activation.cu",
    "attention.cu",
    "attention_mma.cu",
    "cast.cu",
    "elementwise.cu",
    "embed.cu",
    "gemm_head.cu",
    "gemm_hopper.cu",
    "gemm_mma.cu",
    "gemm_portable.cu",
    "gemm_sums.cu",
    "layer_norm.cu",
    "loss.cu",
    "optimizer.cu",
    "rows.cu",
];
