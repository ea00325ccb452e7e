//! Tests across packages, one binary.

mod golden_models;
