//! Hashes of data for a run's manifest: the same hash, the same data.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Example, Result};

/// SHA-256 (hex) of a file as it lies on disk.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn file(path: &Path) -> Result<String> {
    let content = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    Ok(bytes(&content))
}

/// SHA-256 (hex) of bytes.
pub fn bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 (hex) of examples in their order, over their JSON lines.
pub fn examples(examples: &[Example]) -> String {
    let mut hash = Sha256::new();
    for example in examples {
        hash.update(serde_json::to_string(example).expect("an example is plain data"));
        hash.update(b"\n");
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, Target};

    #[test]
    fn of_a_file_and_its_bytes() {
        // The digest of "abc" in FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(bytes(b"abc"), abc);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(file(&path).unwrap(), abc);
    }

    #[test]
    fn order_and_labels_count() {
        let example =
            |id: &str, label| Example { id: id.into(), input: Input::Single { text: "t".into() }, target: Target::Label(label) };
        let (a, b) = (example("a", 0), example("b", 1));
        let base = examples(&[a.clone(), b.clone()]);
        assert_eq!(base, examples(&[a.clone(), b.clone()]));
        assert_ne!(base, examples(&[b, a.clone()]));
        assert_ne!(base, examples(&[a, example("b", 0)]));
    }
}
