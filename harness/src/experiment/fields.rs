//! Reads TOML tables field by field, so that every fault names its file and field and says how to mend it.

use anyhow::Result;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::failure::Failure;

/// A table being read; every field taken is removed, and what is left at the end is unknown.
pub(super) struct Fields<'a> {
    place: &'a str,
    prefix: String,
    table: Table,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of `table`, which `place` (a file) holds under `prefix` (empty at the top).
    pub(super) fn new(place: &'a str, prefix: &str, table: Table) -> Self {
        Self { place, prefix: prefix.to_owned(), table, known: Vec::new() }
    }

    /// An error about `field`.
    pub(super) fn fault(&self, field: &str, message: impl std::fmt::Display) -> anyhow::Error {
        let field = if self.prefix.is_empty() { field.to_owned() } else { format!("{}.{field}", self.prefix) };
        Failure::usage(format!("{}: `{field}`: {message}", self.place))
    }

    /// Takes a field that may be absent. `remedy` says what it should look like.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, field: &'static str, remedy: &str) -> Result<Option<T>> {
        self.known.push(field);
        let Some(value) = self.table.remove(field) else { return Ok(None) };
        match decode(value) {
            Ok(value) => Ok(Some(value)),
            Err(message) => Err(self.fault(field, format!("{message}; {remedy}"))),
        }
    }

    /// Takes a field that must be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, field: &'static str, remedy: &str) -> Result<T> {
        match self.optional(field, remedy)? {
            Some(value) => Ok(value),
            None => Err(self.fault(field, format!("missing; {remedy}"))),
        }
    }

    /// Refuses what was not taken.
    pub(super) fn finish(self) -> Result<()> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(field) => Err(self.fault(field, format!("unknown field; known are {}", self.known.join(", ")))),
        }
    }
}

/// Decodes a value; the error is one line, with the path within the value in front.
pub(super) fn decode<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    value.try_into().map_err(|error: toml::de::Error| {
        let text = error.to_string();
        let inner = text.lines().find_map(|line| line.trim().strip_prefix("in ")).map(str::to_owned);
        match inner {
            Some(path) => format!("{path}: {}", error.message()),
            None => error.message().to_owned(),
        }
    })
}

/// Splits a table into its plain fields and, by name, its sub-tables.
pub(super) fn split_sub_tables(table: Table) -> (Table, Vec<(String, Table)>) {
    let (mut plain, mut tables) = (Table::new(), Vec::new());
    for (key, value) in table {
        match value {
            Value::Table(inner) => tables.push((key, inner)),
            other => {
                plain.insert(key, other);
            }
        }
    }
    (plain, tables)
}

/// Sets `path` (dotted keys, `method.0` or `method.LABEL` for an entry of an array) to `value` in `table`.
///
/// # Errors
/// A message without the place, if the path runs through something that is no table or array.
pub(super) fn set(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    let keys: Vec<&str> = path.split('.').collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(format!("`{path}` is not a dotted key"));
    }
    let (last, parents) = keys.split_last().ok_or("empty key")?;
    let mut at = table;
    for key in parents {
        let next = at.entry((*key).to_owned()).or_insert_with(|| Value::Table(Table::new()));
        at = match next {
            Value::Table(inner) => inner,
            Value::Array(_) => {
                return set_in_array(next, path, &keys[keys.iter().position(|k| k == key).unwrap_or(0) + 1..], value);
            }
            _ => return Err(format!("`{key}` in `{path}` is a value, not a table")),
        };
    }
    at.insert((*last).to_owned(), value);
    Ok(())
}

fn set_in_array(array: &mut Value, path: &str, rest: &[&str], value: Value) -> Result<(), String> {
    let Value::Array(items) = array else { return Err(format!("`{path}` names no array")) };
    let Some((entry, fields)) = rest.split_first() else { return Err(format!("`{path}` is not a dotted key")) };
    let labels: Vec<String> = items.iter().map(label).collect();
    let at = entry.parse::<usize>().ok().or_else(|| labels.iter().position(|label| label == entry));
    match at.and_then(|at| items.get_mut(at)) {
        Some(Value::Table(inner)) if !fields.is_empty() => set(inner, &fields.join("."), value),
        Some(_) => Err(format!("`{path}` should end in a field of `{entry}`")),
        None => Err(format!("`{entry}` in `{path}` is none of {}", labels.join(", "))),
    }
}

/// The label of a `[[method]]` entry, as `MethodOptions::label` has it.
fn label(item: &Value) -> String {
    let text = |key| item.get(key).and_then(Value::as_str).unwrap_or("");
    if text("variant").is_empty() { text("kind").to_owned() } else { format!("{}-{}", text("kind"), text("variant")) }
}
