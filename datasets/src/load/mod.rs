//! Data files to examples: one reader a format makes rows (column -> value), one converter makes examples of them.

mod answers;
mod convert;
mod csv;
mod glue_tsv;
mod jsonl;
mod open;
mod parquet;
mod row;
mod s3;
mod squad;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use convert::{Converter, Fault};
use row::Rows;

pub(crate) use open::read_file;
pub use row::{BadRow, Place};

use crate::task::{Fields, Format, LabelOrder, Role, Source, TaskSpec};
use crate::{Error, Example, Result, hash};

/// What a caller may decide about reading files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadOptions {
    /// How many bad rows to leave out (each is reported); more than that is an error.
    pub max_bad_rows: usize,
    /// Which label each number means, where it goes before what the source states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_order: Option<LabelOrder>,
}

/// One file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The file as the source names it.
    pub file: PathBuf,
    /// SHA-256 (hex) of the file as it lies on disk.
    pub sha256: String,
    /// Examples it gave.
    pub rows: usize,
}

/// What a source gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The examples, in the order of the files.
    pub examples: Vec<Example>,
    /// The files.
    pub files: Vec<FileRecord>,
    /// Rows that were left out, at most `max_bad_rows`.
    pub bad_rows: Vec<BadRow>,
}

/// Reads the files of a source of rows that anyone may see, for example recorded synthetic rows. Gold data are read by
/// [`crate::load_splits`], which seals the test part.
///
/// # Errors
/// See [`Error`]: a file that is missing or not of its format, numbers without label order, too many bad rows, no rows at all.
pub fn read(task: &TaskSpec, source: &Source, data: &Path, options: &ReadOptions) -> Result<Loaded> {
    let mut loaded = Loaded { examples: Vec::new(), files: Vec::new(), bad_rows: Vec::new() };
    let order = options.label_order.as_ref().or(source.label_order.as_ref());
    let mut convert = Converter::new(task, order);
    for file in &source.files {
        let path = data.join(file);
        let (rows, sha256, fields) = read_rows(task, source, &path)?;
        let before = loaded.examples.len();
        loaded.bad_rows.extend(rows.bad);
        for row in rows.good {
            match convert.example(&row, &fields, file) {
                Ok(example) => loaded.examples.push(example),
                Err(Fault::Row { field, why }) => {
                    loaded.bad_rows.push(BadRow { file: path.clone(), place: row.place, field: Some(field), why });
                }
                Err(Fault::NumberWithoutOrder(number)) => {
                    let example = format!("{:?}", task.labels);
                    return Err(Error::NoLabelOrder { path, place: row.place.to_string(), number, example });
                }
            }
        }
        loaded.files.push(FileRecord { file: file.clone(), sha256, rows: loaded.examples.len() - before });
    }
    if loaded.bad_rows.len() > options.max_bad_rows {
        return Err(Error::BadRows { rows: loaded.bad_rows, allowed: options.max_bad_rows });
    }
    if loaded.examples.is_empty() {
        let path = source.files.first().map(|file| data.join(file)).unwrap_or_default();
        return Err(Error::Empty { path });
    }
    Ok(loaded)
}

/// The rows of one file, the file's hash, and the columns its roles are in.
fn read_rows(task: &TaskSpec, source: &Source, path: &Path) -> Result<(Rows, String, Fields)> {
    let known = || Format::ALL.map(Format::name).join(", ");
    let format = source.format.or_else(|| Format::of_name(path));
    let Some(format) = format else {
        return Err(Error::UnknownFormat { path: path.into(), known: known() });
    };
    let fields = match format {
        Format::Squad => squad::fields(),
        _ => source.fields.over(&task.fields),
    };
    if format == Format::Parquet {
        let required: Vec<&str> = Role::required(task.kind).iter().map(|role| fields.column(*role)).collect();
        let file = open::open(path, &source.obtain)?;
        return Ok((parquet::read(file, path, &required, fields.stated(Role::Id))?, hash::file(path)?, fields));
    }
    let raw = read_file(path, &source.obtain)?;
    let sha256 = raw.sha256();
    let text = raw.into_text(path)?;
    let rows = match format {
        Format::Jsonl => jsonl::read(&text, path),
        Format::Csv => csv::read(&text, path, b',')?,
        Format::Tsv => csv::read(&text, path, b'\t')?,
        Format::GlueTsv => glue_tsv::read(&text, path)?,
        Format::Squad => squad::read(&text, path)?,
        Format::S3 => s3::read(&text, path, task.kind, &fields)?,
        Format::Parquet => unreachable!("read above"),
    };
    Ok((rows, sha256, fields))
}

#[cfg(test)]
mod tests;
