//! Fast backends of `stepsynth-core`.

pub mod cpu;

pub use cpu::{Isa, Precision};
