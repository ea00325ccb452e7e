//! CSV and TSV with a header line; fields may be quoted, and a quoted field may hold line breaks.

use std::collections::BTreeSet;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};
use serde_json::Value;

use super::row::{BadRow, Place, Row, Rows};
use crate::{Error, Result};

pub(super) fn read(text: &str, path: &Path, delimiter: u8) -> Result<Rows> {
    let format_error = |why: String, remedy: &str| Error::Format { path: path.into(), why, remedy: remedy.into() };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(|name| name.trim().to_owned()).collect(),
        Err(error) => return Err(format_error(format!("the header line cannot be read ({error})"), "mend it")),
    };
    check_header(&header).map_err(|why| format_error(why, "give each column a name of its own in the first line"))?;
    let mut rows = Rows::default();
    let mut record = StringRecord::new();
    let (mut line, mut counted) = (1, 0);
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(format_error(format!("cannot be read ({error})"), "mend the file")),
        }
        let position = record.position().expect("a record that was read has a position");
        let start = usize::try_from(position.byte()).expect("within the text");
        let first = text.len() - text[start..].trim_start_matches(['\r', '\n']).len();
        line += text.as_bytes()[counted..first].iter().filter(|byte| **byte == b'\n').count();
        counted = first;
        let place = Place::Line(line);
        let next = usize::try_from(reader.position().byte()).expect("within the text");
        if next >= text.len() && ends_in_quotes(&text[start..], delimiter) {
            let why = "a quoted field is opened and never closed".into();
            rows.bad.push(BadRow { file: path.into(), place, field: None, why });
        } else if record.len() == header.len() {
            let values = record.iter().map(|value| Value::String(value.to_owned()));
            rows.good.push(Row { place, fields: header.iter().cloned().zip(values).collect() });
        } else {
            let why = format!("{} fields, the header has {}", record.len(), header.len());
            rows.bad.push(BadRow { file: path.into(), place, field: None, why });
        }
    }
    Ok(rows)
}

/// Names must be there and differ, or a value would be lost.
pub(super) fn check_header(header: &[String]) -> std::result::Result<(), String> {
    if header.iter().all(String::is_empty) {
        return Err("there is no header line".into());
    }
    let mut seen = BTreeSet::new();
    for name in header {
        if !seen.insert(name) {
            return Err(format!("the header names the column `{name}` twice"));
        }
    }
    Ok(())
}

/// Whether the text, a record from its start, ends within quotes: the reader takes everything after an unclosed quote as
/// one field, which would lose rows without a word.
fn ends_in_quotes(text: &str, delimiter: u8) -> bool {
    let (mut quoted, mut at_start) = (false, true);
    for byte in text.bytes() {
        match byte {
            b'"' if quoted => quoted = false,
            // A second quote inside a quoted field closes and opens again at once.
            b'"' if at_start => quoted = true,
            _ => {}
        }
        at_start = !quoted && (byte == delimiter || byte == b'\n' || byte == b'\r' || byte == b'"');
    }
    quoted
}
