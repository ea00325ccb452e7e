//! Progress on stderr: bars on a terminal, plain lines elsewhere. [`Progress`] is that of a run, [`Steps`] that of one training or
//! measurement.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::Mutex;
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

    fn at(&self, cell: &str, done: usize, total: usize) {
        if let Some(bars) = &self.bars {
            let bar = bars.of(cell);
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
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
        self.at(cell, done, total);
    }

    fn measured(&self, cell: &str, done: usize, total: usize) {
        self.at(cell, done, total);
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

/// One bar of work that is counted, or, from the third second on, a line after each tenth of it.
pub(super) struct Steps {
    what: &'static str,
    terminal: bool,
    started: Instant,
    tenths: Cell<usize>,
    bar: OnceCell<ProgressBar>,
}

impl Steps {
    /// For optimizer steps (`what` is `step`) or rows (`row`).
    pub(super) fn new(what: &'static str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { what, terminal, started: Instant::now(), tenths: Cell::new(0), bar: OnceCell::new() }
    }

    /// `done` of `total` are done.
    pub(super) fn at(&self, done: usize, total: usize) {
        if self.terminal {
            let new = || {
                let bar = ProgressBar::new(total as u64).with_prefix(self.what);
                bar.with_style(style("{bar:30} {prefix} {pos}/{len}, {elapsed}, {eta} left"))
            };
            self.bar.get_or_init(new).set_position(done as u64);
            return;
        }
        let (tenths, seconds) = (10 * done / total, self.started.elapsed().as_secs_f64());
        if tenths > self.tenths.replace(tenths) && seconds > 2.0 {
            eprintln!("{} {done} of {total}, {seconds:.1} s", self.what);
        }
    }

    /// Removes the bar.
    pub(super) fn close(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
