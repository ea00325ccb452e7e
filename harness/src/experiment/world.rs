//! What a run takes from outside: tasks with their data, teachers and students.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;
use stepsynth_datasets::{Example, Sealed, TaskSpec};

use super::cell::Gold;
use crate::student::Student;
use crate::teacher::Teacher;

/// A task with its gold data, the same for every cell.
pub struct TaskData {
    /// The task.
    pub spec: TaskSpec,
    /// What methods may see.
    pub gold: Gold,
    /// What only the final evaluator sees.
    pub test: Sealed<Vec<Example>>,
    /// SHA-256 (hex) of all of it.
    pub hash: String,
    /// Files, rows and how they were divided, for the manifest.
    pub report: Value,
}

/// Makes what the cells of one spec need.
pub trait World: Sync {
    /// Loads a task.
    fn task(&self, name: &str) -> Result<TaskData>;
    /// The teacher of the cells of a task and seed. Its answers do not depend on which of these cells asks, apart from what
    /// the requests say.
    fn teacher(&self, task: &TaskData, seed: u64) -> Result<Box<dyn Teacher>>;
    /// The student for a task.
    fn student(&self, task: &TaskData) -> Result<Box<dyn Student>>;
    /// Parameters of the student for a task, if they are known before training.
    fn student_parameters(&self, task: &TaskData) -> Option<u64>;
    /// SHA-256 (hex) of the student's files by name; none if it starts from nothing.
    fn student_files(&self) -> Result<BTreeMap<String, String>>;
    /// Name of the device and precision.
    fn device(&self) -> String;
    /// Prompt templates in use, `id@version` to SHA-256, for the manifest.
    fn prompts(&self) -> Value;
}
