//! Experiments: cells and how they run.

pub mod cell;
pub mod method_options;
