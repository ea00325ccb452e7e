//! `stepsynth data`.

mod check;
mod fetch;
mod list;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use stepsynth_datasets::task::LabelOrder;

use crate::failure::Failure;

#[derive(Subcommand)]
pub(super) enum DataCommand {
    /// Read a task's gold files and say what they hold
    Check {
        /// A built-in task or a TOML file
        task: String,
        /// Folder of the files
        #[arg(long, value_name = "DIR", default_value = ".")]
        data: PathBuf,
        /// Bad rows to leave out before giving up
        #[arg(long, value_name = "N", default_value_t = 0)]
        max_bad_rows: usize,
        /// Which label each number means, for example negative,positive or 1=world,2=sports
        #[arg(long, value_name = "LABELS")]
        label_order: Option<LabelOrder>,
    },
    /// Fetch a model, or a task's data set, from the Hugging Face hub
    Fetch(fetch::FetchArguments),
    /// Say which tasks have their files here and which models are in the cache
    List {
        /// Folder of the tasks' files
        #[arg(long, value_name = "DIR", default_value = ".")]
        data: PathBuf,
    },
}

pub(super) fn data(command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Check { task, data, max_bad_rows, label_order } => {
            check::check(task, data, *max_bad_rows, label_order.clone())
        }
        DataCommand::Fetch(arguments) => fetch::fetch(arguments),
        DataCommand::List { data } => list::list(data),
    }
}

/// The exit code that each failure of the hub has: what was asked for wrongly is bad input, a stop is a stop, the rest failed.
fn exit(error: stepsynth_datasets::Error) -> anyhow::Error {
    use stepsynth_datasets::Error as E;
    match &error {
        E::HubFailed { .. } | E::Write { .. } | E::Io { .. } => error.into(),
        E::HubCancelled => Failure::Interrupted(error.to_string()).into(),
        _ => Failure::usage(error.to_string()),
    }
}
