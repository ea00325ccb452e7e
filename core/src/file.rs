//! Reading and writing whole files.

use std::io::Write as _;
use std::path::Path;

use crate::{Error, Result};

/// The file's text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })
}

/// Writes a temporary file in the same directory and renames it, so that a crash leaves the old file or the new one.
pub(crate) fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    let fail = |source| Error::Io { path: path.to_path_buf(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().suffix(".tmp").tempfile_in(directory).map_err(fail)?;
    file.write_all(contents).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}
