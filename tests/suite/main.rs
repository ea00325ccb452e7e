//! The one integration binary: tests that need more than one package, or the expected values under `golden/`.

mod golden;
mod golden_metric;
mod golden_tokenize;
mod golden_weights;
mod paper_tables;
