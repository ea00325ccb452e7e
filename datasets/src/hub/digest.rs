//! What the hub says a file's content is, and whether it is that.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::id::is_hash;

/// A file's content as the hub's file list states it. The hash is also the name of the blob in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// SHA-256 of the bytes: large files.
    Sha256(String),
    /// SHA-1 of git's header and the bytes: all others.
    GitBlob(String),
}

impl Content {
    pub(super) fn sha256(hash: &str) -> Option<Self> {
        is_hash(hash, 64).then(|| Self::Sha256(hash.into()))
    }

    pub(super) fn git_blob(hash: &str) -> Option<Self> {
        is_hash(hash, 40).then(|| Self::GitBlob(hash.into()))
    }

    /// The hash.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Sha256(hash) | Self::GitBlob(hash) => hash,
        }
    }

    /// What kind of hash it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::GitBlob(_) => "git blob id",
        }
    }

    /// A hash of this kind over no bytes yet, for a content of `size` bytes.
    pub(super) fn hasher(&self, size: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Self::GitBlob(_) => Hasher::GitBlob(Sha1::new().chain_update(format!("blob {size}\0"))),
        }
    }
}

pub(super) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::GitBlob(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => crate::hash::hex(&hash.finalize()),
            Self::GitBlob(hash) => crate::hash::hex(&hash.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        let of = |content: Content, bytes: &[u8]| {
            let mut hasher = content.hasher(bytes.len() as u64);
            bytes.chunks(4).for_each(|part| hasher.update(part));
            hasher.finish()
        };
        // `printf 'what is up, doc?' | git hash-object --stdin` (Pro Git, section 10.2), and the sha256 of "abc" in FIPS 180-2.
        let blob = Content::git_blob("bd9dbf5aae1a3862dd1526723246b20206e5fc37").unwrap();
        assert_eq!(of(blob.clone(), b"what is up, doc?"), blob.name());
        let large = Content::sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        assert_eq!(of(large.clone(), b"abc"), large.name());
        assert_eq!((blob.kind(), large.kind()), ("git blob id", "sha256"));
        for wrong in ["", "../../etc/passwd", "BD9DBF5AAE1A3862DD1526723246B20206E5FC37"] {
            assert_eq!(Content::git_blob(wrong), None);
        }
    }
}
