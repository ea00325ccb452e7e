//! Tests across packages, one binary.

mod backend_cases;
mod golden_models;
