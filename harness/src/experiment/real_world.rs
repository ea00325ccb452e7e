//! The world of the program: tasks from files and the laboratory, teachers and students by name.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stepsynth_datasets::load::ReadOptions;
use stepsynth_datasets::{Protocol, Sealed, SplitOptions, TaskSpec, hash, lab, load_splits};

use super::cell::Gold;
use super::faults;
use super::plan::Plan;
use super::run::data_hash;
use super::settings::GoldSizes;
use super::spec::Spec;
use super::world::{TaskData, World};
use crate::failure::Failure;
use crate::prompt::Library;
use crate::student::{self, Device, Origin, Student};
use crate::teacher::{Recording, Simulated, Teacher};

/// Test rows of a laboratory task whose spec does not say.
const LABORATORY_TEST_ROWS: usize = 1000;

/// Files of a model directory that, with its safetensors files, make a student what it is.
const STUDENT_FILES: [&str; 3] = ["config.json", "tokenizer.json", "vocab.txt"];

/// The world of one spec on one device.
pub struct RealWorld<'a> {
    spec: &'a Spec,
    device: Device,
    device_name: String,
    origin: Origin,
    threads: usize,
}

impl<'a> RealWorld<'a> {
    /// Checks student and device.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the student does not exist.
    pub fn new(spec: &'a Spec, device: Device) -> Result<Self> {
        let origin = Origin::parse(&spec.student).map_err(|error| Failure::Usage(format!("{error:#}")))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = spec.jobs.min(Plan::new(spec).groups.len()).max(1);
        let threads = (cores / at_once).max(1);
        Ok(Self { spec, device, device_name: device.name()?, origin, threads })
    }

    fn load_files(&self, task: TaskSpec, sizes: &GoldSizes) -> Result<TaskData> {
        let Some(data) = &self.spec.data else {
            let message = format!("task {}: its gold data are files; say where with --set data=DIR", task.name);
            return Err(Failure::usage(message));
        };
        let options = SplitOptions {
            train: sizes.train,
            mine: sizes.mine,
            select: sizes.select,
            test: sizes.test,
            read: ReadOptions { max_bad_rows: self.spec.max_bad_rows, label_order: None },
            ..SplitOptions::new(self.spec.protocol, sizes.seed)
        };
        let (splits, report) = load_splits(&task, data, &options).map_err(bad_input)?;
        let gold = Gold { train: splits.train, mine: splits.mine, select: splits.select };
        let hashes: Vec<&str> = report.files.iter().map(|file| file.sha256.as_str()).collect();
        let hash = stepsynth_datasets::hash::bytes(
            format!("{} {}", hashes.join(" "), data_hash(&[&gold.train, &gold.mine, &gold.select])?).as_bytes(),
        );
        Ok(TaskData { spec: task, gold, test: splits.test, hash, report: serde_json::to_value(report)? })
    }
}

impl RealWorld<'_> {
    /// Gold data of a laboratory task are drawn from its known distribution; the three roles share no text.
    fn draw_laboratory(&self, world: &lab::World, task: TaskSpec, sizes: &GoldSizes) -> Result<TaskData> {
        let draw = |part, count| world.gold(sizes.seed, part, count).map_err(|error| Failure::Usage(error.to_string()));
        let mine = draw(lab::Part::Mine, sizes.mine.unwrap_or(task.split.mine))?;
        let train = draw(lab::Part::Mine, sizes.train.unwrap_or(mine.len()))?;
        let select = match self.spec.protocol {
            Protocol::Clean => draw(lab::Part::Select, sizes.select.unwrap_or(task.split.select))?,
            Protocol::Paper => mine.clone(),
        };
        let test = draw(lab::Part::Test, sizes.test.unwrap_or(LABORATORY_TEST_ROWS))?;
        let hash = data_hash(&[&train, &mine, &select, &test])?;
        let report = json!({ "drawn": { "mine": mine.len(), "train": train.len(), "select": select.len(), "test": test.len() } });
        Ok(TaskData { spec: task, gold: Gold { train, mine, select }, test: Sealed::new(test), hash, report })
    }
}

impl World for RealWorld<'_> {
    fn task(&self, name: &str) -> Result<TaskData> {
        let file = self.spec.task_files.get(name);
        let task = match file {
            Some(file) => TaskSpec::find(&file.to_string_lossy()).map_err(bad_input)?,
            None => TaskSpec::find(name).map_err(bad_input)?,
        };
        if let Some(file) = file.filter(|_| lab::task(name).is_some()) {
            let place = file.display();
            return Err(Failure::usage(format!("{place}: `name`: {name} is a laboratory task; give this one another name")));
        }
        faults::check_task(self.spec, &task)?;
        let sizes = self.spec.gold.get(name).cloned().unwrap_or_default();
        match lab::task(name) {
            Some(world) => self.draw_laboratory(world, task, &sizes),
            None => self.load_files(task, &sizes),
        }
    }

    fn teacher(&self, task: &TaskData, seed: u64) -> Result<Box<dyn Teacher>> {
        let choice = &self.spec.teacher;
        if choice.kind == "replay" {
            let recording: Recording = parameters("teacher.replay", &choice.replay)?;
            let data = self.spec.data.as_deref().unwrap_or(Path::new("."));
            let options = ReadOptions { max_bad_rows: self.spec.max_bad_rows, label_order: None };
            let replay = recording.open(&task.spec, data, &options);
            return Ok(Box::new(replay.map_err(|error| Failure::Usage(format!("`teacher.replay`: {error:#}")))?));
        }
        if lab::task(&task.spec.name).is_none() {
            let message = "the simulated teacher knows the lab tasks only; use --teacher replay:FILE";
            return Err(Failure::usage(format!("task {}: {message}", task.spec.name)));
        }
        let simulated = Simulated::new(parameters("teacher.simulated", &choice.simulated)?, seed);
        Ok(Box::new(simulated.map_err(|error| Failure::Usage(error.to_string()))?))
    }

    fn student(&self, task: &TaskData) -> Result<Box<dyn Student>> {
        let settings = self.spec.train.get(&task.spec.name).cloned().unwrap_or_default();
        student::build(self.origin.clone(), self.device, self.threads, &task.spec, &settings)
    }

    fn student_parameters(&self, task: &TaskData) -> Option<u64> {
        let settings = self.spec.train.get(&task.spec.name)?;
        self.origin.parameters(&task.spec, settings.max_length)
    }

    fn student_files(&self) -> Result<BTreeMap<String, String>> {
        let Origin::Directory(directory) = &self.origin else { return Ok(BTreeMap::new()) };
        let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
        let names: Vec<String> =
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<std::io::Result<_>>()?;
        // Large checkpoints are several files.
        let counts = |name: &String| STUDENT_FILES.contains(&name.as_str()) || name.ends_with(".safetensors");
        let hashed = |name: String| Ok((name.clone(), hash::file(&directory.join(name)).map_err(bad_input)?));
        names.into_iter().filter(counts).map(hashed).collect()
    }

    fn device(&self) -> String {
        self.device_name.clone()
    }

    fn prompts(&self) -> Value {
        match Library::paper() {
            Ok(library) => library.hashes().into_iter().map(|(id, hash)| (id, Value::String(hash))).collect(),
            Err(error) => json!({ "error": error.to_string() }),
        }
    }
}

/// The settings of a teacher from its table.
fn parameters<T: DeserializeOwned>(place: &str, table: &toml::Table) -> Result<T> {
    super::fields::decode(table.clone().into()).map_err(|message| Failure::usage(format!("`{place}`: {message}")))
}

/// Faults of tasks and data files are faults of the input.
fn bad_input(error: stepsynth_datasets::Error) -> anyhow::Error {
    Failure::usage(error.to_string())
}
