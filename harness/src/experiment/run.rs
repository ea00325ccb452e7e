//! Runs the cells of a plan on worker threads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use stepsynth_datasets::Example;

use super::cancel::{Cancel, lock};
use super::cell::Cell;
use super::consumed::{Budget, Limits, Meter};
use super::evaluate;
use super::files;
use super::fingerprint::{Fingerprint, Inputs, TaskInputs};
use super::journal::{Journal, Resume};
use super::manifest;
use super::method_options::MethodKind;
use super::plan::{Plan, PlannedCell};
use super::record::Recorder;
use super::spec::Spec;
use super::world::{TaskData, World};
use crate::failure::Failure;
use crate::report::results::{self, ResultRow, Split};
use crate::student::Student;
use crate::teacher::{Completion, Provenance, Request, RequestError, Sources, Teacher};

/// Told what happens in a run, from any thread.
pub trait Observer: Sync {
    /// A step begins.
    fn began(&self, cell: &str, step: &str);
    /// Training of a round did `done` of `total` optimizer steps.
    fn trained(&self, cell: &str, round: usize, done: usize, total: usize);
    /// The student read `done` of `total` rows to be measured or mined.
    fn measured(&self, cell: &str, done: usize, total: usize);
    /// A step is in the journal, but not yet in `results.csv`.
    fn finished(&self, cell: &str, step: &str);
    /// A cell ended.
    fn ended(&self, cell: &str, outcome: &Result<()>);
}

/// How to run, apart from the spec.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Run directory.
    pub out: PathBuf,
    /// What to do if it holds a run.
    pub resume: Resume,
    /// Budgets.
    pub limits: Limits,
    /// The command line, for the manifest.
    pub command: Vec<String>,
}

/// A method, as the runner sees it.
pub type Method<'a> = &'a (dyn Fn(&Cell<'_>) -> Result<()> + Sync);

/// Runs `spec` and returns all results in plan order.
///
/// # Errors
/// [`Failure`] for a directory that cannot be used, an interruption and a reached budget; otherwise one error that counts
/// the cells that failed. The other cells are finished first, and `results.csv` has all that was measured.
pub fn run(
    spec: &Spec,
    world: &dyn World,
    method: Method<'_>,
    options: &RunOptions,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Vec<ResultRow>> {
    let plan = Plan::new(spec);
    let tasks = load_tasks(spec, world)?;
    let student = world.student_files()?;
    let inputs = |task: &LoadedTask| TaskInputs {
        spec: task.data.spec.clone(),
        data: task.data.hash.clone(),
        recordings: task.sources().files.into_iter().map(|file| file.sha256).collect(),
    };
    let inputs = Inputs {
        tasks: tasks.iter().map(|(name, task)| (name.clone(), inputs(task))).collect(),
        prompts: world.prompts(),
        student: student.clone(),
    };
    let fingerprint = Fingerprint::new(spec, &world.device(), &inputs)?;
    let journal = Journal::open(&options.out, &fingerprint, options.resume)?;
    if !journal.resumed() || !options.out.join(manifest::FILE).exists() {
        let data = tasks.iter().map(|(name, task)| (name.as_str(), &task.data, task.sources()));
        manifest::write(&options.out, spec, &fingerprint, world, data, &student, &options.command)?;
    }
    let run = Run { spec, tasks: &tasks, method, options, cancel, observer, journal: &journal, run_id: fingerprint.run_id() };
    run.all(&plan)
}

/// A task with what is made for it once.
struct LoadedTask {
    data: TaskData,
    /// By seed.
    teachers: BTreeMap<u64, Box<dyn Teacher>>,
    student: Box<dyn Student>,
}

impl LoadedTask {
    /// The files of the teacher, which are the same for all seeds.
    fn sources(&self) -> Sources {
        self.teachers.values().next().map(|teacher| teacher.sources()).unwrap_or_default()
    }
}

fn load_tasks(spec: &Spec, world: &dyn World) -> Result<BTreeMap<String, LoadedTask>> {
    let load = |name: &String| {
        let data = world.task(name)?;
        let asked = spec.methods.iter().any(|method| method.kind != MethodKind::Gold);
        let teacher = |&seed: &u64| -> Result<(u64, Box<dyn Teacher>)> {
            Ok((seed, if asked { world.teacher(&data, seed)? } else { Box::new(NoTeacher) }))
        };
        let teachers = spec.seeds.iter().map(teacher).collect::<Result<_>>()?;
        let student = world.student(&data)?;
        Ok((name.clone(), LoadedTask { data, teachers, student }))
    };
    spec.tasks.iter().map(load).collect()
}

/// Stands where a spec has nothing to ask.
struct NoTeacher;

impl Teacher for NoTeacher {
    fn name(&self) -> String {
        String::new()
    }

    fn provenance(&self) -> Provenance {
        Provenance::None
    }

    fn complete(&self, requests: &[Request]) -> Vec<std::result::Result<Completion, RequestError>> {
        requests.iter().map(|_| Err(RequestError::Unsupported("this spec has no teacher".to_owned()))).collect()
    }
}

struct Run<'a> {
    spec: &'a Spec,
    tasks: &'a BTreeMap<String, LoadedTask>,
    method: Method<'a>,
    options: &'a RunOptions,
    cancel: &'a Cancel,
    observer: &'a dyn Observer,
    journal: &'a Journal,
    run_id: &'a str,
}

impl Run<'_> {
    fn all(&self, plan: &Plan) -> Result<Vec<ResultRow>> {
        let budget = Budget::new(self.options.limits);
        let mut measured = Vec::new();
        for cell in &plan.cells {
            let (rows, consumed) = self.journal.measured(&cell.id)?;
            budget.count(consumed);
            measured.push(rows);
        }
        let results = Results { path: self.options.out.join("results.csv"), cells: Mutex::new(measured) };
        results.add(0, Vec::new())?;
        let failures: Mutex<Vec<(usize, anyhow::Error)>> = Mutex::default();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.spec.jobs.min(plan.groups.len()) {
                scope.spawn(|| {
                    while let Some(group) = plan.groups.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let failed = self.group(plan, group, &budget, &results);
                        lock(&failures).extend(failed);
                    }
                });
            }
        });
        let failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.verdict(plan, failures)?;
        Ok(results.cells.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().flatten().collect())
    }

    /// Runs the cells of one group in order; the failed ones with their errors.
    fn group(&self, plan: &Plan, group: &[usize], budget: &Budget, results: &Results) -> Vec<(usize, anyhow::Error)> {
        let mut sizes = BTreeMap::new();
        let mut failed = Vec::new();
        for &at in group {
            if self.cancel.is_set() {
                break;
            }
            let cell = &plan.cells[at];
            let outcome = self.cell(cell, &sizes, budget, &|rows| results.add(at, rows));
            let outcome = outcome.map(|rows| {
                sizes.insert(cell.method.label(), rows);
            });
            self.observer.ended(&cell.id, &outcome);
            failed.extend(outcome.err().map(|error| (at, error)));
        }
        failed
    }

    /// Runs a cell; the size of its final training set.
    fn cell(
        &self,
        planned: &PlannedCell,
        sizes: &BTreeMap<String, usize>,
        budget: &Budget,
        publish: &dyn Fn(Vec<ResultRow>) -> Result<()>,
    ) -> Result<usize> {
        let task = self.tasks.get(&planned.task).with_context(|| format!("{}: not loaded", planned.task))?;
        let teacher = task.teachers.get(&planned.seed).with_context(|| format!("{}: no teacher", planned.id))?;
        let meter = Meter::new(teacher.as_ref(), budget);
        let place = Path::new(&planned.task).join(planned.method.label()).join(format!("seed-{}", planned.seed));
        let recorder = Recorder {
            id: &planned.id,
            journal: self.journal,
            meter: &meter,
            student: task.student.as_ref(),
            task: &task.data,
            template: self.template(planned, task, teacher.name()),
            synthetic: self.options.out.join("synthetic").join(&place),
            model: self.spec.save_models.then(|| self.options.out.join("models").join(&place)),
            cancel: self.cancel,
            observer: self.observer,
            publish,
            state: Mutex::default(),
        };
        let cell = Cell {
            task: &task.data.spec,
            gold: &task.data.gold,
            options: &planned.method,
            teacher: &meter,
            seed: planned.seed,
            sizes: sizes.clone(),
            backing: &recorder,
        };
        (self.method)(&cell)?;
        let rows = lock(&recorder.state).final_rows;
        rows.with_context(|| format!("{}: the method ended without a final training", planned.id))
    }

    fn template(&self, planned: &PlannedCell, task: &LoadedTask, teacher: String) -> ResultRow {
        ResultRow {
            run_id: self.run_id.to_owned(),
            task: planned.task.clone(),
            method: planned.method.kind.name().to_owned(),
            variant: planned.method.variant.clone(),
            student: self.spec.student.clone(),
            teacher,
            provenance: Provenance::None,
            protocol: self.spec.protocol,
            seed: planned.seed,
            round: 0,
            epoch: None,
            split: Split::Train,
            metric: evaluate::metric_name(task.data.spec.metric).to_owned(),
            value: 0.0,
            n: None,
            ci_low: None,
            ci_high: None,
            train_rows: None,
            seed_rows: None,
            additional_rows: None,
            gold_rows: None,
            requests: None,
            prompt_tokens: None,
            completion_tokens: None,
            usd: None,
            train_tokens: None,
            train_flops: None,
            wall_seconds: None,
            peak_rss_mb: None,
            device: task.student.device(),
            commit: manifest::COMMIT.to_owned(),
        }
    }

    fn verdict(&self, plan: &Plan, mut failures: Vec<(usize, anyhow::Error)>) -> Result<()> {
        let place = self.options.out.display();
        if self.cancel.is_set() {
            return Err(Failure::Interrupted(format!(
                "interrupted; {place} keeps all finished steps, the same command goes on from there"
            ))
            .into());
        }
        failures.sort_by_key(|(at, _)| *at);
        let budget = failures.iter().find(|(_, error)| Failure::exit_code(error) == 3);
        if let Some((_, error)) = budget {
            return Err(Failure::Budget(format!(
                "{error}; {place} keeps all finished steps, a larger budget goes on from there"
            ))
            .into());
        }
        let (failed, all) = (failures.len(), plan.cells.len());
        let broken: Vec<usize> = failures.iter().map(|(at, _)| *at).collect();
        // A cell that waits for the size of a failed one only follows it.
        failures.retain(|(at, _)| !plan.waits_for(*at).is_some_and(|other| broken.contains(&other)));
        // The exit code is that of a fault of the input only if there is no other.
        let at = failures.iter().position(|(_, error)| Failure::exit_code(error) != 2).unwrap_or(0);
        match failures.into_iter().nth(at) {
            None => Ok(()),
            Some((at, error)) => {
                let message = format!("{failed} of {all} cells failed, the first {}: {error:#}", plan.cells[at].id);
                Err(if Failure::exit_code(&error) == 2 { Failure::usage(message) } else { anyhow::Error::msg(message) })
            }
        }
    }
}

/// `results.csv`: all measured rows, by cell in plan order.
struct Results {
    path: PathBuf,
    cells: Mutex<Vec<Vec<ResultRow>>>,
}

impl Results {
    /// Adds rows to a cell and writes the file anew.
    fn add(&self, cell: usize, rows: Vec<ResultRow>) -> Result<()> {
        let mut cells = lock(&self.cells);
        cells[cell].extend(rows);
        files::write_atomically(&self.path, |out| results::write(cells.iter().flatten(), out))
    }
}

/// SHA-256 (hex) of gold data in all its roles, for fingerprints.
pub fn data_hash(parts: &[&[Example]]) -> Result<String> {
    Ok(stepsynth_datasets::hash::bytes(&serde_json::to_vec(parts)?))
}
