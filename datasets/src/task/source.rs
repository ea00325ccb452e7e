//! Where a task's gold data are and how they are split.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Fields, LabelOrder};

/// The gold data of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gold {
    /// Mined for errors and used to choose the best epoch, as the protocol says.
    pub train: Source,
    /// Scored only; [`crate::load_splits`] alone reads it, and seals what it read.
    pub(crate) test: Source,
}

/// Files that are read as one list of examples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The files, relative to the data folder (an absolute path stays as it is).
    pub files: Vec<PathBuf>,
    /// Format of all the files; absent, the name tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Which label each number in these files means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_order: Option<LabelOrder>,
    /// Columns of these files that differ from the task's.
    #[serde(default)]
    pub fields: Fields,
    /// How to get the files, shown when one is missing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub obtain: String,
}

impl Source {
    /// One file, format by its name, columns as in the task.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { files: vec![path.into()], ..Self::default() }
    }
}

/// A format of data files. Every one but Parquet may be gzipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated with a header; fields may be quoted.
    Csv,
    /// Tab-separated with a header; fields may be quoted.
    Tsv,
    /// Tab-separated with a header as in GLUE: a quote is a letter like any other.
    GlueTsv,
    /// SQuAD v1.1 JSON.
    Squad,
    /// JSON as the S3 release has it: objects or arrays with `text1` (given) and `text2` (written).
    S3,
    /// Parquet.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] = [Self::Jsonl, Self::Csv, Self::Tsv, Self::GlueTsv, Self::Squad, Self::S3, Self::Parquet];

    /// The name in a task file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::GlueTsv => "glue-tsv",
            Self::Squad => "squad",
            Self::S3 => "s3",
            Self::Parquet => "parquet",
        }
    }

    /// The format a file's name tells; `.json` and unknown endings tell none.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        match name.trim_end_matches(".gz").rsplit_once('.')?.1 {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Rows of the gold training data that become mine and select under protocol `clean`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitSizes {
    /// Rows mined for errors.
    pub mine: usize,
    /// Rows that choose the best epoch.
    pub select: usize,
}

impl Default for SplitSizes {
    fn default() -> Self {
        Self { mine: 1000, select: 1000 }
    }
}
