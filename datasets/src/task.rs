//! What a task is: `tasks/*.toml`.

use serde::{Deserialize, Serialize};

/// Kind of task, which fixes the shape of its inputs and targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One text, one label.
    Single,
    /// Two texts, one label.
    Pair,
    /// A question and a context, an answer span.
    Qa,
}

/// The number a task is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of right labels.
    Accuracy,
    /// Unweighted mean of the labels' F1.
    MacroF1,
    /// Share of answers equal to an accepted one after SQuAD normalisation.
    ExactMatch,
    /// Mean best token F1 against the accepted answers.
    F1,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Version of this file's format.
    pub version: u32,
    /// Name, as on the command line.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Label names in order; empty for question answering.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Words for the labels in prompts, in the order of `labels`.
    #[serde(default)]
    pub label_words: Vec<String>,
    /// Headline metric.
    pub metric: Metric,
}
