//! Experiments: cells and how they run.

pub mod cell;
mod fields;
pub mod method_options;
pub mod settings;
pub mod spec;
pub mod cancel;
pub mod consumed;
pub mod files;
pub mod fingerprint;
pub mod journal;
