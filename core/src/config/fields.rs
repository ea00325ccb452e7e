//! Typed access to the fields of a `config.json`.

use serde_json::{Map, Value};

use super::json::default_label;
use super::{Family, MAX_LABELS};
use crate::{Error, Result, file};

/// A JSON object with errors that name the field. A null field counts as absent, as in transformers.
pub(super) struct Fields<'a> {
    pub(super) map: &'a Map<String, Value>,
    pub(super) place: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn fail(&self, field: &str, message: impl std::fmt::Display) -> Error {
        Error::Config { place: self.place.to_owned(), message: file::printable(&format!("{field} {message}")) }
    }

    /// Which family `model_type` names.
    pub(super) fn family(&self) -> Result<Family> {
        if self.get("model_type").is_none() && self.get("hidden_size").is_some() && self.get("num_hidden_layers").is_some() {
            return Err(self.fail("model_type", "is missing; if this is an old BERT, add \"model_type\": \"bert\" to the file"));
        }
        match self.required_text("model_type")? {
            "distilbert" => Ok(Family::DistilBert),
            "bert" => Ok(Family::Bert),
            other => Err(self.fail("model_type", format_args!("{other:?} is not supported; use \"distilbert\" or \"bert\""))),
        }
    }

    pub(super) fn required_text(&self, field: &str) -> Result<&'a str> {
        let value = self.get(field).ok_or_else(|| self.fail(field, "is missing"))?;
        value.as_str().ok_or_else(|| self.fail(field, format_args!("must be a text, is {value}")))
    }

    pub(super) fn text(&self, field: &str, default: &'a str) -> Result<&'a str> {
        if self.get(field).is_none() { Ok(default) } else { self.required_text(field) }
    }

    pub(super) fn must_be_text(&self, field: &str, only: &'a str) -> Result<()> {
        match self.text(field, only)? {
            value if value == only => Ok(()),
            other => Err(self.fail(field, format_args!("{other:?} is not supported; only {only:?} is"))),
        }
    }

    pub(super) fn must_be_false(&self, field: &str) -> Result<()> {
        match self.get(field) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(value) => Err(self.fail(field, format_args!("{value} is not supported; only false is"))),
        }
    }

    pub(super) fn required_size(&self, field: &str) -> Result<usize> {
        let value = self.get(field).ok_or_else(|| self.fail(field, "is missing"))?;
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| self.fail(field, format_args!("must be a whole number, is {value}")))
    }

    pub(super) fn size(&self, field: &str, default: usize) -> Result<usize> {
        if self.get(field).is_none() { Ok(default) } else { self.required_size(field) }
    }

    pub(super) fn number(&self, field: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_f64().ok_or_else(|| self.fail(field, format_args!("must be a number, is {value}")))
    }

    /// Label names in order; `LABEL_0`, `LABEL_1`, ... (`num_labels`, or two) where `id2label` is absent.
    pub(super) fn labels(&self) -> Result<Vec<String>> {
        let Some(value) = self.get("id2label") else {
            let count = self.size("num_labels", 2)?;
            if count > MAX_LABELS {
                return Err(self.fail("num_labels", format_args!("is {count}, must be at most {}", MAX_LABELS)));
            }
            return Ok((0..count).map(default_label).collect());
        };
        let map = value.as_object().ok_or_else(|| self.fail("id2label", "must be an object from id to name"))?;
        let names: Vec<String> = (0..map.len())
            .map(|id| {
                let name = map.get(&id.to_string()).and_then(Value::as_str);
                name.map(str::to_owned)
                    .ok_or_else(|| self.fail("id2label", format_args!("has no name for id {id}; ids must run from 0")))
            })
            .collect::<Result<_>>()?;
        if let Some(value) = self.get("label2id") {
            let map = value.as_object().ok_or_else(|| self.fail("label2id", "must be an object from name to id"))?;
            for (id, name) in names.iter().enumerate() {
                if map.get(name).and_then(Value::as_u64) != Some(id as u64) {
                    return Err(self.fail("label2id", format_args!("does not map {name:?} to {id} as id2label does")));
                }
            }
            if map.len() != names.len() {
                return Err(self.fail("label2id", format_args!("has {} names, id2label has {}", map.len(), names.len())));
            }
        }
        Ok(names)
    }
}
