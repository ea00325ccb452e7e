//! A [`Row`] as it is written: a line of `synthetic/<task>/<method>/seed-<s>/round-<q>.jsonl`, with labels by name.

use serde::{Deserialize, Serialize};
use stepsynth_datasets::{Answer, Example, Input, Kind, Target, TaskSpec};

use super::Row;
use crate::teacher::{Provenance, Usage};

/// A row of a file. The fields are those of [`Row`], but a label is its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowFile {
    round: usize,
    example: NamedExample,
    parent: Option<String>,
    rationales: Vec<String>,
    prompt_id: String,
    request_hash: String,
    teacher: String,
    provenance: Provenance,
    usage: Usage,
    filters: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedExample {
    id: String,
    input: Input,
    target: NamedTarget,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NamedTarget {
    Label(String),
    Answers(Vec<Answer>),
}

impl RowFile {
    /// `row` with the label names of `task`.
    ///
    /// # Errors
    /// If the task has no such label.
    pub fn new(row: Row, task: &TaskSpec) -> Result<Self, String> {
        let Row { round, example, parent, rationales, prompt_id, request_hash, teacher, provenance, usage, filters } = row;
        let Example { id, input, target } = example;
        let target = match target {
            Target::Label(label) => {
                let name = task.labels.get(label);
                NamedTarget::Label(name.ok_or_else(|| format!("task {} has no label number {label}", task.name))?.clone())
            }
            Target::Answers(answers) => NamedTarget::Answers(answers),
        };
        let example = NamedExample { id, input, target };
        Ok(Self { round, example, parent, rationales, prompt_id, request_hash, teacher, provenance, usage, filters })
    }

    /// The row of `task` that was written.
    ///
    /// # Errors
    /// If it is no row of that task: another kind of input, a label that the task does not have, an answer that is not in its
    /// context.
    pub fn into_row(self, task: &TaskSpec) -> Result<Row, String> {
        let Self { round, example, parent, rationales, prompt_id, request_hash, teacher, provenance, usage, filters } = self;
        let NamedExample { id, input, target } = example;
        let fits = matches!(
            (task.kind, &input, &target),
            (Kind::Single, Input::Single { .. }, NamedTarget::Label(_))
                | (Kind::Pair, Input::Pair { .. }, NamedTarget::Label(_))
                | (Kind::Qa, Input::Qa { .. }, NamedTarget::Answers(_))
        );
        if !fits {
            return Err(format!("`example`: not an example of task {}: another kind of input or target", task.name));
        }
        let target = match target {
            NamedTarget::Label(name) => Target::Label(task.labels.iter().position(|label| *label == name).ok_or_else(|| {
                format!("`label`: `{name}` is not a label of task {}; labels are {}", task.name, task.labels.join(", "))
            })?),
            NamedTarget::Answers(answers) => {
                let context: Vec<char> = input.context().unwrap_or_default().chars().collect();
                let lies = |answer: &Answer| context.get(answer.start..).is_some_and(|rest| starts_with(rest, &answer.text));
                if answers.is_empty() || !answers.iter().all(lies) {
                    return Err("`answers`: at least one, and each must lie in the context at its `start`".to_owned());
                }
                Target::Answers(answers)
            }
        };
        let example = Example { id, input, target };
        Ok(Row { round, example, parent, rationales, prompt_id, request_hash, teacher, provenance, usage, filters })
    }
}

fn starts_with(rest: &[char], text: &str) -> bool {
    !text.is_empty() && text.chars().enumerate().all(|(at, c)| rest.get(at) == Some(&c))
}
