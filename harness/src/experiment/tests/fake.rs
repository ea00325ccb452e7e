//! A world without models or text worth reading: every answer and prediction is a short function of what was asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use stepsynth_core::train::Progress;
use stepsynth_datasets::{Example, Input, Kind, Metric, Sealed, Target, TaskSpec};

use crate::experiment::cell::{Cell, Gold};
use crate::experiment::method_options::MethodKind;
use crate::experiment::run::data_hash;
use crate::experiment::world::{TaskData, World};
use crate::method::Row;
use crate::student::{EpochRecord, FitCost, FitJob, Fitted, Predict, Prediction, Student};
use crate::teacher::{About, Completion, FinishReason, Provenance, Request, RequestError, Step, Teacher, Usage};

/// The world; counts what was really done.
#[derive(Default)]
pub(super) struct FakeWorld {
    pub(super) fits: AtomicUsize,
    /// Tasks whose student fails.
    pub(super) broken: Option<&'static str>,
}

pub(super) fn examples(count: usize, name: &str) -> Vec<Example> {
    (0..count)
        .map(|at| Example {
            id: format!("{name}:{at}"),
            input: Input::Single { text: format!("{name} text {at}") },
            target: Target::Label(at % 2),
        })
        .collect()
}

impl World for &'static FakeWorld {
    fn task(&self, name: &str) -> Result<TaskData> {
        let text =
            format!("version = 1\nname = \"{name}\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n");
        let spec = TaskSpec::parse(&text, Path::new("fake.toml"))?;
        assert_eq!((spec.kind, spec.metric), (Kind::Single, Metric::Accuracy));
        let gold = Gold { train: examples(6, "gold"), mine: examples(6, "gold"), select: examples(4, "select") };
        let hash = data_hash(&[&gold.mine, &gold.select])?;
        Ok(TaskData { spec, gold, test: Sealed::new(examples(8, "test")), hash, report: Value::Null })
    }

    fn teacher(&self, _: &TaskData, _: u64) -> Result<Box<dyn Teacher>> {
        Ok(Box::new(Writer))
    }

    fn student(&self, task: &TaskData) -> Result<Box<dyn Student>> {
        Ok(Box::new(Rememberer { world: self, broken: self.broken == Some(task.spec.name.as_str()) }))
    }

    fn student_parameters(&self, _: &TaskData) -> Option<u64> {
        Some(10)
    }

    fn student_files(&self) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    fn device(&self) -> String {
        "fake".to_owned()
    }

    fn prompts(&self) -> Value {
        json!({ "fake@1": "00" })
    }
}

struct Writer;

impl Teacher for Writer {
    fn name(&self) -> String {
        "writer".to_owned()
    }

    fn provenance(&self) -> Provenance {
        Provenance::Simulated
    }

    fn complete(&self, requests: &[Request]) -> Vec<Result<Completion, RequestError>> {
        let answer = |request: &Request| Completion {
            text: format!("{} #{}", request.prompt, request.sample),
            finish: FinishReason::Stop,
            // A third is no short binary fraction, so rounding on the way through the journal would show.
            usage: Usage { prompt_tokens: Some(3), completion_tokens: Some(5), usd: Some(1.0 / 3.0) },
            recorded: None,
        };
        requests.iter().map(|request| Ok(answer(request))).collect()
    }
}

struct Rememberer {
    world: &'static FakeWorld,
    broken: bool,
}

struct Remembered {
    rows: usize,
    seed: u64,
}

impl Student for Rememberer {
    fn fit(&self, job: &FitJob<'_>) -> Result<Fitted> {
        if self.broken {
            bail!("the student is broken");
        }
        self.world.fits.fetch_add(1, Ordering::SeqCst);
        if !(0..3).all(|step| (job.progress)(step + 1, 3)) {
            return Err(stepsynth_core::Error::Interrupted.into());
        }
        let epoch = |epoch| EpochRecord {
            epoch,
            train_loss: 1.0 / (epoch + job.train.len()) as f64,
            train_metric: 0.5,
            select_metric: Some(1.0 / 3.0),
        };
        Ok(Fitted {
            model: Box::new(Remembered { rows: job.train.len(), seed: job.seed }),
            history: vec![epoch(1), epoch(2)],
            best_epoch: 2,
            cost: FitCost { train_tokens: 7 * job.train.len() as u64, train_flops: 1e6 / 3.0 },
        })
    }

    fn device(&self) -> String {
        "fake".to_owned()
    }
}

impl Predict for Remembered {
    fn predict(&self, inputs: &[Input], _: Progress<'_>) -> Result<Vec<Prediction>> {
        let label = |at: usize| (at * (self.rows + self.seed as usize) / 3) % 2;
        Ok((0..inputs.len()).map(|at| Prediction::Label { label: label(at), logits: vec![0.1, 1.0 / 3.0] }).collect())
    }

    fn save(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

/// A method with the rhythm of S3; `gold` only trains.
pub(super) fn method(cell: &Cell<'_>) -> Result<()> {
    if cell.options.kind == MethodKind::Gold {
        let rows: Vec<Row> = cell.gold.train.iter().map(|example| row(0, example.clone(), Provenance::None)).collect();
        cell.train(0, &rows, true)?;
        return Ok(());
    }
    let wanted = cell.wanted_rows()?.unwrap_or(cell.options.seed_rows);
    let mut rows = cell.step("seed", || ask(cell, 0, wanted))?;
    for round in 0..cell.options.rounds {
        let trained = cell.train(round, &rows, false)?;
        let wrong = trained.mine.iter().filter(|said| matches!(said, Prediction::Label { label: 1, .. })).count();
        rows.extend(cell.step(&format!("extrapolate-{}", round + 1), || ask(cell, round + 1, wrong + 1))?);
    }
    cell.train(cell.options.rounds, &rows, true)?;
    Ok(())
}

fn ask(cell: &Cell<'_>, round: usize, count: usize) -> Result<Vec<Row>> {
    let request = |sample| Request {
        task: cell.task.name.clone(),
        step: Step::Seed,
        prompt: format!("round {round} of seed {}", cell.seed),
        prompt_id: "fake@1".to_owned(),
        sample,
        about: About::default(),
    };
    let requests: Vec<Request> = (0..count as u64).map(request).collect();
    let mut rows = Vec::new();
    for (at, answer) in cell.teacher.complete(&requests).into_iter().enumerate() {
        let input = Input::Single { text: answer?.text };
        let example = Example { id: format!("{round}:{at}"), input, target: Target::Label(at % 2) };
        rows.push(row(round, example, Provenance::Simulated));
    }
    Ok(rows)
}

fn row(round: usize, example: Example, provenance: Provenance) -> Row {
    Row {
        round,
        example,
        parent: None,
        rationales: Vec::new(),
        prompt_id: String::new(),
        request_hash: String::new(),
        teacher: String::new(),
        provenance,
        usage: Usage::default(),
        filters: Vec::new(),
    }
}
