//! Tasks, examples, files and splits, and the embedded laboratory world. Knows no model.

mod example;
pub mod random;
mod task;

pub use example::{Answer, Example, Input, Target};
pub use task::{Kind, Metric, TaskSpec};
