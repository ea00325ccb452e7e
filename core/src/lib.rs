//! The mathematics of stepsynth: packed batches, tokenisation, the transformer with its hand-written gradients, training
//! and metrics. Knows no device, no network and no LLM.

pub mod backend;
mod batch;
pub mod config;
mod error;
mod file;
#[cfg(test)]
mod fuzz;
pub mod metric;
pub mod model;
pub mod random;
pub mod reference;
pub mod tokenize;
pub mod train;
pub mod weights;

pub use batch::{Batch, Sequence};
pub use error::{Error, Result};
