//! What was fetched, written beside it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::api::RemoteFile;
use super::digest::Content;
use super::id::RepoKind;
use crate::{Result, hash};

/// Where files are from and what they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The hub's address.
    pub endpoint: String,
    /// Model or data set.
    pub kind: RepoKind,
    /// `org/name`.
    pub repository: String,
    /// The revision that was asked for.
    pub revision: String,
    /// The commit it stood for.
    pub commit: String,
    /// The files.
    pub files: Vec<FetchedFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedFile {
    /// Path in the repository.
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 (hex) of the content.
    pub sha256: String,
}

impl Record {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a record is plain data") + "\n"
    }
}

impl FetchedFile {
    /// A file whose blob is in the cache; its SHA-256 is known where the hub states it.
    pub(super) fn new(file: &RemoteFile, blob: &Path) -> Result<Self> {
        let sha256 = match &file.content {
            Content::Sha256(hash) => hash.clone(),
            Content::GitBlob(_) => hash::file(blob)?,
        };
        Ok(Self { file: file.path.clone(), size: file.size, sha256 })
    }
}
