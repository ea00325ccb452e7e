//! What must hold of a spec beyond the types of its fields, checked before anything runs.

use anyhow::Result;
use stepsynth_datasets::{Kind, TaskSpec};

use super::fields::Fields;
use super::method_options::{MethodKind, MethodOptions, Size};
use super::spec::Spec;
use crate::failure::Failure;

/// Most rows that a field may ask for: far above what is run, far below what does not fit in memory.
pub(super) const MOST_ROWS: usize = 10_000_000;

/// Whether `name` can be a part of a path: a letter or digit, then letters, digits, `.`, `_` and `-`.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// What names look like, for messages.
pub(super) const NAME: &str = "use letters, digits, `-`, `_` and `.`, first a letter or digit";

/// What must hold across the fields of a spec, whose top level is `top`.
pub(super) fn check(spec: &Spec, top: &Fields<'_>) -> Result<()> {
    if !is_name(&spec.name) {
        return Err(top.fault("name", format!("is \"{}\"; {NAME}", spec.name)));
    }
    if spec.tasks.is_empty() {
        return Err(top.fault("tasks", "is empty; name at least one task"));
    }
    if let Some(task) = spec.tasks.iter().find(|task| !is_name(task)) {
        return Err(top.fault("tasks", format!("names \"{task}\"; {NAME}")));
    }
    if let Some(task) = repeated(&spec.tasks) {
        return Err(top.fault("tasks", format!("names {task} twice; name each task once")));
    }
    if spec.methods.is_empty() {
        return Err(top.fault("method", "is empty; add a `[[method]]` table"));
    }
    let labels: Vec<String> = spec.methods.iter().map(MethodOptions::label).collect();
    if let Some(label) = repeated(&labels) {
        return Err(top.fault("method", format!("has {label} twice; give each its own `variant`")));
    }
    if spec.seeds.is_empty() {
        return Err(top.fault("seeds", "is empty; name at least one seed"));
    }
    if let Some(seed) = repeated(&spec.seeds) {
        return Err(top.fault("seeds", format!("names {seed} twice; name each seed once")));
    }
    if let Some(seed) = spec.seeds.iter().find(|&&seed| i64::try_from(seed).is_err()) {
        return Err(top.fault("seeds", format!("names {seed}; the largest seed is {}", i64::MAX)));
    }
    if spec.jobs == 0 {
        return Err(top.fault("jobs", "is 0; use at least 1"));
    }
    if !["simulated", "replay"].contains(&spec.teacher.kind.as_str()) {
        return Err(top.fault("teacher.kind", format!("is \"{}\"; this program has simulated and replay", spec.teacher.kind)));
    }
    for (at, method) in spec.methods.iter().enumerate() {
        if let Some((field, message)) = method_fault(method, spec) {
            return Err(top.fault(&format!("method.{at}.{field}"), message));
        }
    }
    Ok(())
}

/// What must hold of a spec together with one of its tasks.
///
/// # Errors
/// [`Failure::Usage`] naming task, field, fault and remedy.
pub(crate) fn check_task(spec: &Spec, task: &TaskSpec) -> Result<()> {
    let fault = |message: String| Err(Failure::usage(format!("task {}: {message}", task.name)));
    for (at, method) in spec.methods.iter().enumerate() {
        let named = method.rationales && matches!(method.kind, MethodKind::S3 | MethodKind::GoldGen);
        if named && spec.teacher.kind == "replay" && task.kind == Kind::Single {
            return fault(format!(
                "`method.{at}.rationales` is true, but a replay teacher has no rationales; set rationales = false"
            ));
        }
    }
    match spec.train.get(&task.name) {
        // [CLS] question [SEP] context [SEP] with a token of each.
        Some(train) if task.kind == Kind::Qa && train.max_length < 5 => {
            fault(format!("`train.max_length`: is {}; question answering needs at least 5 tokens", train.max_length))
        }
        _ => Ok(()),
    }
}

/// The first field that is outside its range, with the reason.
pub(super) fn out_of_range(ranges: &[(&'static str, usize, std::ops::RangeInclusive<usize>)]) -> Option<(&'static str, String)> {
    let (field, value, range) = ranges.iter().find(|(_, value, range)| !range.contains(value))?;
    let remedy = if *range.start() == 0 || value >= range.start() {
        format!("at most {}", range.end())
    } else {
        format!("at least {}", range.start())
    };
    Some((field, format!("is {value}; use {remedy}")))
}

fn method_fault(method: &MethodOptions, spec: &Spec) -> Option<(&'static str, String)> {
    if !method.variant.is_empty() && !is_name(&method.variant) {
        return Some(("variant", format!("is \"{}\"; {NAME}", method.variant)));
    }
    if method.rationales && (method.rationale_count == 0 || method.rationales_per_prompt == 0) {
        return Some(("rationales", "is true but no rationales are asked for; set rationales = false".to_owned()));
    }
    let size = if let Some(Size::Rows(rows)) = method.size { rows } else { 1 };
    let ranges = [
        ("seed_rows", method.seed_rows, 1..=MOST_ROWS),
        ("size", size, 1..=MOST_ROWS),
        ("rounds", method.rounds, 0..=100),
        ("per_error", method.per_error, 1..=100),
        ("rationale_count", method.rationale_count, 0..=1000),
        ("rationales_per_prompt", method.rationales_per_prompt, 0..=1000),
        ("retries", method.retries, 0..=100),
    ];
    if let Some(fault) = out_of_range(&ranges) {
        return Some(fault);
    }
    if let Some(below) = method.wrong_below_f1.filter(|below| !(*below > 0.0 && *below <= 1.0)) {
        return Some(("wrong_below_f1", format!("is {below}; use more than 0 and at most 1")));
    }
    if method.kind == MethodKind::ZeroGen && method.additional && spec.teacher.kind != "replay" {
        let message = "is true, but only a replay teacher has such rows; set it to false or teacher.kind to \"replay\"";
        return Some(("additional", message.to_owned()));
    }
    match &method.size {
        Some(Size::Rows(rows)) if method.kind == MethodKind::GoldGen && method.seed_rows > *rows => {
            Some(("seed_rows", format!("is {}, more than `size`, {rows}; lower it", method.seed_rows)))
        }
        Some(Size::As(label)) => match spec.methods.iter().find(|other| other.label() == *label) {
            None => Some(("size", format!("\"as-{label}\" names no method here; add a [[method]] {label} or write a number"))),
            Some(other) if matches!(other.size, Some(Size::As(_))) => {
                Some(("size", format!("\"as-{label}\" names a method whose own size depends on another; write a number")))
            }
            Some(_) => None,
        },
        _ => None,
    }
}

fn repeated<T: PartialEq>(items: &[T]) -> Option<&T> {
    items.iter().enumerate().find(|(at, item)| items[..*at].contains(item)).map(|(_, item)| item)
}
