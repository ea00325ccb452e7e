//! `stepsynth task`.

use anyhow::Result;
use clap::Subcommand;
use stepsynth_datasets::TaskSpec;

use crate::failure::Failure;

#[derive(Subcommand)]
pub(super) enum TaskCommand {
    /// Print a task with every default filled in
    Show {
        /// A built-in task or a TOML file
        task: String,
    },
    /// Check that a task can be read
    Check {
        /// Built-in tasks or TOML files
        #[arg(required = true)]
        tasks: Vec<String>,
    },
}

pub(super) fn task(command: TaskCommand) -> Result<()> {
    match command {
        TaskCommand::Show { task } => super::print(&toml::to_string(&find(&task)?)?),
        TaskCommand::Check { tasks } => tasks.iter().try_for_each(|name| {
            let task = find(name)?;
            super::print(&format!("{}: ok, {} labels, metric {}\n", task.name, task.labels.len(), metric(&task)))
        }),
    }
}

pub(super) fn find(name: &str) -> Result<TaskSpec> {
    TaskSpec::find(name).map_err(|error| Failure::usage(error.to_string()))
}

fn metric(task: &TaskSpec) -> &'static str {
    crate::experiment::evaluate::metric_name(task.metric)
}
