//! Experiments: cells and how they run.

pub mod cancel;
pub mod cell;
pub mod consumed;
mod fields;
pub mod files;
pub mod fingerprint;
pub mod journal;
pub mod method_options;
pub mod settings;
pub mod spec;
