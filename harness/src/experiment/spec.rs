//! What an experiment is: a TOML file with overrides from the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use stepsynth_datasets::{Protocol, TaskSpec};
use toml::{Table, Value};

use super::faults;
use super::fields::{self, Fields};
use super::method_options::MethodOptions;
use super::settings::{GoldSizes, TrainSettings};
use crate::failure::Failure;
use crate::student::Shape;

/// Specs that come with the program, by name.
pub const PRESETS: [(&str, &str); 3] = [
    ("quickstart", include_str!("../../presets/quickstart.toml")),
    ("imdb-transfer", include_str!("../../presets/imdb-transfer.toml")),
    ("rte-replay", include_str!("../../presets/rte-replay.toml")),
];

/// The teacher of an experiment: `[teacher]`. The settings of the kind that is not chosen are kept unread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherChoice {
    /// `simulated` or `replay`.
    pub kind: String,
    /// `[teacher.simulated]`: parameters of the laboratory's teacher.
    #[serde(default)]
    pub simulated: Table,
    /// `[teacher.replay]`: the recorded files.
    #[serde(default)]
    pub replay: Table,
}

/// An experiment, with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spec {
    /// Version of this format.
    pub version: u32,
    /// Name of the experiment.
    pub name: String,
    /// Tasks, by name.
    pub tasks: Vec<String>,
    /// The files of the tasks that were given as a file, by name.
    pub task_files: BTreeMap<String, PathBuf>,
    /// Methods.
    pub methods: Vec<MethodOptions>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Whose choices are followed.
    pub protocol: Protocol,
    /// Student: `tiny`, `small` or a model directory.
    pub student: String,
    /// Training settings, by task.
    pub train: BTreeMap<String, TrainSettings>,
    /// Gold data sizes, by task.
    pub gold: BTreeMap<String, GoldSizes>,
    /// Teacher.
    pub teacher: TeacherChoice,
    /// Folder of the tasks' files; laboratory tasks need none.
    pub data: Option<PathBuf>,
    /// Bad rows that a task's gold files may have; they are left out and listed in the manifest.
    pub max_bad_rows: usize,
    /// Groups of cells that run at once; the cores are shared among them. Results do not depend on it. Default: one for each
    /// core for the small built-in students, which cannot use more, and 1 for a model directory.
    pub jobs: usize,
    /// Whether each cell's final student is kept under `models/`.
    pub save_models: bool,
}

/// A `--set key=value` override.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// Dotted path.
    pub key: String,
    /// Value; what is no TOML value is a string.
    pub value: Value,
}

impl std::str::FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not key=value"))?;
        if key.is_empty() {
            return Err(format!("`{text}` is not key=value"));
        }
        let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
        Ok(Self { key: key.to_owned(), value: parsed.unwrap_or_else(|| Value::String(value.to_owned())) })
    }
}

/// Reads the spec `name`, a file or a preset, and applies `overrides`.
///
/// # Errors
/// [`Failure::Usage`]: one line that names the file, the field, the fault and the remedy.
pub fn load(name: &str, overrides: &[Override]) -> Result<Spec> {
    let path = Path::new(name);
    if path.is_file() {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
        return parse(&text, name, overrides);
    }
    match PRESETS.iter().find(|(preset, _)| *preset == name) {
        Some((preset, text)) => parse(text, &format!("preset {preset}"), overrides),
        None => {
            let presets: Vec<&str> = PRESETS.iter().map(|(preset, _)| *preset).collect();
            Err(Failure::usage(format!("{name}: no such file or preset; presets are {}", presets.join(", "))))
        }
    }
}

/// Reads a spec from `text`; `place` names it in errors.
pub fn parse(text: &str, place: &str, overrides: &[Override]) -> Result<Spec> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| syntax_fault(text, place, &error))?;
    for change in overrides {
        fields::set(&mut table, &change.key, change.value.clone())
            .map_err(|message| Failure::Usage(format!("--set {}: {message}", change.key)))?;
    }
    let mut top = Fields::new(place, "", table);
    let version: u32 = top.required("version", "write `version = 1`")?;
    if version != 1 {
        return Err(top.fault("version", format!("is {version}; this program reads version 1")));
    }
    let (tasks, task_files) = named(top.required("tasks", "write a list of task names, for example [\"lab-reviews\"]")?)?;
    let methods: Vec<Value> = top.required("method", "add a `[[method]]` table, for example with kind = \"s3\"")?;
    let student: String = top.optional("student", "write tiny, small or a model directory")?.unwrap_or_else(|| "tiny".to_owned());
    let spec = Spec {
        version,
        name: top.required("name", "write a short name")?,
        seeds: top.optional("seeds", "write a list of whole numbers of at least 0")?.unwrap_or_else(|| vec![0]),
        protocol: top.optional("protocol", "write \"clean\" or \"paper\"")?.unwrap_or(Protocol::Clean),
        train: per_task(&mut top, place, "train", &tasks, TrainSettings::fault)?,
        gold: per_task(&mut top, place, "gold", &tasks, GoldSizes::fault)?,
        teacher: top.optional("teacher", "write `[teacher]` with kind = \"simulated\" or \"replay\"")?.unwrap_or_else(simulated),
        data: top.optional("data", "write a folder")?,
        max_bad_rows: top.optional("max_bad_rows", "write a whole number of at least 0")?.unwrap_or(0),
        jobs: top.optional("jobs", "write how many groups of cells run at once")?.unwrap_or_else(|| default_jobs(&student)),
        student,
        save_models: top.optional("save_models", "write true or false")?.unwrap_or(false),
        methods: methods.into_iter().enumerate().map(|(at, value)| method(place, at, value)).collect::<Result<_>>()?,
        tasks,
        task_files,
    };
    faults::check(&spec, &top)?;
    top.finish()?;
    Ok(spec)
}

/// The names of tasks, of which some may be given as TOML files, and those files by name.
fn named(tasks: Vec<String>) -> Result<(Vec<String>, BTreeMap<String, PathBuf>)> {
    let mut files = BTreeMap::new();
    let name = |task: String| {
        let path = PathBuf::from(&task);
        let is_file = path.extension().is_some_and(|extension| extension == "toml") || path.components().count() > 1;
        if !is_file {
            return Ok(task);
        }
        let name = TaskSpec::find(&task).map_err(|error| Failure::Usage(error.to_string()))?.name;
        files.insert(name.clone(), path);
        Ok(name)
    };
    let names = tasks.into_iter().map(name).collect::<Result<_>>()?;
    Ok((names, files))
}

fn simulated() -> TeacherChoice {
    TeacherChoice { kind: "simulated".to_owned(), simulated: Table::new(), replay: Table::new() }
}

fn syntax_fault(text: &str, place: &str, error: &toml::de::Error) -> anyhow::Error {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    Failure::usage(format!("{place}:{line}: not TOML: {message}"))
}

fn method(place: &str, at: usize, value: Value) -> Result<MethodOptions> {
    fields::decode(value).map_err(|message| Failure::usage(format!("{place}: `method.{at}`: {message}")))
}

/// The settings of `[section]` for each task, with those of `[section.TASK]` over them.
fn per_task<T: serde::de::DeserializeOwned>(
    top: &mut Fields<'_>,
    place: &str,
    section: &'static str,
    tasks: &[String],
    fault: impl Fn(&T) -> Option<(&'static str, String)>,
) -> Result<BTreeMap<String, T>> {
    let table: Table = top.optional(section, &format!("write a table `[{section}]`"))?.unwrap_or_default();
    let (common, by_task) = fields::split_sub_tables(table);
    if let Some((task, _)) = by_task.iter().find(|(task, _)| !tasks.contains(task)) {
        return Err(top.fault(&format!("{section}.{task}"), format!("no such task here; tasks are {}", tasks.join(", "))));
    }
    tasks
        .iter()
        .map(|task| {
            let mut merged = common.clone();
            let own = by_task.iter().find(|(name, _)| name == task).map(|(_, own)| own.clone()).unwrap_or_default();
            let prefix = |field: &str| if own.contains_key(field) { format!("{section}.{task}") } else { section.to_owned() };
            merged.extend(own.clone());
            let settings: T = fields::decode(Value::Table(merged))
                .map_err(|message| Failure::Usage(format!("{place}: `[{section}]` for {task}: {message}")))?;
            match fault(&settings) {
                Some((field, message)) => Err(Fields::new(place, &prefix(field), Table::new()).fault(field, message)),
                None => Ok((task.clone(), settings)),
            }
        })
        .collect()
}

fn default_jobs(student: &str) -> usize {
    if Shape::find(student).is_none() {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}
