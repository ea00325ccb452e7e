//! Files, links and folders that appear whole or not at all.

use std::path::Path;

use crate::{Error, Result};

/// Has `make` make something at the path it is given, in a temporary folder beside `path`, and renames that to `path`. What
/// is made has the rights that the process gives to new files.
pub(super) fn place(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| Error::write(folder, error))?;
    let beside =
        tempfile::Builder::new().prefix(".incomplete-").tempdir_in(folder).map_err(|error| Error::write(folder, error))?;
    let made = beside.path().join("made");
    make(&made)?;
    std::fs::rename(&made, path).map_err(|error| Error::write(path, error))
}

/// A file with this text.
pub(super) fn place_text(path: &Path, text: &str) -> Result<()> {
    place(path, |made| std::fs::write(made, text).map_err(|error| Error::write(path, error)))
}

/// A copy of a file.
pub(super) fn place_copy(from: &Path, to: &Path) -> Result<()> {
    place(to, |made| std::fs::copy(from, made).map(drop).map_err(|error| Error::write(to, error)))
}
