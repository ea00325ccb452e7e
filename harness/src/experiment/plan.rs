//! From a spec to its cells, in the order of results and in the order of work.

use super::method_options::{MethodOptions, Size};
use super::spec::Spec;

/// One cell of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedCell {
    /// Task name.
    pub task: String,
    /// The method.
    pub method: MethodOptions,
    /// Seed.
    pub seed: u64,
    /// Name in the journal and in messages: `task/method/seed-S`.
    pub id: String,
}

/// All cells of a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the order of results: by task, then method, then seed, each in the order of the spec.
    pub cells: Vec<PlannedCell>,
    /// Indices of cells of one task and seed, in an order in which every size that refers to another cell is known. Groups
    /// do not depend on one another.
    pub groups: Vec<Vec<usize>>,
}

impl Plan {
    /// The plan of `spec`.
    pub fn new(spec: &Spec) -> Self {
        let mut cells = Vec::new();
        for task in &spec.tasks {
            for method in &spec.methods {
                for &seed in &spec.seeds {
                    let id = format!("{task}/{}/seed-{seed}", method.label());
                    cells.push(PlannedCell { task: task.clone(), method: method.clone(), seed, id });
                }
            }
        }
        let mut groups = Vec::new();
        for task in &spec.tasks {
            for &seed in &spec.seeds {
                let mut group: Vec<usize> =
                    (0..cells.len()).filter(|&at| cells[at].task == *task && cells[at].seed == seed).collect();
                // The sort is stable, and a referred-to method never refers on (the spec's check).
                group.sort_by_key(|&at| matches!(cells[at].method.size, Some(Size::As(_))));
                groups.push(group);
            }
        }
        Self { cells, groups }
    }

    /// The cell whose size cell `at` takes over, if it does.
    pub fn waits_for(&self, at: usize) -> Option<usize> {
        let cell = &self.cells[at];
        let Some(Size::As(label)) = &cell.method.size else { return None };
        self.cells.iter().position(|other| other.task == cell.task && other.seed == cell.seed && other.method.label() == *label)
    }
}
