//! What makes two runs the same run.
//!
//! A fingerprint is the SHA-256 of a canonical JSON document (keys sorted, no spaces) with the scheme's version in it. Fields
//! that cannot change a result are left out, by the list [`EXCLUDED`].

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stepsynth_datasets::TaskSpec;

use super::spec::Spec;

/// Version of the document below; a change of its shape is a new version.
const SCHEME: u32 = 2;

/// Fields of a [`Spec`] that change no result: `jobs` only orders the work, and `data` and `task_files` are where files are, whose
/// contents are in the document.
pub const EXCLUDED: [&str; 3] = ["jobs", "data", "task_files"];

/// What a run reads, apart from its spec.
#[derive(Clone, Debug, Serialize)]
pub struct Inputs {
    /// By name.
    pub tasks: BTreeMap<String, TaskInputs>,
    /// Prompt templates, `id@version` to SHA-256.
    pub prompts: Value,
    /// SHA-256 of the student's files, by name.
    pub student: BTreeMap<String, String>,
}

/// What a run reads for one task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskInputs {
    /// The task.
    pub spec: TaskSpec,
    /// SHA-256 of its gold data.
    pub data: String,
    /// SHA-256 of the files that its teacher reads, in order.
    pub recordings: Vec<String>,
}

/// A run's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Canonical JSON.
    pub document: String,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
}

impl Fingerprint {
    /// Of a spec on a device, with what it reads.
    pub fn new(spec: &Spec, device: &str, inputs: &Inputs) -> Result<Self> {
        let mut fields = serde_json::to_value(spec)?;
        if let Value::Object(fields) = &mut fields {
            EXCLUDED.iter().for_each(|field| {
                fields.remove(*field);
            });
        }
        let document = json!({
            "scheme": SCHEME,
            "program": env!("CARGO_PKG_VERSION"),
            "device": device,
            "inputs": inputs,
            "spec": fields,
        })
        .to_string();
        let sha256 = Sha256::digest(document.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { document, sha256 })
    }

    /// Short name of the run, a column of its results.
    pub fn run_id(&self) -> &str {
        &self.sha256[..12]
    }
}

/// The first place where two documents differ: its path and both values there.
pub fn difference(was: &str, is: &str) -> Option<String> {
    let (was, is): (Value, Value) = (serde_json::from_str(was).ok()?, serde_json::from_str(is).ok()?);
    first_difference("", &was, &is)
}

fn first_difference(path: &str, was: &Value, is: &Value) -> Option<String> {
    let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (was, is) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                first_difference(&inner(key), a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(at, (a, b))| first_difference(&inner(&at.to_string()), a, b))
        }
        _ if was == is => None,
        _ => Some(format!("`{}` was {was} and is {is}", path.strip_prefix("spec.").unwrap_or(path))),
    }
}
