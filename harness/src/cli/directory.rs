//! Model directories that appear whole or not at all.

use std::path::Path;

use anyhow::{Context, Result};

use crate::failure::Failure;

/// The files that a model directory may hold. A directory with any other is never replaced.
const MODEL_FILES: [&str; 8] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "training.json",
    "README.md",
];

/// Checks that a model can be written to `directory`: it does not exist, is empty, or holds a model and nothing else and is to be
/// replaced.
///
/// # Errors
/// [`Failure::Usage`]; `option` is the argument that named the directory.
pub(super) fn check(directory: &Path, option: &str, replace: bool) -> Result<()> {
    let place = directory.display();
    let refuse = |why: String| Err(Failure::usage(format!("{option} {place}: {why}")));
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return refuse(format!("cannot be written to ({error}); name another directory")),
    };
    let names: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<std::io::Result<_>>()?;
    if names.is_empty() {
        return Ok(());
    }
    if !replace {
        return refuse("not empty; name another directory, or --force to replace a model".to_owned());
    }
    match names.iter().find(|name| !MODEL_FILES.contains(&name.as_str())) {
        Some(other) => {
            refuse(format!("holds `{other}`, which is no file of a model, so it is not replaced; name another directory"))
        }
        None => Ok(()),
    }
}

/// Has `fill` write a directory and gives it the name `directory`, which passes [`check`]. If anything fails on the way, nothing
/// is left behind and what was there stays.
pub(super) fn write(directory: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let place = || directory.display().to_string();
    let target = std::path::absolute(directory).with_context(place)?;
    let parent = target.parent().with_context(|| format!("{}: is no place for a model", directory.display()))?;
    std::fs::create_dir_all(parent).with_context(place)?;
    let beside = || tempfile::Builder::new().prefix(".stepsynth-").tempdir_in(parent).with_context(place);
    let fresh = beside()?;
    let model = fresh.path().join("model");
    std::fs::create_dir(&model).with_context(place)?;
    fill(&model)?;
    let old = fresh.path().join("old");
    let replaced = target.exists();
    if replaced {
        std::fs::rename(&target, &old).with_context(place)?;
    }
    if let Err(error) = std::fs::rename(&model, &target) {
        if replaced {
            std::fs::rename(&old, &target).with_context(place)?;
        }
        return Err(error).with_context(place);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_is_replaced_whole_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("deep/model");
        let put = |name: &'static str| move |directory: &Path| Ok(std::fs::write(directory.join(name), name)?);
        check(&target, "--to", false).unwrap();
        write(&target, put("config.json")).unwrap();
        assert_eq!(files(&target), ["config.json"]);
        assert_eq!(files(target.parent().unwrap()), ["model"]);

        assert!(check(&target, "--to", false).is_err());
        check(&target, "--to", true).unwrap();
        write(&target, put("vocab.txt")).unwrap();
        assert_eq!(files(&target), ["vocab.txt"]);

        let failed = write(&target, |directory| {
            std::fs::write(directory.join("config.json"), "half")?;
            anyhow::bail!("the disk is full")
        });
        assert!(failed.is_err());
        assert_eq!((files(&target), files(target.parent().unwrap())), (vec!["vocab.txt".into()], vec!["model".into()]));
    }

    #[test]
    fn what_is_no_model_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        std::fs::write(folder.path().join("thesis.tex"), "").unwrap();
        let error = check(folder.path(), "--to", true).unwrap_err().to_string();
        assert!(error.contains("holds `thesis.tex`"), "{error}");
        assert!(check(&folder.path().join("config.json"), "--to", true).is_err());
    }
}
