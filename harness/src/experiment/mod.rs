//! Experiments: cells and how they run.

pub mod cancel;
pub mod cell;
pub mod consumed;
pub mod estimate;
pub mod evaluate;
pub(crate) mod faults;
mod fields;
pub mod files;
pub mod fingerprint;
pub mod journal;
pub mod manifest;
pub mod method_options;
pub mod plan;
pub mod real_world;
mod record;
pub mod run;
pub mod settings;
pub mod spec;
pub mod world;

#[cfg(test)]
mod tests;
