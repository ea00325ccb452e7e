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
    let mut builder = tempfile::Builder::new();
    builder.suffix(".tmp");
    // Temporary files are private by default; this one becomes a plain file, as readable as the umask lets it be.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(directory).map_err(fail)?;
    file.write_all(contents).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn written_files_have_the_permissions_of_any_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, plain) = (directory.path().join("ours"), directory.path().join("plain"));
        super::write_atomically(&ours, b"text").unwrap();
        std::fs::write(&plain, b"text").unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
