//! `stepsynth run` and `stepsynth quickstart`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::progress::Progress;
use crate::experiment::cancel::Cancel;
use crate::experiment::consumed::Limits;
use crate::experiment::estimate;
use crate::experiment::journal::Resume;
use crate::experiment::real_world::RealWorld;
use crate::experiment::run::{self as runner, RunOptions};
use crate::experiment::spec::{self, Override};
use crate::failure::Failure;
use crate::method;
use crate::report::table;
use crate::student::Device;

#[derive(Args)]
pub(super) struct RunArguments {
    /// Spec: a TOML file or the name of a preset
    spec: String,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Args)]
pub(super) struct QuickstartArguments {
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Args)]
struct CommonArguments {
    /// Run directory; by default runs/NAME
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Whether a run in that directory is continued
    #[arg(long, value_enum, default_value = "auto")]
    resume: ResumeArgument,
    /// Where students are trained: auto (the CPU), cpu, cuda, cuda:N or reference
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Print the plan and what it would cost, and stop
    #[arg(long)]
    dry_run: bool,
    /// Stop once this much is spent on the teacher; the batch of requests that reaches it is the last (a free teacher never does)
    #[arg(long, value_name = "X", value_parser = dollars)]
    max_usd: Option<f64>,
    /// Stop before more requests than this are sent
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,
    /// Stop when the teacher has read and written this many tokens
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// Change a field of the spec, for example train.epochs=3
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Override>,
    /// Seeds, for example 0,1,2
    #[arg(long, value_delimiter = ',', value_name = "SEEDS")]
    seeds: Option<Vec<u64>>,
    /// Student: tiny, small, a model directory or a fetched model of the hub (org/name, org/name@revision)
    #[arg(long)]
    student: Option<String>,
    /// Keep each cell's final student under models/ in the run directory
    #[arg(long)]
    keep_models: bool,
    /// Teacher: simulated or replay:FILE
    #[arg(long, value_parser = teacher)]
    teacher: Option<TeacherArgument>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ResumeArgument {
    /// Continue a matching run, start where there is none, refuse another
    Auto,
    /// There must be a matching run
    Always,
    /// There must be none
    Never,
}

fn dollars(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("not an amount of US dollars".to_owned()),
    }
}

/// The fields of the spec that `--teacher` changes.
fn teacher(text: &str) -> Result<TeacherArgument, String> {
    match text.split_once(':') {
        None if text == "simulated" => Ok(TeacherArgument { kind: "simulated", file: None }),
        Some(("replay", file)) if !file.is_empty() => Ok(TeacherArgument { kind: "replay", file: Some(file.to_owned()) }),
        _ => Err("use simulated or replay:FILE".to_owned()),
    }
}

#[derive(Clone)]
struct TeacherArgument {
    kind: &'static str,
    file: Option<String>,
}

pub(super) fn quickstart(arguments: QuickstartArguments) -> Result<()> {
    go("quickstart", arguments.common)
}

pub(super) fn run(arguments: RunArguments) -> Result<()> {
    go(&arguments.spec, arguments.common)
}

fn go(name: &str, arguments: CommonArguments) -> Result<()> {
    let mut overrides = arguments.set;
    let mut set = |key: &str, value: toml::Value| overrides.push(Override { key: key.to_owned(), value });
    if let Some(seeds) = arguments.seeds {
        let seeds = seeds.into_iter().map(|seed| i64::try_from(seed).map(toml::Value::from));
        let seeds =
            seeds.collect::<Result<Vec<_>, _>>().map_err(|_| Failure::Usage(format!("--seeds: the largest is {}", i64::MAX)))?;
        set("seeds", seeds.into());
    }
    if let Some(student) = arguments.student {
        set("student", student.into());
    }
    if arguments.keep_models {
        set("save_models", true.into());
    }
    if let Some(teacher) = arguments.teacher {
        set("teacher.kind", teacher.kind.into());
        if let Some(file) = teacher.file {
            // A path given on the command line is relative to where the command runs, not to the data folder.
            let file = std::path::absolute(&file).map_err(|error| Failure::Usage(format!("--teacher: {file}: {error}")))?;
            let rows = toml::Value::from(vec![file.display().to_string()]);
            set("teacher.replay", toml::Table::from_iter([("rows".to_owned(), rows)]).into());
        }
    }
    let spec = spec::load(name, &overrides)?;
    let world = RealWorld::new(&spec, arguments.device.resolve())?;
    if arguments.dry_run {
        return super::print(&estimate::describe(&spec, &world)?);
    }
    let options = RunOptions {
        out: arguments.out.unwrap_or_else(|| PathBuf::from("runs").join(&spec.name)),
        resume: match arguments.resume {
            ResumeArgument::Auto => Resume::Auto,
            ResumeArgument::Always => Resume::Always,
            ResumeArgument::Never => Resume::Never,
        },
        limits: Limits { requests: arguments.max_requests, tokens: arguments.max_tokens, usd: arguments.max_usd },
        // Where the program lies says nothing about the run.
        command: std::iter::once("stepsynth".to_owned())
            .chain(std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()))
            .collect(),
    };
    let cancel = Cancel::default();
    let flag = cancel.clone();
    ctrlc::set_handler(move || flag.set())?;
    let progress = Progress::new(spec.tasks.len() * spec.methods.len() * spec.seeds.len());
    let rows = runner::run(&spec, &world, &method::run, &options, &cancel, &progress);
    progress.close();
    let rows = rows?;
    eprintln!("results: {}", options.out.join("results.csv").display());
    super::print(&table::draw(&rows))
}
