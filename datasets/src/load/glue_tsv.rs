//! Tab-separated values as GLUE has them: a header, and no quoting at all.

use std::path::Path;

use serde_json::Value;

use super::csv::check_header;
use super::row::{BadRow, Place, Row, Rows};
use crate::{Error, Result};

pub(super) fn read(text: &str, path: &Path) -> Result<Rows> {
    let mut lines = text.lines().enumerate();
    let header: Vec<String> = lines.next().map_or("", |(_, line)| line).split('\t').map(|name| name.trim().to_owned()).collect();
    check_header(&header).map_err(|why| Error::Format {
        path: path.into(),
        why,
        remedy: "give each column a name of its own in the first line".into(),
    })?;
    let mut rows = Rows::default();
    for (index, line) in lines {
        if line.trim().is_empty() {
            continue;
        }
        let place = Place::Line(index + 1);
        let values: Vec<&str> = line.split('\t').collect();
        if values.len() == header.len() {
            let values = values.into_iter().map(|value| Value::String(value.to_owned()));
            rows.good.push(Row { place, fields: header.iter().cloned().zip(values).collect() });
        } else {
            let why = format!("{} fields, the header has {}", values.len(), header.len());
            rows.bad.push(BadRow { file: path.into(), place, field: None, why });
        }
    }
    Ok(rows)
}
