//! What stands behind a cell in a run: the journal, the student and the measurements.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use stepsynth_datasets::{Kind, lab};

use super::cancel::{Cancel, lock};
use super::cell::{Backing, Trained};
use super::consumed::{Consumed, Meter};
use super::evaluate;
use super::files;
use super::journal::{Finished, Journal};
use super::run::Observer;
use super::world::TaskData;
use crate::failure::Failure;
use crate::method::{Row, RowFile};
use crate::report::results::{self, ResultRow, Split};
use crate::student::{FitJob, Fitted, Student};
use crate::teacher::{Provenance, Teacher as _};

/// The backing of one cell.
pub(super) struct Recorder<'a> {
    pub(super) id: &'a str,
    pub(super) journal: &'a Journal,
    pub(super) meter: &'a Meter<'a>,
    pub(super) student: &'a dyn Student,
    pub(super) task: &'a TaskData,
    /// Result row with the columns that are the same in the whole cell.
    pub(super) template: ResultRow,
    /// `synthetic/<task>/<method>/seed-<s>`.
    pub(super) synthetic: PathBuf,
    /// Where the final student is kept, if it is.
    pub(super) model: Option<PathBuf>,
    pub(super) cancel: &'a Cancel,
    pub(super) observer: &'a dyn Observer,
    /// Called with a finished step's rows, once they are in the journal.
    pub(super) publish: &'a dyn Fn(Vec<ResultRow>) -> Result<()>,
    pub(super) state: Mutex<State>,
}

/// What a cell has done in this process.
#[derive(Default)]
pub(super) struct State {
    names: HashSet<String>,
    consumed: Consumed,
    /// Rows of the final training set.
    pub(super) final_rows: Option<usize>,
}

/// Output of a training step.
#[derive(Serialize, Deserialize)]
struct TrainOutput {
    trained: Trained,
    rows: usize,
}

impl Backing for Recorder<'_> {
    fn step(&self, name: &str, work: &mut dyn FnMut() -> Result<String>) -> Result<String> {
        self.journaled(name, || Ok((work()?, Vec::new())))
    }

    fn train(&self, round: usize, rows: &[Row], last: bool) -> Result<Trained> {
        // Also if the training is in the journal: the rows may have been lost since.
        self.keep_rows(rows)?;
        let text = self.journaled(&format!("train-{round}"), || self.fit(round, rows, last))?;
        let output: TrainOutput = serde_json::from_str(&text)?;
        if last {
            lock(&self.state).final_rows = Some(output.rows);
        }
        Ok(output.trained)
    }

    fn record(&self, round: usize, metric: &str, value: f64) -> Result<()> {
        // Two steps of a round may count the same thing; the order of a cell's steps is fixed, so numbering tells them apart.
        let name = {
            let state = lock(&self.state);
            let plain = format!("record-{round}-{metric}");
            let free = |name: &String| !state.names.contains(name);
            if free(&plain) { Some(plain) } else { (2..).map(|n| format!("record-{round}-{metric}-{n}")).find(free) }
        };
        let name = name.with_context(|| format!("{}: too many records of {metric}", self.id))?;
        let row =
            ResultRow { round, metric: metric.to_owned(), value, provenance: self.meter.provenance(), ..self.template.clone() };
        results::check(&row).map_err(|message| anyhow::anyhow!("{}: round {round}: {message}", self.id))?;
        self.journaled(&name, || Ok((String::new(), vec![row])))?;
        Ok(())
    }
}

impl Recorder<'_> {
    /// The journaled output of step `name`, from `work` if it is not there yet.
    fn journaled(&self, name: &str, work: impl FnOnce() -> Result<(String, Vec<ResultRow>)>) -> Result<String> {
        ensure!(lock(&self.state).names.insert(name.to_owned()), "{}: step `{name}` used twice", self.id);
        if let Some(found) = self.journal.find(self.id, name)? {
            self.add_consumed(found.consumed);
            return Ok(found.output);
        }
        if self.cancel.is_set() {
            return Err(stepsynth_core::Error::Interrupted.into());
        }
        self.observer.began(self.id, name);
        let done = work();
        // A refused batch explains whatever went wrong afterwards, so it is looked at first.
        let consumed = self.meter.take().map_err(|reason| Failure::Budget(format!("budget reached: {reason}")))?;
        let (output, rows) = done?;
        self.journal.add(self.id, name, &Finished { output, consumed, rows })?;
        self.observer.finished(self.id, name);
        // Numbers go on as a resumed run reads them.
        let Some(kept) = self.journal.find(self.id, name)? else { bail!("{}: step `{name}` is not in the journal", self.id) };
        self.add_consumed(kept.consumed);
        if !kept.rows.is_empty() {
            (self.publish)(kept.rows)?;
        }
        Ok(kept.output)
    }

    fn add_consumed(&self, consumed: Consumed) {
        let mut state = lock(&self.state);
        state.consumed = state.consumed.plus(consumed);
    }

    fn fit(&self, round: usize, rows: &[Row], last: bool) -> Result<(String, Vec<ResultRow>)> {
        ensure!(!rows.is_empty(), "{}: the training set of round {round} is empty", self.id);
        let train: Vec<_> = rows.iter().map(|row| row.example.clone()).collect();
        let started = Instant::now();
        let progress = |done: usize, total: usize| {
            self.observer.trained(self.id, round, done, total);
            !self.cancel.is_set()
        };
        let reading = |done: usize, total: usize| {
            self.observer.measured(self.id, done, total);
            !self.cancel.is_set()
        };
        let job = FitJob {
            seed: self.template.seed,
            train: &train,
            select: &self.task.gold.select,
            progress: &progress,
            reading: &reading,
            dump: None,
            // Every cell of a run would say the same.
            notice: &|_| (),
        };
        let fitted = self.student.fit(&job)?;
        let mut measured = self.epochs(round, rows, &fitted);
        measured.extend(self.total_variation(round, rows).into_iter().flatten());
        let mut template = self.row(round, rows);
        template.epoch = Some(fitted.best_epoch);
        let consumed = lock(&self.state).consumed;
        template.requests = Some(consumed.requests);
        template.prompt_tokens = consumed.prompt_tokens;
        template.completion_tokens = consumed.completion_tokens;
        template.usd = consumed.usd;
        template.train_tokens = Some(fitted.cost.train_tokens);
        template.train_flops = Some(fitted.cost.train_flops);
        let mut mine = Vec::new();
        let (split, measures, n) = if last {
            let (measures, n) = evaluate::final_test(&self.task.spec, &self.task.test, &*fitted.model, &reading)?;
            (Split::Test, measures, n)
        } else {
            let examples = &self.task.gold.mine;
            let inputs: Vec<_> = examples.iter().map(|example| example.input.clone()).collect();
            mine = fitted.model.predict(&inputs, &reading)?;
            (Split::Mine, evaluate::measure(&self.task.spec, examples, &mine)?, examples.len())
        };
        if let Some(directory) = self.model.as_deref().filter(|_| last) {
            fitted.model.save(directory)?;
        }
        template.wall_seconds = Some(started.elapsed().as_secs_f64());
        template.peak_rss_mb = peak_rss_mb();
        for (metric, value) in measures {
            measured.push(ResultRow { split, metric: metric.to_owned(), value, n: Some(n), ..template.clone() });
        }
        for row in &measured {
            results::check(row).map_err(|message| anyhow::anyhow!("{}: round {round}: {message}", self.id))?;
        }
        let output = TrainOutput { trained: Trained { mine }, rows: rows.len() };
        let text = serde_json::to_string(&output)?;
        // What cannot be read back must not get into the journal.
        serde_json::from_str::<TrainOutput>(&text)
            .with_context(|| format!("{}: round {round}: a prediction does not survive JSON", self.id))?;
        Ok((text, measured))
    }

    /// Loss, share of right answers on the training rows and headline metric on the select rows of every epoch.
    fn epochs(&self, round: usize, rows: &[Row], fitted: &Fitted) -> Vec<ResultRow> {
        let headline = evaluate::metric_name(self.task.spec.metric);
        // Counted batch by batch, which no other metric is: for questions, windows with both ends right.
        let on_train = match self.task.spec.kind {
            Kind::Single | Kind::Pair => "accuracy",
            Kind::Qa => "span_accuracy",
        };
        let mut measured = Vec::new();
        for epoch in &fitted.history {
            let mut add = |split, metric: &str, value, n| {
                let epoch = Some(epoch.epoch);
                let row = ResultRow { epoch, split, metric: metric.to_owned(), value, n: Some(n), ..self.row(round, rows) };
                measured.push(row);
            };
            add(Split::Train, "loss", epoch.train_loss, rows.len());
            add(Split::Train, on_train, epoch.train_metric, rows.len());
            if let Some(value) = epoch.select_metric {
                add(Split::Select, headline, value, self.task.gold.select.len());
            }
        }
        measured
    }

    /// For a laboratory task, the distance `TV` between the distributions of attributes of the training rows, which is
    /// empirical, and of gold data, which is known; and what it would be, on average, for as many rows of gold data.
    fn total_variation(&self, round: usize, rows: &[Row]) -> Option<[ResultRow; 2]> {
        let world = lab::task(&self.task.spec.name)?;
        let value = world.tv(rows.iter().map(|row| (&row.example.input, &row.example.target)));
        let row = |metric: &str, value| ResultRow {
            split: Split::Train,
            metric: metric.to_owned(),
            value,
            n: Some(rows.len()),
            ..self.row(round, rows)
        };
        Some([row("tv", value), row("tv_floor", world.noise_floor(rows.len()))])
    }

    /// The template with what is known of `round` and its training set.
    fn row(&self, round: usize, rows: &[Row]) -> ResultRow {
        let gold = rows.iter().filter(|row| row.provenance == Provenance::None).count();
        let seed = rows.iter().filter(|row| row.provenance != Provenance::None && row.round == 0).count();
        let asked = rows.iter().find(|row| row.provenance != Provenance::None);
        ResultRow {
            round,
            train_rows: Some(rows.len()),
            seed_rows: Some(seed),
            additional_rows: Some(rows.len() - gold - seed),
            gold_rows: Some(gold),
            teacher: if asked.is_some() { self.template.teacher.clone() } else { String::new() },
            provenance: asked.map_or(Provenance::None, |row| row.provenance),
            ..self.template.clone()
        }
    }

    /// Writes the synthetic rows of every round that is part of this training set.
    fn keep_rows(&self, rows: &[Row]) -> Result<()> {
        let synthetic = || rows.iter().filter(|row| row.provenance != Provenance::None);
        for round in synthetic().map(|row| row.round).collect::<std::collections::BTreeSet<_>>() {
            let path = self.synthetic.join(format!("round-{round}.jsonl"));
            let named = synthetic().filter(|row| row.round == round).map(|row| RowFile::new(row.clone(), &self.task.spec));
            let named: Vec<RowFile> = named.collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
            files::write_json_lines(&path, &named)?;
        }
        Ok(())
    }
}

/// Largest resident memory of this process so far, in MB (1e6 bytes), where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
