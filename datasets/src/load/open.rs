//! From a path to text: missing files, directories, gzip, byte order marks, encodings.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::{Error, Result, hash};

/// First bytes of a gzip file; the content decides, not the name.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// First bytes of a text file written by some editors and spreadsheets.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file's bytes as they lie on disk.
pub(crate) struct RawFile(Vec<u8>);

impl RawFile {
    /// SHA-256 (hex) of the bytes on disk.
    pub(crate) fn sha256(&self) -> String {
        hash::bytes(&self.0)
    }

    /// The text, decompressed if need be, without byte order mark.
    pub(crate) fn into_text(self, path: &Path) -> Result<String> {
        let bytes = if self.0.starts_with(&GZIP) { gunzip(&self.0, path)? } else { self.0 };
        let start = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        match std::str::from_utf8(&bytes[start..]) {
            Ok(_) if start == 0 => Ok(String::from_utf8(bytes).expect("checked")),
            Ok(text) => Ok(text.to_owned()),
            Err(error) => {
                let before = &bytes[..start + error.valid_up_to()];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
                Err(Error::NotUtf8 { path: path.into(), line, column })
            }
        }
    }
}

/// Reads a whole file; `obtain` tells how to get it if it is missing.
pub(crate) fn read_file(path: &Path, obtain: &str) -> Result<RawFile> {
    let mut bytes = Vec::new();
    open(path, obtain)?.read_to_end(&mut bytes).map_err(|source| Error::Io { path: path.into(), source })?;
    Ok(RawFile(bytes))
}

/// Opens a file for reading, with the common mistakes told apart.
pub(super) fn open(path: &Path, obtain: &str) -> Result<File> {
    if path.is_dir() {
        return Err(Error::IsDirectory { path: path.into() });
    }
    File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::Missing { path: path.into(), obtain: obtain.into() },
        _ => Error::Io { path: path.into(), source },
    })
}

fn gunzip(compressed: &[u8], path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match MultiGzDecoder::new(compressed).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(Error::TruncatedGzip { path: path.into(), bytes: bytes.len() })
        }
        Err(error) => Err(Error::DamagedGzip { path: path.into(), why: error.to_string() }),
    }
}
