//! Experiments: cells and how they run.

pub mod cell;
