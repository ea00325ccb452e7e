//! One safetensors file, read tensor by tensor.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata};

use super::number;
use crate::{Error, Result, file};

/// Bytes of the length in front of the header.
const PREFIX: u64 = 8;

/// Longest header accepted: a hundred times what the deepest model of these families needs.
const MAX_HEADER: u64 = 16 << 20;

/// Bytes read at once; a multiple of every number's size.
const CHUNK: u64 = 1 << 20;

/// Where a tensor stands and what it is, as the header says. Its range lies within the file and fits shape and type.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Bytes `begin..end`, counted from the end of the header.
    range: (u64, u64),
}

/// An open file whose header has been checked against its length.
pub(super) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    data_start: u64,
}

impl SafetensorsFile {
    /// Opens `path` and gives its tensors by name. Nothing is allocated that the file's own length does not cover.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<(String, Entry)>)> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let invalid = |message: String| fail(path, format!("not a valid safetensors file: {message}"));
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let Some(behind_prefix) = length.checked_sub(PREFIX) else {
            return Err(invalid(format!("it has {length} bytes, fewer than the {PREFIX} of its header's length")));
        };
        let mut prefix = [0; PREFIX as usize];
        file.read_exact(&mut prefix).map_err(io)?;
        let header_length = u64::from_le_bytes(prefix);
        if header_length > behind_prefix.min(MAX_HEADER) {
            return Err(invalid(format!("its header claims {header_length} bytes, the file has {length}; is it cut short?")));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| invalid(format!("its header: {error}")))?;
        let (promised, present) = (metadata.data_len() as u64, behind_prefix - header_length);
        if promised != present {
            return Err(invalid(format!(
                "its header promises {promised} bytes of tensors, the file has {present}; is it cut short?"
            )));
        }
        let entries = metadata.tensors().into_iter().map(|(name, info)| {
            let (begin, end) = info.data_offsets;
            (name, Entry { dtype: info.dtype, shape: info.shape.clone(), range: (begin as u64, end as u64) })
        });
        let entries = entries.collect();
        Ok((Self { path: path.to_path_buf(), file, data_start: PREFIX + header_length }, entries))
    }

    /// Appends the tensor's values to `out`, a chunk of the file at a time.
    pub(super) fn read(&mut self, entry: &Entry, out: &mut Vec<f32>) -> Result<()> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let (mut at, end) = entry.range;
        self.file.seek(SeekFrom::Start(self.data_start + at)).map_err(io)?;
        let mut chunk = vec![0; CHUNK.min(end - at) as usize];
        while at < end {
            let part = &mut chunk[..CHUNK.min(end - at) as usize];
            self.file.read_exact(part).map_err(io)?;
            number::decode(entry.dtype, part, out);
            at += part.len() as u64;
        }
        Ok(())
    }
}

pub(super) fn fail(path: &Path, message: String) -> Error {
    Error::Weights { path: path.to_path_buf(), message: file::printable(&message) }
}
