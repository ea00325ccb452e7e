//! `stepsynth train`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use stepsynth_core::train::Progress;
use stepsynth_datasets::{Example, Kind, Sealed, TaskSpec, hash};

use super::directory;
use super::gold::{GoldArguments, given};
use super::progress::Steps;
use crate::experiment::cancel::Cancel;
use crate::experiment::cell::Gold;
use crate::experiment::real_world::RealWorld;
use crate::experiment::settings::{Precision, TrainSettings, Warmup};
use crate::experiment::spec::Spec;
use crate::experiment::world::{TaskData, World as _};
use crate::experiment::{evaluate, faults, manifest};
use crate::failure::Failure;
use crate::report::table;
use crate::student::{Device, FitJob, Fitted, Origin, Predict, TrainedOn, TrainingRecord};

#[derive(Args)]
pub(super) struct TrainArguments {
    #[command(flatten)]
    gold: GoldArguments,
    /// What training begins with: a model directory, or a fetched model of the hub (org/name, org/name@revision); or tiny or
    /// small, from scratch with a vocabulary of the training rows
    #[arg(long)]
    model: String,
    /// Directory for the trained model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace a model in that directory
    #[arg(long)]
    force: bool,
    /// Rows to train on instead of the task's gold training split; may be repeated
    #[arg(long, value_name = "FILE")]
    train: Vec<PathBuf>,
    /// Rows that choose the best epoch: gold (the task's select split), none (keep the last epoch) or a file
    #[arg(long, value_name = "ROWS", default_value = "gold")]
    select: Select,
    /// Measure the trained model on the task's test split too
    #[arg(long)]
    eval_test: bool,
    /// Passes over the training rows [default: 3; from scratch 14 for tiny, 10 for small]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Rows in an optimizer step [default: 16]
    #[arg(long, value_name = "N", conflicts_with = "batch_tokens")]
    batch_size: Option<u32>,
    /// Tokens in an optimizer step, instead of rows
    #[arg(long, value_name = "N")]
    batch_tokens: Option<u32>,
    /// Peak learning rate [default: 5e-5; from scratch 1e-3 for tiny, 5e-4 for small]
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Longest sequence in tokens [default: 256, questions 384, from scratch 128; at most what the model reads]
    #[arg(long, value_name = "N")]
    max_length: Option<u32>,
    /// Seeds initialisation, order and dropout
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// f32 or bf16
    #[arg(long)]
    precision: Option<Precision>,
    /// auto (the CPU), cpu, cuda, cuda:N or reference
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Write the initial model and the rows and learning rate of every step (JSON lines) to DIR, so that another trainer can do
    /// the same, then train
    #[arg(long, value_name = "DIR")]
    dump_steps: Option<PathBuf>,
}

/// Which rows choose the epoch.
#[derive(Clone)]
enum Select {
    Gold,
    None,
    File(PathBuf),
}

impl FromStr for Select {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "gold" => Self::Gold,
            "none" => Self::None,
            file => Self::File(file.into()),
        })
    }
}

pub(super) fn train(arguments: &TrainArguments) -> Result<()> {
    let task = arguments.gold.find_task()?;
    let spec = spec(arguments, &task)?;
    directory::check(&arguments.out, "--out", arguments.force)?;
    if let Some(directory) = &arguments.dump_steps {
        directory::check(directory, "--dump-steps", false)?;
    }
    let world = RealWorld::new(&spec, arguments.device.resolve())?;
    let data = load(arguments, &spec, &world, task)?;
    let rows = Rows::read(arguments, &data)?;
    let student = world.student(&data)?;

    let cancel = Cancel::default();
    let flag = cancel.clone();
    ctrlc::set_handler(move || flag.set())?;
    let stopped = |error: anyhow::Error| match error.downcast_ref() {
        Some(stepsynth_core::Error::Interrupted) => {
            let out = arguments.out.display();
            Failure::Interrupted(format!("interrupted; nothing was written to {out}")).into()
        }
        _ => error,
    };
    let started = Instant::now();
    let steps = Steps::new("step");
    let fitted = student.fit(&FitJob {
        seed: arguments.seed,
        train: &rows.train,
        select: &rows.select,
        progress: &|done, total| {
            steps.at(done, total);
            !cancel.is_set()
        },
        reading: &|_, _| !cancel.is_set(),
        dump: arguments.dump_steps.as_deref(),
        notice: &|line| eprintln!("{line}"),
    });
    steps.close();
    let fitted = fitted.map_err(stopped)?;
    let seconds = started.elapsed().as_secs_f64();
    let used = measure(arguments, &data, rows, &fitted, &cancel).map_err(stopped)?;
    let record = record(arguments, &spec, &world, &data, used, &fitted, (student.device(), seconds))?;
    directory::write(&arguments.out, |fresh| {
        fitted.model.save(fresh)?;
        record.save(fresh)
    })?;
    eprintln!("model: {}", arguments.out.display());
    super::print(&summary(&record))
}

/// The settings of the command line, over what suits the model.
fn spec(arguments: &TrainArguments, task: &TaskSpec) -> Result<Spec> {
    let origin = Origin::parse(&arguments.model).map_err(|error| Failure::Usage(format!("{error:#}")))?;
    let whole = |value: Option<u32>| value.map(|value| toml::Value::from(i64::from(value)));
    let precision = arguments.precision.map(toml::Value::try_from).transpose()?;
    let fields = [
        ("student", Some(arguments.model.clone().into())),
        ("train.epochs", whole(arguments.epochs)),
        ("train.batch_size", whole(arguments.batch_size)),
        ("train.batch_tokens", whole(arguments.batch_tokens)),
        ("train.learning_rate", arguments.learning_rate.map(toml::Value::from)),
        ("train.max_length", whole(arguments.max_length)),
        ("train.precision", precision),
    ];
    let given = fields.into_iter().filter_map(|(field, value)| Some((field, value?)));
    arguments.gold.spec(&defaults(&origin, task, arguments.max_length), given)
}

/// What suits a model where nothing is said. A window of a context overlaps the next by a third.
fn defaults(origin: &Origin, task: &TaskSpec, max_length: Option<u32>) -> TrainSettings {
    let scratch = |epochs, learning_rate| TrainSettings { epochs, learning_rate, max_length: 128, ..TrainSettings::default() };
    let settings = match origin {
        Origin::Scratch(shape) if shape.name == "tiny" => scratch(14, 1e-3),
        Origin::Scratch(_) => scratch(10, 5e-4),
        Origin::Directory(_) => TrainSettings {
            epochs: 3,
            learning_rate: 5e-5,
            max_length: (if task.kind == Kind::Qa { 384 } else { 256 }).min(origin.max_positions().unwrap_or(usize::MAX)),
            ..TrainSettings::default()
        },
    };
    let longest = max_length.map_or(settings.max_length, |length| length as usize);
    TrainSettings { warmup: Warmup(0.1), stride: longest / 3, ..settings }
}

/// The task with its gold data, as far as they are needed.
fn load(arguments: &TrainArguments, spec: &Spec, world: &RealWorld<'_>, task: TaskSpec) -> Result<TaskData> {
    if arguments.train.is_empty() || matches!(arguments.select, Select::Gold) || arguments.eval_test {
        arguments.gold.require_data(&task, "give rows with --train and with --select (or --select none)")?;
        return world.task(&spec.tasks[0]);
    }
    faults::check_task(spec, &task)?;
    Ok(TaskData { spec: task, gold: Gold::default(), test: Sealed::new(Vec::new()), hash: String::new(), report: Value::Null })
}

/// What a model is trained and chosen on, and in words where that is from.
struct Rows {
    train: Vec<Example>,
    trained_on: TrainedOn,
    select: Vec<Example>,
    selected_on: Option<TrainedOn>,
}

impl Rows {
    fn read(arguments: &TrainArguments, data: &TaskData) -> Result<Self> {
        let of_gold = |examples: &[Example], split: &str| described(format!("{split} split of {}", data.spec.name), examples);
        let of_files = |files: &[PathBuf]| {
            let given = given(&data.spec, files)?;
            let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            let described = TrainedOn { files: given.files, ..described(names.join(", "), &given.examples) };
            anyhow::Ok((given.examples, described))
        };
        let (train, trained_on) = match arguments.train.as_slice() {
            [] => (data.gold.train.clone(), of_gold(&data.gold.train, "train")),
            files => of_files(files)?,
        };
        let (select, selected_on) = match &arguments.select {
            Select::Gold => (data.gold.select.clone(), Some(of_gold(&data.gold.select, "select"))),
            Select::None => (Vec::new(), None),
            Select::File(file) => {
                let (examples, described) = of_files(std::slice::from_ref(file))?;
                (examples, Some(described))
            }
        };
        let chosen: std::collections::HashSet<String> = select.iter().map(|example| example.input.content_key()).collect();
        let shared = train.iter().filter(|example| chosen.contains(&example.input.content_key())).count();
        if shared > 0 {
            eprintln!("warning: {shared} of {} training rows are also among the rows that choose the epoch", train.len());
        }
        Ok(Self { train, trained_on, select, selected_on })
    }
}

fn described(source: String, examples: &[Example]) -> TrainedOn {
    TrainedOn { source, rows: examples.len(), sha256: hash::examples(examples), files: Vec::new(), metrics: BTreeMap::new() }
}

/// The rows that a model was made and measured with.
struct Used {
    train: TrainedOn,
    select: Option<TrainedOn>,
    test: Option<TrainedOn>,
}

/// Measures the model on the select rows, and on the test rows where that is asked for.
fn measure(arguments: &TrainArguments, data: &TaskData, rows: Rows, fitted: &Fitted, cancel: &Cancel) -> Result<Used> {
    let read = Steps::new("row");
    let progress = |done: usize, total: usize| {
        read.at(done, total);
        !cancel.is_set()
    };
    let named = |metrics: Vec<(&'static str, f64)>| metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let select = match rows.selected_on {
        Some(described) => {
            let metrics = named(measured(&data.spec, &rows.select, &*fitted.model, &progress)?);
            Some(TrainedOn { metrics, ..described })
        }
        None => None,
    };
    let test = if arguments.eval_test {
        let (metrics, n) = evaluate::final_test(&data.spec, &data.test, &*fitted.model, &progress)?;
        let source = format!("test split of {}", data.spec.name);
        let metrics = named(metrics);
        Some(TrainedOn { source, rows: n, sha256: data.hash.clone(), files: Vec::new(), metrics })
    } else {
        None
    };
    read.close();
    Ok(Used { train: rows.trained_on, select, test })
}

/// All there is to say of the model.
fn record(
    arguments: &TrainArguments,
    spec: &Spec,
    world: &RealWorld<'_>,
    data: &TaskData,
    used: Used,
    fitted: &Fitted,
    (device, seconds): (String, f64),
) -> Result<TrainingRecord> {
    Ok(TrainingRecord {
        program: format!("stepsynth {} ({})", env!("CARGO_PKG_VERSION"), manifest::COMMIT),
        task: data.spec.clone(),
        base: arguments.model.clone(),
        base_files: world.student_files()?,
        seed: arguments.seed,
        settings: spec.train.get(&data.spec.name).cloned().unwrap_or_default(),
        device,
        train: used.train,
        select: used.select,
        test: used.test,
        history: fitted.history.clone(),
        best_epoch: fitted.best_epoch,
        cost: fitted.cost,
        seconds,
    })
}

pub(super) fn measured(
    task: &TaskSpec,
    examples: &[Example],
    model: &dyn Predict,
    progress: Progress<'_>,
) -> Result<Vec<(&'static str, f64)>> {
    let inputs: Vec<_> = examples.iter().map(|example| example.input.clone()).collect();
    evaluate::measure(task, examples, &model.predict(&inputs, progress)?)
}

/// The epochs as a table, and what it took.
fn summary(record: &TrainingRecord) -> String {
    let metric = evaluate::metric_name(record.task.metric);
    let heading = ["epoch", "train loss", "train right, %", &format!("select {metric}, %")].map(str::to_owned);
    let epochs = record.history.iter().map(|epoch| {
        let best = if epoch.epoch == record.best_epoch { " *" } else { "" };
        let select = epoch.select_metric.map_or_else(|| "-".to_owned(), |value| format!("{:.2}", 100.0 * value));
        let right = format!("{:.2}", 100.0 * epoch.train_metric);
        vec![format!("{}{best}", epoch.epoch), format!("{:.4}", epoch.train_loss), right, select]
    });
    let mut text = table::lay_out(&std::iter::once(heading.to_vec()).chain(epochs).collect::<Vec<_>>());
    let (rows, cost) = (record.train.rows, record.cost);
    text += &format!(
        "\n* is kept. {rows} rows, {} tokens, {:.1e} FLOPs, {:.1} s on {}.\n",
        cost.train_tokens, cost.train_flops, record.seconds, record.device
    );
    if let Some(test) = &record.test {
        let metrics: Vec<String> = test.metrics.iter().map(|(name, value)| format!("{name} {:.2} %", 100.0 * value)).collect();
        text += &format!("Test ({} rows): {}.\n", test.rows, metrics.join(", "));
    }
    text
}
