//! What can go wrong with tasks and data files.

use std::path::PathBuf;

use crate::load::BadRow;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// How many bad rows an error message shows.
const SHOWN: usize = 5;

/// A task or a data file cannot be used. Each message names the file, the place in it, what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A data file is not there.
    #[error("{}: no such file{}", .path.display(), hint(.obtain))]
    Missing {
        /// The file.
        path: PathBuf,
        /// How to get it, where the task says so; else empty.
        obtain: String,
    },
    /// A directory stands where a file should.
    #[error("{}: a directory, not a file; name a file in it", .path.display())]
    IsDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: cannot be read: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file or folder cannot be written.
    #[error("{}: cannot be written: {source}{}", .path.display(), room(.source))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// What was asked of the hub is not to be had: a name, a revision, a file, a right.
    #[error("{what}: {why}; {remedy}")]
    HubRefused {
        /// The name or address.
        what: String,
        /// What is wrong with it.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// The network or a server does not deliver.
    #[error("{url}: {why}; {remedy}")]
    HubFailed {
        /// The address, without its query.
        url: String,
        /// The status or what else happened.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// A fetch was asked to stop.
    #[error("stopped; what has arrived is kept, run the same command to go on")]
    HubCancelled,
    /// A gzip file ends before its end.
    #[error("{}: the gzip data end early, after {bytes} bytes of text: the file is truncated; copy or download it again", .path.display())]
    TruncatedGzip {
        /// The file.
        path: PathBuf,
        /// Bytes that could be decompressed.
        bytes: usize,
    },
    /// A gzip file is damaged.
    #[error("{}: damaged gzip data ({why}); copy or download it again", .path.display())]
    DamagedGzip {
        /// The file.
        path: PathBuf,
        /// What the decompressor said.
        why: String,
    },
    /// A text file is not UTF-8.
    #[error("{}: line {line} is not UTF-8 (byte {column} of the line); convert the file, for example with `iconv -f latin1 -t utf-8`", .path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Byte in the line, from 1.
        column: usize,
    },
    /// The format can be read neither from the task nor from the file's name.
    #[error("{}: the name does not tell the format; state `format` as one of {known}", .path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The formats there are.
        known: String,
    },
    /// The file as a whole is not what its format says.
    #[error("{}: {why}; {remedy}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// Labels are numbers and nothing says what they mean.
    #[error(
        "{}: {place}: the label is the number {number} and nothing says which label that is; state \
         `label_order = {example}` (the names of 0, 1, ... in this file) beside the file in the task, or pass \
         `--label-order` to `data check`", .path.display()
    )]
    NoLabelOrder {
        /// The file.
        path: PathBuf,
        /// Line or row.
        place: String,
        /// The number.
        number: i64,
        /// The task's labels as a list, to show the form.
        example: String,
    },
    /// More bad rows than allowed.
    #[error("{}", bad_rows(.rows, *.allowed))]
    BadRows {
        /// All bad rows.
        rows: Vec<BadRow>,
        /// How many would have been allowed.
        allowed: usize,
    },
    /// A source has no rows.
    #[error("{}: no rows; a data file needs at least one", .path.display())]
    Empty {
        /// The (first) file.
        path: PathBuf,
    },
    /// A task file is not valid TOML or lacks or has fields it should not.
    #[error("{}: line {line}: {why}", .path.display())]
    SpecSyntax {
        /// The task file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The reader's reason.
        why: String,
    },
    /// A field of a task does not make sense.
    #[error("{}: field `{field}`: {why}; {remedy}", .path.display())]
    Spec {
        /// The task file.
        path: PathBuf,
        /// Field, dotted.
        field: String,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// Neither a built-in task nor a task file.
    #[error("no task `{name}`; built in are {known}; for a task of your own give the path of its TOML file")]
    UnknownTask {
        /// What was asked for.
        name: String,
        /// Built-in names.
        known: String,
    },
    /// The task has no gold files.
    #[error(
        "task `{task}` has no [gold] sources, so there are no files to read; state [gold.train] and [gold.test] in its TOML file"
    )]
    NoGold {
        /// The task.
        task: String,
    },
    /// Too little gold data to split.
    #[error(
        "task `{task}`: {rows} gold training rows are left to split into mine and select after dropping {dropped} that repeat \
         or occur in the test data; at least 2 are needed: add gold rows or use protocol `paper`"
    )]
    TooFewRows {
        /// The task.
        task: String,
        /// Rows left.
        rows: usize,
        /// Rows dropped.
        dropped: usize,
    },
}

impl Error {
    pub(crate) fn write(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Write { path: path.into(), source }
    }
}

/// What to do about a full disk.
fn room(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "; make room, or set HF_HUB_CACHE to a folder on another disk (what has arrived is kept)"
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "; name another folder (HF_HUB_CACHE for the cache), or mend its permissions"
        }
        _ => "",
    }
}

fn hint(obtain: &str) -> String {
    if obtain.is_empty() { "; check the path and the data folder".into() } else { format!("; {obtain}") }
}

fn bad_rows(rows: &[BadRow], allowed: usize) -> String {
    let plural = if rows.len() == 1 { "row" } else { "rows" };
    let mut text = format!(
        "{} bad {plural}, {allowed} allowed (mend them, or raise `max_bad_rows` in the spec or `--max-bad-rows` of `data check`):",
        rows.len()
    );
    for row in rows.iter().take(SHOWN) {
        text += &format!("\n  {row}");
    }
    if rows.len() > SHOWN {
        text += &format!("\n  and {} more", rows.len() - SHOWN);
    }
    text
}
