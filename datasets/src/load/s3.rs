//! The S3 release's JSON: an object a line, a list of objects, or a list of columns. A pair is `text1` (the given premise or
//! paragraph) and `text2` (the written hypothesis or question), a single text is `text`; labels are numbers.

use std::path::Path;

use serde_json::{Map, Value};

use super::jsonl;
use super::row::{BadRow, Place, Row, Rows};
use crate::task::{Fields, Kind, Role};
use crate::{Error, Result};

pub(super) fn read(text: &str, path: &Path, kind: Kind, fields: &Fields) -> Result<Rows> {
    let mut rows = if text.trim_start().starts_with('[') { document(text, path, kind)? } else { jsonl::read(text, path) };
    for row in &mut rows.good {
        rename(&mut row.fields, "text1", fields.column(Role::TextPair));
        rename(&mut row.fields, "text2", fields.column(Role::Text));
        rename(&mut row.fields, "text", fields.column(Role::Text));
        rename(&mut row.fields, "label", fields.column(Role::Label));
    }
    Ok(rows)
}

/// The names of the release become the task's, so that one converter serves all formats.
fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if !fields.contains_key(to)
        && let Some(value) = fields.remove(from)
    {
        fields.insert(to.into(), value);
    }
}

fn document(text: &str, path: &Path, kind: Kind) -> Result<Rows> {
    let fault = |why: String| Error::Format {
        path: path.into(),
        why,
        remedy: "expected is an object a line, a list of objects, or a list of columns of one length".into(),
    };
    let items: Vec<Value> = serde_json::from_str(text).map_err(|error| fault(format!("not a JSON list ({error})")))?;
    if items.first().is_some_and(Value::is_array) { columns(items, kind).map_err(fault) } else { Ok(objects(items, path)) }
}

fn objects(items: Vec<Value>, path: &Path) -> Rows {
    let mut rows = Rows::default();
    for (index, item) in items.into_iter().enumerate() {
        let place = Place::Row(index + 1);
        match item {
            Value::Object(fields) => rows.good.push(Row { place, fields }),
            _ => rows.bad.push(BadRow { file: path.into(), place, field: None, why: "not a JSON object".into() }),
        }
    }
    rows
}

fn columns(items: Vec<Value>, kind: Kind) -> std::result::Result<Rows, String> {
    let names: &[&str] = match kind {
        Kind::Single => &["text", "label"],
        Kind::Pair => &["text1", "text2", "label"],
        Kind::Qa => return Err("columns are not known for question answering".into()),
    };
    if items.len() != names.len() {
        return Err(format!("{} columns, expected {} ({})", items.len(), names.len(), names.join(", ")));
    }
    let mut columns = Vec::new();
    for (item, name) in items.into_iter().zip(names) {
        let Value::Array(values) = item else { return Err(format!("column `{name}` is not a list")) };
        columns.push(values.into_iter());
    }
    let lengths: Vec<usize> = columns.iter().map(ExactSizeIterator::len).collect();
    if lengths.iter().any(|length| *length != lengths[0]) {
        return Err(format!("columns of {lengths:?} rows"));
    }
    let mut rows = Rows::default();
    for row in 1..=lengths[0] {
        let values = columns.iter_mut().filter_map(Iterator::next);
        let fields = names.iter().map(|name| (*name).to_owned()).zip(values).collect();
        rows.good.push(Row { place: Place::Row(row), fields });
    }
    Ok(rows)
}
