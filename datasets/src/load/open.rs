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

/// Most bytes of a file, as it lies on disk and decompressed: far above any data set here, and below what a small damaged or
/// hostile gzip file can ask for.
const LIMIT: u64 = 8 << 30;

/// A file's bytes as they lie on disk.
pub(crate) struct RawFile(Vec<u8>);

impl RawFile {
    /// SHA-256 (hex) of the bytes on disk.
    pub(crate) fn sha256(&self) -> String {
        hash::bytes(&self.0)
    }

    /// The text, decompressed if need be, without byte order mark.
    pub(crate) fn into_text(self, path: &Path) -> Result<String> {
        let bytes = if self.0.starts_with(&GZIP) { gunzip(&self.0, path, LIMIT)? } else { self.0 };
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
    let mut file = open(path, obtain)?.take(LIMIT + 1);
    file.read_to_end(&mut bytes).map_err(|source| Error::Io { path: path.into(), source })?;
    within(LIMIT, bytes, path).map(RawFile)
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

fn gunzip(compressed: &[u8], path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match MultiGzDecoder::new(compressed).take(limit + 1).read_to_end(&mut bytes) {
        Ok(_) => within(limit, bytes, path),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(Error::TruncatedGzip { path: path.into(), bytes: bytes.len() })
        }
        Err(error) => Err(Error::DamagedGzip { path: path.into(), why: error.to_string() }),
    }
}

/// `bytes`, of which at most one more than `limit` were read.
fn within(limit: u64, bytes: Vec<u8>, path: &Path) -> Result<Vec<u8>> {
    if bytes.len() as u64 <= limit {
        return Ok(bytes);
    }
    let why = format!("holds more than {limit} bytes, which is all that is read of one file");
    Err(Error::Format { path: path.into(), why, remedy: "split it into several files".into() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn decompression_stops_at_the_limit() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&[b'a'; 1000]).unwrap();
        let compressed = gzip.finish().unwrap();
        assert_eq!(gunzip(&compressed, "a.gz".as_ref(), 1000).unwrap().len(), 1000);
        let error = gunzip(&compressed, "a.gz".as_ref(), 999).unwrap_err().to_string();
        let expected = "a.gz: holds more than 999 bytes, which is all that is read of one file; split it into several files";
        assert_eq!(error, expected);
    }
}
