//! Rows for `train` and `eval`: a task's gold data, or files of the user's own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value};
use stepsynth_datasets::load::{FileRecord, ReadOptions, read};
use stepsynth_datasets::task::{Fields, Role, Source};
use stepsynth_datasets::{Example, TaskSpec, hash, lab};

use crate::experiment::settings::TrainSettings;
use crate::experiment::spec::{self, Override, Spec};
use crate::failure::Failure;
use crate::method::RowFile;

/// Where errors in the options below are.
const PLACE: &str = "command line";

#[derive(Args)]
pub(super) struct GoldArguments {
    /// A built-in task or a TOML file
    #[arg(long)]
    pub(super) task: String,
    /// Folder of the task's gold files; laboratory tasks need none
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Any other setting of a spec, for example gold.select=500 or train.warmup=0.1
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<Override>,
}

impl GoldArguments {
    /// A spec with this task alone and protocol `clean`. `--set` goes before `train`, and `fields` before that.
    pub(super) fn spec(
        &self,
        train: &TrainSettings,
        fields: impl IntoIterator<Item = (&'static str, toml::Value)>,
    ) -> Result<Spec> {
        let train = toml::to_string(train)?;
        let text = format!("version = 1\nname = \"one\"\n[[method]]\nkind = \"gold\"\n[train]\n{train}");
        let mut overrides = self.set.clone();
        let mut set = |key: &str, value: toml::Value| overrides.push(Override { key: key.to_owned(), value });
        set("tasks", vec![self.task.clone()].into());
        if let Some(data) = &self.data {
            set("data", data.display().to_string().into());
        }
        fields.into_iter().for_each(|(key, value)| set(key, value));
        spec::parse(&text, PLACE, &overrides)
    }

    pub(super) fn find_task(&self) -> Result<TaskSpec> {
        super::task::find(&self.task)
    }

    /// Says how to reach gold data that `task` needs, before anything asks for them.
    pub(super) fn require_data(&self, task: &TaskSpec, otherwise: &str) -> Result<()> {
        if self.data.is_some() || lab::task(&task.name).is_some() {
            return Ok(());
        }
        let name = &task.name;
        Err(Failure::usage(match task.gold {
            Some(_) => format!("task {name}: its gold data are files; say where with --data DIR, or {otherwise}"),
            None => format!("task {name}: has no gold data; {otherwise}"),
        }))
    }
}

/// Rows of the user's own.
pub(super) struct Given {
    pub(super) examples: Vec<Example>,
    pub(super) files: Vec<FileRecord>,
}

/// Reads rows of `task` from files: rows that a run wrote under `synthetic/`, or examples in any format of gold data, with the
/// task's column names or with the names of the roles (`text`, `text_pair`, `label`, `question`, `context`, `answers`).
pub(super) fn given(task: &TaskSpec, files: &[PathBuf]) -> Result<Given> {
    let mut given = Given { examples: Vec::new(), files: Vec::new() };
    for path in files {
        let first = first_object(path);
        if first.as_ref().is_some_and(|fields| fields.contains_key("example")) {
            let rows = rows_of_a_run(task, path)?;
            let sha256 = hash::file(path).map_err(bad_input)?;
            given.files.push(FileRecord { file: path.clone(), sha256, rows: rows.len() });
            given.examples.extend(rows);
            continue;
        }
        // Where gold rows have a column of ids, other rows need not: they are named after file and row.
        let mut task = task.clone();
        task.fields.id = None;
        let has_roles =
            |fields: &Map<String, Value>| Role::required(task.kind).iter().all(|role| fields.contains_key(role.name()));
        if first.is_some_and(|fields| has_roles(&fields)) {
            task.fields = Fields::default();
        }
        // Numbers among the labels mean what they mean in the task's own files.
        let label_order = task.gold.as_ref().and_then(|gold| gold.train.label_order.clone());
        let source = Source { label_order, ..Source::file(path) };
        let loaded = read(&task, &source, Path::new(""), &ReadOptions::default()).map_err(bad_input)?;
        given.examples.extend(loaded.examples);
        given.files.extend(loaded.files);
    }
    if given.examples.is_empty() {
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        return Err(Failure::usage(format!("{}: no rows", names.join(", "))));
    }
    Ok(given)
}

/// The object on the first line of a file, if there is one; what is wrong with the file is for its reader to say.
fn first_object(path: &Path) -> Option<Map<String, Value>> {
    let mut line = String::new();
    BufReader::new(std::fs::File::open(path).ok()?).read_line(&mut line).ok()?;
    serde_json::from_str(line.trim_start_matches('\u{feff}')).ok()
}

fn rows_of_a_run(task: &TaskSpec, path: &Path) -> Result<Vec<Example>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let row = |(index, line): (usize, &str)| {
        let fault = |why: String| Failure::usage(format!("{}:{}: not a row of a run: {why}", path.display(), index + 1));
        let row: RowFile = serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
        Ok(row.into_row(task).map_err(fault)?.example)
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(row).collect()
}

fn bad_input(error: stepsynth_datasets::Error) -> anyhow::Error {
    Failure::usage(error.to_string())
}
