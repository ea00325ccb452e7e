//! `stepsynth data list`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use indicatif::DecimalBytes;
use stepsynth_datasets::TaskSpec;
use stepsynth_datasets::hub::{CachedModel, Settings, cached_models};
use stepsynth_datasets::task::{GoldFiles, built_in};

use crate::cli::{print, task};

pub(super) fn list(data: &Path) -> Result<()> {
    let mut out = format!("tasks, files in {}\n", data.display());
    for name in built_in() {
        let _ = writeln!(out, "  {name:15} {}", files(&task::find(name)?, data));
    }
    let settings = Settings::from_environment().map_err(super::exit)?;
    let models = cached_models(&settings).map_err(super::exit)?;
    let _ = writeln!(out, "models in {}", settings.cache().display());
    if models.is_empty() {
        out += "  none; `stepsynth data fetch distilbert-base-uncased` fetches one\n";
    }
    for model in &models {
        let _ = writeln!(out, "  {}", line(model));
    }
    print(&out)
}

fn files(task: &TaskSpec, data: &Path) -> String {
    match (task.gold_files(data), &task.hub) {
        _ if task.gold.is_none() && task.hub.is_none() => "needs no files".into(),
        (GoldFiles::Stated, _) => "here".into(),
        (GoldFiles::Fetched, Some(source)) => format!("here, fetched from {}", source.repository),
        (_, Some(_)) => format!("not here; stepsynth data fetch {} --data {}", task.name, data.display()),
        (_, None) => "not here".into(),
    }
}

fn line(model: &CachedModel) -> String {
    let references = if model.references.is_empty() { String::new() } else { format!(" ({})", model.references.join(", ")) };
    let size = DecimalBytes(model.bytes);
    let missing =
        if model.missing.is_empty() { String::new() } else { format!(", not usable: no {}", model.missing.join(", no ")) };
    format!("{} {}{references}, {size}{missing}", model.repository, model.commit)
}
