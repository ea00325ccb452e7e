//! `manifest.json`: what a run was made from.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::files;
use super::fingerprint::Fingerprint;
use super::spec::Spec;
use super::world::{TaskData, World};
use crate::teacher::Sources;

/// Name of the file in a run directory.
pub const FILE: &str = "manifest.json";

/// Commit of the program, empty if it was not built in a repository.
pub const COMMIT: &str = env!("STEPSYNTH_COMMIT");

/// Writes the manifest of a run into `directory`.
pub(super) fn write<'a>(
    directory: &Path,
    spec: &Spec,
    fingerprint: &Fingerprint,
    world: &dyn World,
    tasks: impl Iterator<Item = (&'a str, &'a TaskData, Sources)>,
    student: &BTreeMap<String, String>,
    command: &[String],
) -> Result<()> {
    let mut data = serde_json::Map::new();
    for (name, task, teacher) in tasks {
        data.insert(name.to_owned(), json!({ "sha256": task.hash, "task": task.spec, "gold": task.report, "teacher": teacher }));
    }
    let manifest = json!({
        "run_id": fingerprint.run_id(),
        "fingerprint": fingerprint.sha256,
        "spec": spec,
        "program": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION"), "commit": COMMIT },
        "device": world.device(),
        "system": { "os": std::env::consts::OS, "architecture": std::env::consts::ARCH },
        "data": data,
        "prompts": world.prompts(),
        "student_files": student,
        "command": command,
    });
    files::write_atomically(&directory.join(FILE), |out| {
        serde_json::to_writer_pretty(&mut *out, &manifest)?;
        out.write_all(b"\n")?;
        Ok(())
    })
}
