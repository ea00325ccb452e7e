//! The cache on disk, in the layout of Python's `huggingface_hub`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::api::RemoteFile;
use super::digest::Content;
use super::id::{ModelId, RepoKind, is_commit, refused};
use super::model;
use super::place::{create_parent, place, place_text};
use super::record::Record;
use crate::{Error, Result};

/// A model at one revision in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedModel {
    /// `org/name`.
    pub repository: String,
    /// Commit.
    pub commit: String,
    /// Branches and tags that stood for it when they were fetched.
    pub references: Vec<String>,
    /// Bytes of its files.
    pub bytes: u64,
    /// What a student needs and is not there; empty for a usable model.
    pub missing: Vec<String>,
}

/// One repository in the cache.
pub(super) struct Store {
    folder: PathBuf,
    locks: PathBuf,
}

impl Store {
    pub(super) fn new(cache: &Path, kind: RepoKind, repository: &str) -> Self {
        let name = folder_name(kind, repository);
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    pub(super) fn blob(&self, content: &Content) -> PathBuf {
        self.folder.join("blobs").join(content.name())
    }

    pub(super) fn lock(&self, content: &Content) -> PathBuf {
        self.locks.join(format!("{}.lock", content.name()))
    }

    /// Writes down what was fetched, beside what was fetched of this commit before.
    pub(super) fn record(&self, record: &Record) -> Result<()> {
        let path = self.folder.join("fetched").join(format!("{}.json", record.commit));
        let before = std::fs::read(&path).ok().and_then(|json| serde_json::from_slice::<Record>(&json).ok());
        let mut all = record.clone();
        let is_new = |name: &str| record.files.iter().all(|file| file.file != name);
        all.files.extend(before.into_iter().flat_map(|before| before.files).filter(|file| is_new(&file.file)));
        place_text(&self.folder, &path, &all.json())
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Makes the snapshot of files whose blobs are all there. A new snapshot appears whole; one that is there gets what it
    /// lacks, in the order of `files`. The branch's name comes last.
    pub(super) fn publish(&self, commit: &str, revision: &str, files: &[&RemoteFile]) -> Result<PathBuf> {
        let snapshot = self.snapshot(commit);
        if !snapshot.exists() {
            let whole =
                place(&self.folder, &snapshot, |made| files.iter().try_for_each(|file| self.link(file, &made.join(&file.path))));
            // Another process may have been faster.
            whole.or_else(|error| if snapshot.is_dir() { Ok(()) } else { Err(error) })?;
        }
        for file in files {
            let path = snapshot.join(&file.path);
            if !std::fs::metadata(&path).is_ok_and(|found| found.len() == file.size) {
                place(&self.folder, &path, |made| self.link(file, made))?;
            }
        }
        if revision != commit {
            place_text(&self.folder, &self.folder.join("refs").join(revision), commit)?;
        }
        Ok(snapshot)
    }

    /// A link from a snapshot's file to its blob, relative so that the cache can be moved; a copy where links are refused.
    fn link(&self, file: &RemoteFile, path: &Path) -> Result<()> {
        create_parent(path)?;
        let up = "../".repeat(2 + file.path.matches('/').count());
        let target = format!("{up}blobs/{}", file.content.name());
        symlink(&target, path)
            .or_else(|_| std::fs::copy(self.blob(&file.content), path).map(drop))
            .map_err(|error| Error::write(path, error))
    }
}

#[cfg(unix)]
fn symlink(target: &str, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Elsewhere links need rights that users rarely have.
#[cfg(not(unix))]
fn symlink(_: &str, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn folder_name(kind: RepoKind, repository: &str) -> String {
    let kind = match kind {
        RepoKind::Model => "models",
        RepoKind::Dataset => "datasets",
    };
    format!("{kind}--{}", repository.replace('/', "--"))
}

pub(super) fn find_model(cache: &Path, id: &ModelId) -> Result<PathBuf> {
    let store = Store::new(cache, RepoKind::Model, id.repository());
    let fetch = format!("run `stepsynth data fetch {id}`");
    let absent = |why: String| refused(&format!("model `{id}`"), why, &fetch);
    let commit = match id.revision() {
        revision if is_commit(revision) => revision.to_owned(),
        revision => std::fs::read_to_string(store.folder.join("refs").join(revision)).unwrap_or_default().trim().to_owned(),
    };
    let snapshot = store.snapshot(&commit);
    if !is_commit(&commit) || !snapshot.is_dir() {
        // `org/name` and the bare name that a model had before are one to the hub and two to the cache.
        let name = |repository: &str| repository.rsplit('/').next().map(str::to_owned);
        let mut alike = list_models(cache)?.into_iter().filter(|model| name(&model.repository) == name(id.repository()));
        let alike = alike.next().map(|model| format!(" (but `{}@{}` is)", model.repository, model.commit));
        return Err(absent(format!("not in the cache {}{}", cache.display(), alike.unwrap_or_default())));
    }
    let missing = model::missing(&snapshot);
    if !missing.is_empty() {
        return Err(absent(format!("{} has no {}", snapshot.display(), missing.join(", no "))));
    }
    Ok(snapshot)
}

pub(super) fn list_models(cache: &Path) -> Result<Vec<CachedModel>> {
    let mut models = Vec::new();
    for folder in children(cache)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(repository) = name.strip_prefix("models--").map(|name| name.replace("--", "/")) else { continue };
        let mut references: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for path in files_below(&folder.join("refs"))? {
            let name = path.strip_prefix(folder.join("refs")).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            let commit = std::fs::read_to_string(&path).unwrap_or_default();
            references.entry(commit.trim().to_owned()).or_default().push(name);
        }
        for snapshot in children(&folder.join("snapshots"))?.into_iter().filter(|path| path.is_dir()) {
            let commit = snapshot.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !is_commit(&commit) {
                continue;
            }
            let sizes = files_below(&snapshot)?.into_iter().filter_map(|file| Some(std::fs::metadata(file).ok()?.len()));
            models.push(CachedModel {
                repository: repository.clone(),
                references: references.remove(&commit).unwrap_or_default(),
                commit,
                bytes: sizes.sum(),
                missing: model::missing(&snapshot),
            });
        }
    }
    Ok(models)
}

/// What is in a folder, by name; nothing if there is none.
fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(vec![]);
        }
        entries => entries,
    };
    let paths = entries.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>());
    let mut paths = paths.map_err(|source| Error::Io { path: folder.into(), source })?;
    paths.sort();
    Ok(paths)
}

/// The files of a folder and its folders, by name. Links to folders are not followed, so this ends.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for path in children(&folder)? {
            let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            if is_folder { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
