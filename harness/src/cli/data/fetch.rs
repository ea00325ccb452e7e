//! `stepsynth data fetch`.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Args;
use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use stepsynth_datasets::hub::{Event, Fetched, Hub, ModelId, Settings, Watch};
use stepsynth_datasets::{Error, TaskSpec};

use super::exit;
use crate::cli::{print, task};
use crate::experiment::cancel::{Cancel, lock};
use crate::failure::Failure;

/// A fetch that is done sooner shows no progress.
const QUIET: Duration = Duration::from_secs(2);
/// Time between two lines of progress where there is no terminal.
const LINE: Duration = Duration::from_secs(15);
/// How long an interrupted fetch may take to stop by itself. It may be waiting for a silent server, and what has arrived is
/// on disk already.
const LAST_WORDS: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(crate) struct FetchArguments {
    /// A model (distilbert-base-uncased, org/name, org/name@revision) or a task (rte, mine.toml); model:NAME or task:NAME
    /// where a name could be either
    name: String,
    /// Branch, tag or commit of the model
    #[arg(long, value_name = "REV")]
    revision: Option<String>,
    /// Copy the model's files to this new folder, too
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Folder for the task's files
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What to fetch, and where to.
enum Wanted {
    Model(ModelId, Option<PathBuf>),
    Task(Box<TaskSpec>, PathBuf),
}

pub(super) fn fetch(arguments: &FetchArguments) -> Result<()> {
    let wanted = wanted(arguments)?;
    let settings = Settings::from_environment().map_err(exit)?;
    let fetched = interruptible(wanted, settings)?;
    let (record, size) = (&fetched.record, DecimalBytes(fetched.record.bytes()));
    let revision = if record.revision == record.commit { String::new() } else { format!(" ({})", record.revision) };
    print(&format!(
        "{}: {} files, {size}, revision {}{revision}, in {}\n",
        arguments.name,
        record.files.len(),
        record.commit,
        fetched.folder.display()
    ))
}

fn wanted(arguments: &FetchArguments) -> Result<Wanted> {
    let FetchArguments { name, revision, to, data } = arguments;
    let is_task = |name: &str| {
        stepsynth_datasets::task::built_in().contains(&name) || Path::new(name).extension().is_some_and(|e| e == "toml")
    };
    let (as_task, name) = match (name.strip_prefix("task:"), name.strip_prefix("model:")) {
        (Some(name), _) => (true, name),
        (None, Some(name)) => (false, name),
        (None, None) => (is_task(name), name.as_str()),
    };
    if as_task {
        let stated = [("--revision", revision.is_some()), ("--to", to.is_some())];
        if let Some((option, _)) = stated.iter().find(|(_, stated)| *stated) {
            let why = "the task states its revision, and --data the folder";
            return Err(Failure::usage(format!("{option}: `{name}` is a task; {why} (a model of that name: model:{name})")));
        }
        return Ok(Wanted::Task(Box::new(task::find(name)?), data.clone().unwrap_or_else(|| ".".into())));
    }
    if data.is_some() {
        return Err(Failure::usage(format!(
            "--data: `{name}` is a model; use --to for a copy of its files (a task: task:{name})"
        )));
    }
    let id: ModelId = name.parse().map_err(exit)?;
    let id = revision.as_ref().map_or(Ok(id.clone()), |revision| id.at(revision)).map_err(exit)?;
    Ok(Wanted::Model(id, to.clone()))
}

/// Fetches on another thread, so that an interruption need not wait for the network.
fn interruptible(wanted: Wanted, settings: Settings) -> Result<Fetched> {
    let cancel = Cancel::default();
    let flag = cancel.clone();
    ctrlc::set_handler(move || flag.set())?;
    let progress = Arc::new(Progress::new(cancel.clone()));
    let (sender, receiver) = channel();
    let watch = Arc::clone(&progress);
    std::thread::spawn(move || {
        let hub = Hub::new(settings);
        let outcome = match wanted {
            Wanted::Model(id, to) => hub.fetch_model(&id, to.as_deref(), &*watch),
            Wanted::Task(task, data) => hub.fetch_task(&task, &data, &*watch),
        };
        // Nobody listens after an interruption.
        let _ = sender.send(outcome);
    });
    let outcome = loop {
        match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok(outcome) => break outcome,
            Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the fetch ended without a result")),
            Err(RecvTimeoutError::Timeout) if cancel.is_set() => {
                break receiver.recv_timeout(LAST_WORDS).unwrap_or(Err(Error::HubCancelled));
            }
            Err(RecvTimeoutError::Timeout) => progress.tick(),
        }
    };
    progress.bar.finish_and_clear();
    outcome.map_err(exit)
}

/// Progress on stderr: a bar on a terminal, lines elsewhere.
struct Progress {
    cancel: Cancel,
    bar: ProgressBar,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done: HashMap<String, u64>,
    bytes: u64,
    file: String,
    shown: bool,
    last_line: Option<Instant>,
}

impl Progress {
    fn new(cancel: Cancel) -> Self {
        Self { cancel, bar: ProgressBar::hidden(), start: Instant::now(), state: Mutex::default() }
    }

    /// Shows how far it is.
    fn tick(&self) {
        let mut state = lock(&self.state);
        if self.start.elapsed() < QUIET {
            return;
        }
        let done: u64 = state.done.values().sum();
        if std::io::stderr().is_terminal() {
            if !state.shown {
                state.shown = true;
                let style = ProgressStyle::with_template(
                    "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
                );
                self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            self.bar.set_length(state.bytes.max(done));
            self.bar.set_position(done);
            self.bar.set_message(state.file.clone());
        } else if state.last_line.is_none_or(|last| last.elapsed() >= LINE) {
            state.last_line = Some(Instant::now());
            eprintln!("{}: {} of {}", state.file, DecimalBytes(done), DecimalBytes(state.bytes.max(done)));
        }
    }
}

impl Watch for Progress {
    fn cancelled(&self) -> bool {
        self.cancel.is_set()
    }

    fn event(&self, event: Event<'_>) {
        let mut state = lock(&self.state);
        match event {
            Event::Planned { bytes, .. } => state.bytes = bytes,
            Event::Progress { file, done, .. } => {
                if state.file != file {
                    state.file = file.to_owned();
                }
                state.done.insert(file.to_owned(), done);
            }
            Event::Waiting { why, pause } => {
                let line = match pause {
                    Some(pause) => format!("{why}; trying again in {:.0} s", pause.as_secs_f64().ceil()),
                    None => format!("waiting: {why}"),
                };
                drop(state);
                self.bar.suspend(|| eprintln!("{line}"));
            }
        }
    }
}
