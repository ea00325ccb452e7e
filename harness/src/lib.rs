//! stepsynth: an LLM writes a data set, a small model learns from it, its errors on a little gold data guide the next
//! round of writing.

pub mod cli;
pub mod experiment;
pub mod failure;
pub mod method;
pub mod prompt;
pub mod report;
pub mod student;
pub mod teacher;
