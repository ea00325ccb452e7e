//! The one integration binary: tests that need more than one package, or the expected values under `golden/`.

mod backend_cases;
mod counting;
mod cpu_cases;
mod cuda_cases;
mod emulated_model;
mod emulated_operations;
mod golden;
mod golden_export;
mod golden_metric;
mod golden_minilm;
mod golden_models;
mod golden_tokenize;
mod golden_weights;
mod on_the_gpu;
mod packing;
mod paper_tables;
mod plain;
mod rounding;
mod tidy;
