//! `stepsynth eval`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::json;
use stepsynth_core::config::Head;
use stepsynth_core::train::Progress;
use stepsynth_datasets::{Input, Kind, TaskSpec};

use super::gold::{GoldArguments, given};
use super::progress::Steps;
use super::train::measured;
use crate::experiment::evaluate;
use crate::experiment::real_world::RealWorld;
use crate::experiment::settings::{Precision, TrainSettings};
use crate::experiment::world::World as _;
use crate::failure::Failure;
use crate::report::table;
use crate::student::{self, Device, Predict, Prediction, Saved};

#[derive(Args)]
pub(super) struct EvalArguments {
    #[command(flatten)]
    gold: GoldArguments,
    /// Directory of a trained model, or a model of the hub that is in the cache
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Rows to measure on, instead of gold data
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Which rows to measure on [default: file where there is --file, else select]
    #[arg(long, value_enum)]
    split: Option<SplitArgument>,
    /// Tokens that texts are cut to [default: as in training, else all the model reads]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// auto (the CPU), cpu, cuda, cuda:N or reference
    #[arg(long, default_value = "auto")]
    device: Device,
    /// f32 or bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SplitArgument {
    /// The task's select split
    Select,
    /// The task's test split
    Test,
    /// The rows of --file
    File,
}

pub(super) fn eval(arguments: &EvalArguments) -> Result<()> {
    let task = arguments.gold.find_task()?;
    let split = match (arguments.split, &arguments.file) {
        (Some(SplitArgument::File), None) => return Err(Failure::usage("--split file: name the rows with --file")),
        (Some(SplitArgument::Select | SplitArgument::Test), Some(_)) => {
            return Err(Failure::usage("--file: goes with --split file alone"));
        }
        (Some(split), _) => split,
        (None, Some(_)) => SplitArgument::File,
        (None, None) => SplitArgument::Select,
    };
    let device = arguments.device.resolve();
    let saved = student::open(&arguments.model, device, arguments.precision, arguments.max_length)?;
    let device_name = saved.device.clone();
    let model = for_task(saved, &arguments.model, &task)?;
    let rows_read = Steps::new("row");
    let progress = |done: usize, total: usize| {
        rows_read.at(done, total);
        true
    };
    let (name, metrics, n) = if let (SplitArgument::File, Some(file)) = (split, &arguments.file) {
        let rows = given(&task, std::slice::from_ref(file))?.examples;
        ("file", measured(&task, &rows, &model, &progress)?, rows.len())
    } else {
        arguments.gold.require_data(&task, "give rows with --file")?;
        let spec = arguments.gold.spec(&TrainSettings::default(), [])?;
        let data = RealWorld::new(&spec, device)?.task(&spec.tasks[0])?;
        if split == SplitArgument::Test {
            let (metrics, n) = evaluate::final_test(&task, &data.test, &model, &progress)?;
            ("test", metrics, n)
        } else {
            ("select", measured(&task, &data.gold.select, &model, &progress)?, data.gold.select.len())
        }
    };
    rows_read.close();
    if arguments.json {
        let metrics: serde_json::Map<String, serde_json::Value> =
            metrics.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let place = arguments.model.display().to_string();
        let object =
            json!({ "task": task.name, "model": place, "split": name, "n": n, "metrics": metrics, "device": device_name });
        return super::print(&format!("{object}\n"));
    }
    let line = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
    let mut lines = vec![line([&format!("{} {name}", task.name), "%"])];
    lines.extend(metrics.iter().map(|(metric, value)| line([metric, &format!("{:.2}", 100.0 * value)])));
    super::print(&format!("{}\nn = {n}\n", table::lay_out(&lines)))
}

/// A model whose labels are numbered as the task's.
struct ForTask {
    model: Box<dyn Predict>,
    /// The task's label for each of the model's.
    labels: Vec<usize>,
}

/// Checks that the model answers what the task asks.
fn for_task(saved: Saved, directory: &Path, task: &TaskSpec) -> Result<ForTask> {
    let place = directory.display();
    let answers = if saved.head == Head::QuestionAnswering { "questions" } else { "with labels" };
    if (task.kind == Kind::Qa) != (saved.head == Head::QuestionAnswering) {
        return Err(Failure::usage(format!("model {place}: answers {answers}, which is not what task {} asks for", task.name)));
    }
    let number = |label: &String| task.labels.iter().position(|name| name == label);
    let labels: Option<Vec<usize>> = saved.labels.iter().map(number).collect();
    match labels.filter(|labels| labels.len() == task.labels.len()) {
        Some(labels) => Ok(ForTask { model: saved.model, labels }),
        None => Err(Failure::usage(format!(
            "model {place}: its labels are {}, those of task {} are {}; rename them in `id2label` of its config.json",
            saved.labels.join(", "),
            task.name,
            task.labels.join(", ")
        ))),
    }
}

impl Predict for ForTask {
    fn predict(&self, inputs: &[Input], progress: Progress<'_>) -> Result<Vec<Prediction>> {
        let renumber = |prediction| match prediction {
            Prediction::Label { label, logits } => {
                let mut ordered = vec![0.0; logits.len()];
                self.labels.iter().zip(logits).for_each(|(&label, logit)| ordered[label] = logit);
                Prediction::Label { label: self.labels[label], logits: ordered }
            }
            span => span,
        };
        Ok(self.model.predict(inputs, progress)?.into_iter().map(renumber).collect())
    }

    fn save(&self, directory: &Path) -> Result<()> {
        self.model.save(directory)
    }
}
