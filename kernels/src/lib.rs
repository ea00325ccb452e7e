//! Fast backends of `stepsynth-core`.

pub mod cpu;
pub mod cuda;

pub use cpu::{Isa, Precision};
