//! Criterion benchmarks of stepsynth; see the `benches` folder.
