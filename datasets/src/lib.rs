//! Tasks, examples, files and splits, and the embedded laboratory world. Knows no model.
//!
//! A [`TaskSpec`] says what a task is and where its gold data are; [`load_splits`] reads them into [`Splits`], whose test part
//! is [`Sealed`]; [`check`] tells what the files hold; [`load::read`] reads any other file of the same kind of rows. [`hub`]
//! fetches data sets, and models.

mod check;
mod error;
mod example;
pub mod hash;
pub mod hub;
pub mod lab;
pub mod load;
pub mod random;
mod split;
pub mod task;

pub use check::{CheckReport, LabelCount, Overlap, Part, check};
pub use error::{Error, Result};
pub use example::{Answer, Example, Input, Target};
pub use split::{Division, FinalEvaluator, GoldReport, Protocol, Sealed, SplitOptions, Splits, load_splits};
pub use task::{Kind, Metric, TaskSpec};
