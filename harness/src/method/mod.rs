//! The methods: S3 and its baselines.

mod row;

pub use row::Row;
