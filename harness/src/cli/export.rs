//! `stepsynth export`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::{directory, model_card};
use crate::experiment::files;
use crate::experiment::settings::Precision;
use crate::failure::Failure;
use crate::student::{self, Device};

#[derive(Args)]
pub(super) struct ExportArguments {
    /// Directory of a trained model, for example RUN/models/TASK/METHOD/seed-0 of a run with --keep-models
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Directory to write
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Replace a model in that directory
    #[arg(long)]
    force: bool,
}

pub(super) fn export(arguments: &ExportArguments) -> Result<()> {
    let ExportArguments { model, to, force } = arguments;
    refuse_run(model)?;
    let saved = student::open(model, Device::Cpu, Precision::F32, None)?;
    directory::check(to, "--to", *force)?;
    let card = model_card::write(model, &saved)?;
    directory::write(to, |fresh| {
        saved.model.save(fresh)?;
        if let Some(training) = &saved.training {
            training.save(fresh)?;
        }
        files::write_atomically(&fresh.join("README.md"), |out| Ok(out.write_all(card.as_bytes())?))
    })?;
    eprintln!("exported to {}", to.display());
    Ok(())
}

/// A run directory holds many models.
fn refuse_run(directory: &Path) -> Result<()> {
    if directory.join("config.json").exists() || !directory.join("manifest.json").exists() {
        return Ok(());
    }
    let place = directory.display();
    let mut models = Vec::new();
    let mut folders = vec![directory.join("models")];
    while let Some(folder) = folders.pop() {
        if folder.join("config.json").exists() {
            models.push(folder.display().to_string());
            continue;
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    models.sort();
    Err(Failure::usage(match models.as_slice() {
        [] => format!("model {place}: a run that kept no models; run it with --keep-models"),
        _ => format!("model {place}: a run; name one of its models: {}", models.join(", ")),
    }))
}
