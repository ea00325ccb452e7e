//! The files of a task's `[hub]` section.

use std::path::Path;

use super::api::RemoteFile;
use super::cache::Store;
use super::id::{RepoKind, refused};
use super::place::{place_copy, place_text};
use super::{Fetched, Hub, Watch};
use crate::{Result, TaskSpec};

pub(super) fn fetch(hub: &Hub, task: &TaskSpec, data: &Path, watch: &dyn Watch) -> Result<Fetched> {
    let Some(source) = &task.hub else {
        let why = "its file has no [hub] section, so nothing is known to fetch".to_owned();
        return Err(refused(&format!("task `{}`", task.name), why, "see `stepsynth task show` for the files it reads"));
    };
    let remote = hub.remote(RepoKind::Dataset, &source.repository)?;
    let store = Store::new(hub.settings.cache(), RepoKind::Dataset, &source.repository);
    let listing = remote.list(&source.revision, watch)?;
    let mut files: Vec<(&RemoteFile, &str)> = Vec::new();
    for (path, local) in source.train.iter().chain(&source.test) {
        let found = listing.files.get(path).ok_or_else(|| {
            let what = format!("data set `{}` at {}", source.repository, listing.commit);
            refused(&what, format!("there is no file `{path}`"), &format!("correct [hub] of task `{}`", task.name))
        });
        files.push((found?, local));
    }
    let wanted: Vec<&RemoteFile> = files.iter().map(|(file, _)| *file).collect();
    let fetched = hub.bring(&remote, &store, &listing, &source.revision, &wanted, watch)?;
    for (file, local) in files {
        place_copy(&store.blob(&file.content), &data.join(local))?;
    }
    place_text(data, &data.join(format!("{}.fetched.json", task.name)), &fetched.record.json())?;
    Ok(Fetched { folder: data.into(), ..fetched })
}
