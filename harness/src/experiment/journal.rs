//! The journal of a run: SQLite, one row per finished step, each written in one transaction.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::cancel::lock;
use super::consumed::Consumed;
use super::fingerprint::{self, Fingerprint};
use crate::failure::Failure;
use crate::report::results::ResultRow;

/// What to do with a run directory that already has a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// Continue a matching run, start where there is none, refuse another.
    #[default]
    Auto,
    /// There must be a matching run.
    Always,
    /// There must be none.
    Never,
}

/// A finished step.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Its result, a JSON text.
    pub output: String,
    /// What it consumed.
    pub consumed: Consumed,
    /// What it measured.
    pub rows: Vec<ResultRow>,
}

/// The journal of one run directory, which this process alone may write.
pub struct Journal {
    connection: Mutex<Connection>,
    resumed: bool,
    /// Held as long as the journal is open; the system releases it if the process dies.
    _lock: File,
}

const FILE: &str = "journal.sqlite";
const LOCK: &str = "journal.lock";
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS run (document TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS step (
        number INTEGER PRIMARY KEY,
        cell TEXT NOT NULL,
        name TEXT NOT NULL,
        output TEXT NOT NULL,
        consumed TEXT NOT NULL,
        rows TEXT NOT NULL,
        UNIQUE (cell, name)
    );";

impl Journal {
    /// Opens or begins the journal in `directory`, which is created if need be.
    ///
    /// # Errors
    /// [`Failure::Usage`] if another process has it open, or if `resume` does not allow what the directory holds.
    pub fn open(directory: &Path, fingerprint: &Fingerprint, resume: Resume) -> Result<Self> {
        let place = directory.display();
        let path = directory.join(FILE);
        if resume == Resume::Always && !path.exists() {
            return Err(Failure::usage(format!("{place}: no run to resume; leave out --resume always")));
        }
        std::fs::create_dir_all(directory)
            .map_err(|error| Failure::Usage(format!("{place}: cannot be the run directory ({error}); name another --out")))?;
        if resume == Resume::Never && std::fs::read_dir(directory)?.next().is_some() {
            return Err(Failure::usage(format!("{place}: not empty, and --resume never; name another --out")));
        }
        let lock = File::create(directory.join(LOCK)).with_context(|| format!("{place}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::usage(format!(
                    "{place}: another process is running there; wait for it or name another --out"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("{place}: cannot lock {LOCK}")),
        }
        let (connection, held) = read(&path).map_err(|error| {
            let path = path.display();
            Failure::Usage(format!("{path}: not a journal of stepsynth ({error}); move the file away or name another --out"))
        })?;
        match &held {
            None => {
                connection.execute("INSERT INTO run (document) VALUES (?1)", [&fingerprint.document])?;
            }
            Some(document) if *document == fingerprint.document => {}
            Some(document) => {
                let what = fingerprint::difference(document, &fingerprint.document).unwrap_or_else(|| "its format".to_owned());
                return Err(Failure::usage(format!("{place}: holds another run: {what}; name another --out or undo the change")));
            }
        }
        Ok(Self { connection: Mutex::new(connection), resumed: held.is_some(), _lock: lock })
    }

    /// Whether the directory held this run already.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// The finished step `name` of `cell`.
    pub fn find(&self, cell: &str, name: &str) -> Result<Option<Finished>> {
        let connection = lock(&self.connection);
        let mut query = connection.prepare("SELECT output, consumed, rows FROM step WHERE cell = ?1 AND name = ?2")?;
        let found = query.query_row(params![cell, name], texts).optional()?;
        found.map(finished).transpose()
    }

    /// Adds a finished step; it is on disk as a whole or not at all.
    pub fn add(&self, cell: &str, name: &str, step: &Finished) -> Result<()> {
        let (consumed, rows) = (serde_json::to_string(&step.consumed)?, serde_json::to_string(&step.rows)?);
        let connection = lock(&self.connection);
        let sql = "INSERT INTO step (cell, name, output, consumed, rows) VALUES (?1, ?2, ?3, ?4, ?5)";
        connection.prepare(sql)?.execute(params![cell, name, step.output, consumed, rows])?;
        Ok(())
    }

    /// Everything measured by `cell`, and what it consumed, in the order of its steps.
    pub fn measured(&self, cell: &str) -> Result<(Vec<ResultRow>, Consumed)> {
        let connection = lock(&self.connection);
        let mut query = connection.prepare("SELECT '', consumed, rows FROM step WHERE cell = ?1 ORDER BY number")?;
        let mut all = (Vec::new(), Consumed::default());
        for found in query.query_map([cell], texts)? {
            let step = finished(found?)?;
            all.0.extend(step.rows);
            all.1 = all.1.plus(step.consumed);
        }
        Ok(all)
    }
}

/// Opens the database and reads which run it holds, if any.
fn read(path: &Path) -> rusqlite::Result<(Connection, Option<String>)> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(SCHEMA)?;
    let held = connection.query_row("SELECT document FROM run", [], |row| row.get(0)).optional()?;
    Ok((connection, held))
}

fn texts(row: &rusqlite::Row<'_>) -> rusqlite::Result<[String; 3]> {
    Ok([row.get(0)?, row.get(1)?, row.get(2)?])
}

fn finished([output, consumed, rows]: [String; 3]) -> Result<Finished> {
    let broken = "the journal holds a step of another format";
    Ok(Finished {
        output,
        consumed: serde_json::from_str(&consumed).context(broken)?,
        rows: serde_json::from_str(&rows).context(broken)?,
    })
}
