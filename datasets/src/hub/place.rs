//! Files, links and folders that appear whole or not at all.

use std::path::Path;

use crate::{Error, Result};

/// Has `make` make something in a temporary folder below `beside`, which is on the same disk as `path`, and renames that to
/// `path`. What is made has the rights that the process gives to new files.
pub(super) fn place(beside: &Path, path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    for folder in [beside, parent(path)] {
        std::fs::create_dir_all(folder).map_err(|error| Error::write(folder, error))?;
    }
    let temporary = tempfile::Builder::new().prefix(".incomplete-").tempdir_in(beside);
    let temporary = temporary.map_err(|error| Error::write(beside, error))?;
    let made = temporary.path().join("made");
    make(&made)?;
    std::fs::rename(&made, path).map_err(|error| Error::write(path, error))
}

/// A file with this text.
pub(super) fn place_text(beside: &Path, path: &Path, text: &str) -> Result<()> {
    place(beside, path, |made| std::fs::write(made, text).map_err(|error| Error::write(path, error)))
}

/// A copy of a file.
pub(super) fn place_copy(from: &Path, to: &Path) -> Result<()> {
    place(parent(to), to, |made| std::fs::copy(from, made).map(drop).map_err(|error| Error::write(to, error)))
}

/// The folder that a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn create_parent(path: &Path) -> Result<()> {
    let folder = parent(path);
    std::fs::create_dir_all(folder).map_err(|error| Error::write(folder, error))
}
