//! JSON lines: an object a line; empty lines are skipped.

use std::path::Path;

use serde_json::{Map, Value};

use super::row::{BadRow, Place, Row, Rows};

pub(super) fn read(text: &str, path: &Path) -> Rows {
    let mut rows = Rows::default();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = Place::Line(index + 1);
        match serde_json::from_str::<Map<String, Value>>(line) {
            Ok(fields) => rows.good.push(Row { place, fields }),
            Err(error) => rows.bad.push(BadRow { file: path.into(), place, field: None, why: explain(line, &error) }),
        }
    }
    rows
}

fn explain(line: &str, error: &serde_json::Error) -> String {
    if error.is_data() {
        let first: String = line.trim_start().chars().take(20).collect();
        return format!("not a JSON object: `{first}`");
    }
    if error.is_eof() {
        return "the JSON object is not finished; an object must stand on one line".into();
    }
    format!("not valid JSON at column {}", error.column())
}
