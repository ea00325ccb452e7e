//! Experiments: cells and how they run.

pub mod cell;
mod fields;
pub mod method_options;
pub mod settings;
pub mod spec;
