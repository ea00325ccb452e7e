//! Fast backends of `stepsynth-core`.

pub mod cpu;
