//! Compiled kernels on disk, so that they are compiled once for a machine and not at every start.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Bytes of a SHA-256.
const DIGEST: usize = 32;

/// A folder of compiled kernels. An entry is the SHA-256 of an image and the image; nothing is ever removed.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// STEPSYNTH_CACHE, or `stepsynth` in the user's cache folder (XDG_CACHE_HOME, ~/.cache); none if there is no home.
    pub(super) fn of_user(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("STEPSYNTH_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("stepsynth")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/stepsynth")))?;
        Some(Self { folder: root.join("kernels") })
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The image under `key`, if there is one and it is whole.
    pub(super) fn load(&self, key: &str) -> Option<Vec<u8>> {
        let mut entry = std::fs::read(self.path(key)).ok()?;
        let (digest, image) = entry.split_first_chunk::<DIGEST>()?;
        if *digest != *Sha256::digest(image) {
            return None;
        }
        entry.drain(..DIGEST);
        Some(entry)
    }

    /// Keeps an image. Other programs may do the same at the same time: an entry is there as a whole or not at all.
    pub(super) fn store(&self, key: &str, image: &[u8]) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&Sha256::digest(image))?;
        file.write_all(image)?;
        file.persist(self.path(key))?;
        Ok(())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.cubin"))
    }
}

/// A name for what the parts decide: `stem` for people, and a SHA-256 over the parts with their lengths.
pub(super) fn key(stem: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{stem}-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let value = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Cache::of_user(value).map(|cache| cache.folder)
    }

    #[test]
    fn the_folder_is_the_users() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "")]), Some("/h/.cache/stepsynth/kernels".into()));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Some("/x/stepsynth/kernels".into()));
        assert_eq!(of(&[("XDG_CACHE_HOME", "/x"), ("STEPSYNTH_CACHE", "/s")]), Some("/s/kernels".into()));
    }

    #[test]
    fn what_is_stored_is_loaded_and_a_damaged_entry_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { folder: folder.path().join("kernels") };
        assert_eq!(cache.load("a"), None);
        cache.store("a", b"image").unwrap();
        cache.store("b", b"").unwrap();
        assert_eq!(cache.load("a").as_deref(), Some(&b"image"[..]));
        assert_eq!(cache.load("b").as_deref(), Some(&b""[..]));

        let whole = std::fs::read(cache.path("a")).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..DIGEST - 1], b"", &[&whole[..], b"x"].concat()] {
            std::fs::write(cache.path("a"), damaged).unwrap();
            assert_eq!(cache.load("a"), None);
        }
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            std::fs::write(cache.path("a"), damaged).unwrap();
            assert_eq!(cache.load("a"), None, "byte {position}");
        }
        cache.store("a", b"again").unwrap();
        assert_eq!(cache.load("a").as_deref(), Some(&b"again"[..]));
        let left: Vec<_> = std::fs::read_dir(cache.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "temporary files are left: {left:?}");
    }

    #[test]
    fn every_part_and_where_it_ends_is_in_the_key() {
        let keys = [
            key("add", &["text", "sm_80"]),
            key("add", &["text", "sm_90a"]),
            key("add", &["texts", "m_80"]),
            key("add", &["text", "sm_80", ""]),
            key("sub", &["text", "sm_80"]),
        ];
        for (number, one) in keys.iter().enumerate() {
            assert!(keys[..number].iter().all(|other| other != one), "{one}");
        }
        assert_eq!(keys[0], key("add", &["text", "sm_80"]));
    }
}
