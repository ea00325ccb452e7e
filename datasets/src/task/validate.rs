//! Does a task make sense?

use std::collections::BTreeSet;
use std::path::Path;

use super::{Fields, Kind, Metric, Role, Source, TaskSpec, hub, whole_number};
use crate::{Error, Result};

/// Checks what the types cannot say; the first fault is the error.
pub(super) fn validate(task: &TaskSpec, path: &Path) -> Result<()> {
    let fault = |field: &str, why: String, remedy: String| Error::Spec { path: path.into(), field: field.into(), why, remedy };
    check_name(task).map_err(|(why, remedy)| fault("name", why, remedy))?;
    check_labels(task).map_err(|(field, why, remedy)| fault(field, why, remedy))?;
    check_metric(task).map_err(|(why, remedy)| fault("metric", why, remedy))?;
    check_fields(task, "fields", &task.fields).map_err(|(field, why, remedy)| fault(&field, why, remedy))?;
    if let Some(gold) = &task.gold {
        for (part, source) in [("train", &gold.train), ("test", &gold.test)] {
            check_source(task, &format!("gold.{part}"), source).map_err(|(field, why, remedy)| fault(&field, why, remedy))?;
        }
    }
    if let Some(source) = &task.hub {
        hub::check(source).map_err(|(field, why, remedy)| fault(field, why, remedy))?;
        check_source(task, "hub", &source.gold().train).map_err(|(field, why, remedy)| fault(&field, why, remedy))?;
    }
    for (field, size) in [("split.mine", task.split.mine), ("split.select", task.split.select)] {
        if size == 0 {
            return Err(fault(field, "must not be 0".into(), "state at least 1 row".into()));
        }
    }
    Ok(())
}

fn check_name(task: &TaskSpec) -> std::result::Result<(), (String, String)> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if task.name.is_empty() || !task.name.chars().all(allowed) {
        return Err((
            format!("`{}` cannot be part of a path of results", task.name),
            "use lower-case letters, digits, `-` and `_`".into(),
        ));
    }
    Ok(())
}

fn check_labels(task: &TaskSpec) -> std::result::Result<(), (&'static str, String, String)> {
    if task.kind == Kind::Qa {
        for (field, list) in [("labels", &task.labels), ("label_words", &task.label_words)] {
            if !list.is_empty() {
                return Err((field, "a `qa` task answers with spans and has no labels".into(), "remove the field".into()));
            }
        }
        return Ok(());
    }
    if task.labels.len() < 2 {
        return Err((
            "labels",
            format!("{} given, at least 2 are needed", task.labels.len()),
            "name every label in order".into(),
        ));
    }
    for (field, list) in [("labels", &task.labels), ("label_words", &task.label_words)] {
        let mut seen = BTreeSet::new();
        for name in list {
            if name.trim().is_empty() || name.trim() != name {
                return Err((field, format!("`{name}` is empty or has spaces around it"), "write each name without them".into()));
            }
            if !seen.insert(name) {
                return Err((field, format!("`{name}` occurs twice"), "give each label its own".into()));
            }
        }
    }
    if let Some(name) = task.labels.iter().find(|name| whole_number(name).is_some()) {
        return Err((
            "labels",
            format!("`{name}` is a number, which in a data file stands for a label by its `label_order`"),
            "name the label by a word".into(),
        ));
    }
    if !task.label_words.is_empty() && task.label_words.len() != task.labels.len() {
        let (words, labels) = (task.label_words.len(), task.labels.len());
        return Err((
            "label_words",
            format!("{words} words for {labels} labels"),
            "give one word for each label, or none".into(),
        ));
    }
    Ok(())
}

fn check_metric(task: &TaskSpec) -> std::result::Result<(), (String, String)> {
    let of_spans = matches!(task.metric, Metric::ExactMatch | Metric::F1);
    match (task.kind, of_spans) {
        (Kind::Qa, false) => Err(("a `qa` task has no labels to count".into(), "use exact_match or f1".into())),
        (Kind::Single | Kind::Pair, true) => {
            Err(("a task with labels has no answer spans".into(), "use accuracy or macro_f1".into()))
        }
        _ => Ok(()),
    }
}

fn check_fields(task: &TaskSpec, table: &str, fields: &Fields) -> std::result::Result<(), (String, String, String)> {
    let required = Role::required(task.kind);
    for role in Role::ALL {
        let Some(column) = fields.stated(role) else { continue };
        let field = format!("{table}.{role}");
        if role != Role::Id && !required.contains(&role) {
            let names: Vec<_> = required.iter().map(|r| r.name()).collect();
            let why = format!("a `{}` task has no such role", kind_name(task.kind));
            return Err((field, why, format!("its roles are {} and id", names.join(", "))));
        }
        if column.is_empty() {
            return Err((field, "names no column".into(), "name one or remove the field".into()));
        }
    }
    Ok(())
}

fn check_source(task: &TaskSpec, table: &str, source: &Source) -> std::result::Result<(), (String, String, String)> {
    if source.files.is_empty() {
        return Err((format!("{table}.files"), "names no file".into(), "name at least one".into()));
    }
    check_fields(task, &format!("{table}.fields"), &source.fields)?;
    if let Some(order) = &source.label_order {
        let (stated, labels): (BTreeSet<_>, BTreeSet<_>) =
            (order.names().collect(), task.labels.iter().map(String::as_str).collect());
        if stated != labels {
            let why = format!("names {}, the labels are {}", list(&stated), list(&labels));
            return Err((format!("{table}.label_order"), why, "name every label once, as in `labels`".into()));
        }
    }
    Ok(())
}

fn list(names: &BTreeSet<&str>) -> String {
    if names.is_empty() { "none".into() } else { names.iter().copied().collect::<Vec<_>>().join(", ") }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Single => "single",
        Kind::Pair => "pair",
        Kind::Qa => "qa",
    }
}
