//! A row becomes an example, or says why it cannot.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::answers::answers;
use super::row::Row;
use crate::task::{Fields, Kind, LabelOrder, Role, TaskSpec, whole_number};
use crate::{Example, Input, Target};

/// Why a row gives no example.
pub(super) enum Fault {
    /// This row is bad.
    Row {
        /// Column.
        field: String,
        /// Reason.
        why: String,
    },
    /// The label is a number, and the meaning of numbers is not stated: no row of the file can be read.
    NumberWithoutOrder(i64),
}

pub(super) struct Converter<'a> {
    task: &'a TaskSpec,
    order: Option<&'a LabelOrder>,
    /// Id -> where it was first seen.
    ids: HashMap<String, String>,
}

impl<'a> Converter<'a> {
    pub(super) fn new(task: &'a TaskSpec, order: Option<&'a LabelOrder>) -> Self {
        Self { task, order, ids: HashMap::new() }
    }

    pub(super) fn example(&mut self, row: &Row, fields: &Fields, file: &Path) -> Result<Example, Fault> {
        let text = |role| text(row, fields.column(role));
        let (input, target) = match self.task.kind {
            Kind::Single => (Input::Single { text: text(Role::Text)? }, self.label(row, fields)?),
            Kind::Pair => (Input::Pair { text: text(Role::Text)?, text_pair: text(Role::TextPair)? }, self.label(row, fields)?),
            Kind::Qa => {
                let (question, context) = (text(Role::Question)?, text(Role::Context)?);
                let column = fields.column(Role::Answers);
                let answers = answers(value(row, column)?, &context).map_err(|why| fault(column, why))?;
                (Input::Qa { question, context }, Target::Answers(answers))
            }
        };
        let id = self.id(row, fields, file)?;
        Ok(Example { id, input, target })
    }

    fn label(&self, row: &Row, fields: &Fields) -> Result<Target, Fault> {
        let column = fields.column(Role::Label);
        let written = match value(row, column)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            other => return Err(fault(column, format!("is {}, not a label", kind_of(other)))),
        };
        // No label is a number, which the task's checks ensure, so what looks like one is never a name.
        let Some(number) = whole_number(&written) else {
            if let Some(label) = self.task.labels.iter().position(|name| *name == written) {
                return Ok(Target::Label(label));
            }
            return Err(fault(column, format!("`{written}` is not a label; labels are {}", self.task.labels.join(", "))));
        };
        let order = self.order.ok_or(Fault::NumberWithoutOrder(number))?;
        let name = order.name(number).ok_or_else(|| {
            let unlabelled = if number == -1 { " (-1 often marks unlabelled rows)" } else { "" };
            fault(column, format!("{number} is not in the label order {}{unlabelled}", order.describe()))
        })?;
        let label = self.task.labels.iter().position(|label| label == name);
        let label = label.ok_or_else(|| {
            let labels = self.task.labels.join(", ");
            fault(column, format!("the label order says {number} is `{name}`, which is not a label; labels are {labels}"))
        })?;
        Ok(Target::Label(label))
    }

    fn id(&mut self, row: &Row, fields: &Fields, file: &Path) -> Result<String, Fault> {
        let named = fields.stated(Role::Id).and_then(|column| Some((column, row.fields.get(column)?)));
        let Some((column, value)) = named else {
            return Ok(format!("{}:{}", file.display(), row.place.number()));
        };
        let id = match value {
            Value::String(text) if !text.trim().is_empty() => text.clone(),
            Value::Number(number) => number.to_string(),
            other => return Err(fault(column, format!("is {}, not a name", kind_of(other)))),
        };
        if let Some(first) = self.ids.get(&id) {
            return Err(fault(column, format!("`{id}` already names {first}")));
        }
        self.ids.insert(id.clone(), format!("{} {}", file.display(), row.place));
        Ok(id)
    }
}

fn value<'r>(row: &'r Row, column: &str) -> Result<&'r Value, Fault> {
    row.fields.get(column).ok_or_else(|| {
        let there: Vec<_> = row.fields.keys().map(String::as_str).collect();
        fault(column, format!("is missing; the row has {}", if there.is_empty() { "nothing".into() } else { there.join(", ") }))
    })
}

fn text(row: &Row, column: &str) -> Result<String, Fault> {
    match value(row, column)? {
        Value::String(text) if text.trim().is_empty() => Err(fault(column, "is empty".into())),
        Value::String(text) => Ok(text.clone()),
        other => Err(fault(column, format!("is {}, not text", kind_of(other)))),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "empty",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn fault(column: &str, why: String) -> Fault {
    Fault::Row { field: column.into(), why }
}
