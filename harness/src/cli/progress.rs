//! Progress on stderr: bars on a terminal, plain lines elsewhere. [`Progress`] is that of a run, [`Steps`] that of one training.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::experiment::cancel::lock;
use crate::experiment::run::Observer;

/// One bar per running cell and one for all.
pub(super) struct Progress {
    bars: Option<Bars>,
    cells: usize,
    ended: Mutex<usize>,
}

struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl Progress {
    /// For a run of so many cells.
    pub(super) fn new(cells: usize) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let overall =
                all.add(ProgressBar::new(cells as u64).with_style(style("{bar:30} {pos}/{len} cells, {elapsed}, {eta} left")));
            Bars { all, overall, running: Mutex::default() }
        });
        Self { bars, cells, ended: Mutex::new(0) }
    }

    /// Removes the bars.
    pub(super) fn close(&self) {
        if let Some(bars) = &self.bars {
            bars.overall.finish_and_clear();
            let _ = bars.all.clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Bars {
    fn of(&self, cell: &str) -> ProgressBar {
        let mut running = lock(&self.running);
        let new = || self.all.insert_before(&self.overall, ProgressBar::new(1).with_style(style("{prefix} {bar:20} {msg}")));
        running.entry(cell.to_owned()).or_insert_with(new).clone()
    }
}

impl Observer for Progress {
    fn began(&self, cell: &str, step: &str) {
        if let Some(bars) = &self.bars {
            let bar = bars.of(cell);
            bar.set_prefix(cell.to_owned());
            bar.set_message(step.to_owned());
        }
    }

    fn trained(&self, cell: &str, _: usize, done: usize, total: usize) {
        if let Some(bars) = &self.bars {
            let bar = bars.of(cell);
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
    }

    fn finished(&self, cell: &str, _: &str) {
        if let Some(bars) = &self.bars {
            bars.of(cell).set_position(0);
        }
    }

    fn ended(&self, cell: &str, outcome: &Result<()>) {
        let ended = {
            let mut ended = lock(&self.ended);
            *ended += 1;
            *ended
        };
        let line = match outcome {
            Ok(()) => format!("[{ended}/{}] {cell} done", self.cells),
            Err(error) => format!("[{ended}/{}] {cell} stopped: {error:#}", self.cells),
        };
        match &self.bars {
            None => eprintln!("{line}"),
            Some(bars) => {
                if let Some(bar) = lock(&bars.running).remove(cell) {
                    bar.finish_and_clear();
                    bars.all.remove(&bar);
                }
                bars.overall.inc(1);
                if outcome.is_err() {
                    let _ = bars.all.println(line);
                }
            }
        }
    }
}

/// One bar of optimizer steps, or a line after each tenth of them.
pub(super) struct Steps {
    terminal: bool,
    started: Instant,
    bar: OnceLock<ProgressBar>,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), started: Instant::now(), bar: OnceLock::new() }
    }

    /// `done` of `total` steps are done.
    pub(super) fn at(&self, done: usize, total: usize) {
        if self.terminal {
            let new = || ProgressBar::new(total as u64).with_style(style("{bar:30} step {pos}/{len}, {elapsed}, {eta} left"));
            self.bar.get_or_init(new).set_position(done as u64);
        } else if 10 * done / total > 10 * (done - 1) / total {
            eprintln!("step {done} of {total}, {:.1} s", self.started.elapsed().as_secs_f64());
        }
    }

    /// Removes the bar.
    pub(super) fn close(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
