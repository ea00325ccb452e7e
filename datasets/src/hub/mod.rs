//! Models and data sets from the Hugging Face hub, over plain synchronous HTTP.
//!
//! A branch is resolved to a commit once and every file is then fetched by that commit. What arrives is checked against the
//! hash the hub's file list states (SHA-256 of large files, the git blob id of the others) before it gets its name. Files land
//! in the cache that Python's `huggingface_hub` uses, in the same layout, so either side finds what the other fetched:
//! ```text
//! models--org--name/blobs/<hash>                          the content; `<hash>.incomplete` while it arrives
//! models--org--name/snapshots/<commit>/<path>             a link to the blob
//! models--org--name/refs/<branch>                         the commit the branch stood for
//! models--org--name/fetched/<commit>.json                 what this program fetched
//! .locks/models--org--name/<hash>.lock                    held while a blob arrives
//! ```

mod api;
mod cache;
mod client;
mod digest;
mod download;
mod id;
mod model;
mod place;
mod record;
mod retry;
mod settings;
mod task;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Result, TaskSpec};
use api::{Listing, Remote, RemoteFile};
use cache::Store;
use client::Client;

pub use cache::CachedModel;
pub use id::{ModelId, RepoKind};
pub(crate) use id::{check_file, check_repository, check_revision};
pub use record::{FetchedFile, Record};
pub use settings::{Limits, Settings};

/// What a fetch tells while it runs, and asks.
pub trait Watch {
    /// Whether to stop; what has arrived is kept for the next fetch.
    fn cancelled(&self) -> bool {
        false
    }

    /// Something happened.
    fn event(&self, _: Event<'_>) {}
}

/// A watcher that says nothing and never stops a fetch.
impl Watch for () {}

/// What happens in a fetch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// The file list is known: so much has to be there in the end.
    Planned {
        /// Files.
        files: usize,
        /// Bytes of all of them.
        bytes: u64,
    },
    /// So much of a file is there. It may fall back when the content has to be fetched anew.
    Progress {
        /// Path in the repository.
        file: &'a str,
        /// Bytes on disk.
        done: u64,
        /// Bytes in all.
        size: u64,
    },
    /// The fetch pauses, before another attempt or for another process.
    Waiting {
        /// Why.
        why: &'a str,
        /// How long, where that is known.
        pause: Option<Duration>,
    },
}

/// What a fetch gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The folder that holds the files.
    pub folder: PathBuf,
    /// What is in it and where it is from.
    pub record: Record,
}

/// The hub, as the environment describes it.
pub struct Hub {
    settings: Settings,
    client: Client,
}

impl Hub {
    /// A client for these settings.
    pub fn new(settings: Settings) -> Self {
        let client = Client::new(&settings);
        Self { settings, client }
    }

    /// Fetches a model's configuration, weights (safetensors, sharded or not) and tokenizer files into the cache; what is
    /// there already is not fetched again. With `to`, a copy of the files goes to that folder, which must not exist or be
    /// empty and appears only when it is complete.
    ///
    /// # Errors
    /// [`crate::Error::HubRefused`] if the model, the revision or a file it needs is not to be had, [`crate::Error::HubFailed`]
    /// if the network or the server does not deliver, [`crate::Error::Write`], [`crate::Error::HubCancelled`].
    pub fn fetch_model(&self, id: &ModelId, to: Option<&Path>, watch: &dyn Watch) -> Result<Fetched> {
        model::fetch(self, id, to, watch)
    }

    /// Fetches the files of a task's `[hub]` section, through the cache, into the data folder.
    ///
    /// # Errors
    /// As [`Hub::fetch_model`]; [`crate::Error::HubRefused`] also if the task has no such section.
    pub fn fetch_task(&self, task: &TaskSpec, data: &Path, watch: &dyn Watch) -> Result<Fetched> {
        task::fetch(self, task, data, watch)
    }

    fn remote<'a>(&'a self, kind: RepoKind, name: &'a str) -> Result<Remote<'a>> {
        if self.settings.offline() {
            let why = "HF_HUB_OFFLINE is set, so nothing is fetched".to_owned();
            return Err(id::refused(&format!("`{name}`"), why, "unset it; models in the cache are used without fetching"));
        }
        id::check_repository(name)?;
        Ok(Remote { client: &self.client, limits: self.settings.limits(), kind, name })
    }

    /// Brings one file's blob into the cache.
    fn blob(&self, remote: &Remote<'_>, store: &Store, listing: &Listing, file: &RemoteFile, watch: &dyn Watch) -> Result<()> {
        let url = remote.address(&listing.commit, &file.path);
        let job = download::Job { file, url, blob: store.blob(&file.content), lock: store.lock(&file.content) };
        download::fetch(&self.client, remote.limits, &job, watch)
    }

    /// Brings files into the cache and makes their snapshot.
    fn bring(
        &self,
        remote: &Remote<'_>,
        store: &Store,
        listing: &Listing,
        revision: &str,
        files: &[&RemoteFile],
        watch: &dyn Watch,
    ) -> Result<Fetched> {
        watch.event(Event::Planned { files: files.len(), bytes: files.iter().map(|file| file.size).sum() });
        let mut fetched = Vec::with_capacity(files.len());
        for file in files {
            self.blob(remote, store, listing, file, watch)?;
            fetched.push(FetchedFile::new(file, &store.blob(&file.content))?);
            watch.event(Event::Progress { file: &file.path, done: file.size, size: file.size });
        }
        let folder = store.publish(&listing.commit, revision, files)?;
        let record = Record {
            endpoint: self.settings.endpoint().to_owned(),
            kind: remote.kind,
            repository: remote.name.to_owned(),
            revision: revision.to_owned(),
            commit: listing.commit.clone(),
            files: fetched,
        };
        store.record(&record)?;
        Ok(Fetched { folder, record })
    }
}

/// The folder of a model in the cache, without any network.
///
/// # Errors
/// [`crate::Error::HubRefused`] if it is not there or not complete, with the command that fetches it.
pub fn cached_model(settings: &Settings, id: &ModelId) -> Result<PathBuf> {
    cache::find_model(settings.cache(), id)
}

/// The models in the cache, by name and revision.
///
/// # Errors
/// [`crate::Error::Io`] if the cache cannot be read; a cache that does not exist is empty.
pub fn cached_models(settings: &Settings) -> Result<Vec<CachedModel>> {
    cache::list_models(settings.cache())
}
