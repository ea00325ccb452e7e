//! Reading and writing whole files.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write};
use std::path::Path;

use crate::{Error, Result};

/// The file's text; a file of more than `limit` bytes is refused before anything is allocated for it.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    let fail = |source| Error::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let too_long = || fail(std::io::Error::other(format!("has more than {limit} bytes, which no such file needs")));
    if length > limit {
        return Err(too_long());
    }
    let mut text = String::with_capacity(length as usize);
    // What the file system says of a pipe or device is no bound, so the reader is bounded too.
    file.take(limit + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > limit { Err(too_long()) } else { Ok(text) }
}

/// Writes a temporary file in the same directory and renames it, so that a crash leaves the old file or the new one.
pub(crate) fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    write_atomically_with(path, |out| out.write_all(contents))
}

/// As [`write_atomically`], with contents that `write` produces bit by bit.
pub(crate) fn write_atomically_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let fail = |source| Error::Io { path: path.to_path_buf(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.suffix(".tmp");
    // Temporary files are private by default; this one becomes a plain file, as readable as the umask lets it be.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(directory).map_err(fail)?;
    let mut out = BufWriter::new(file.as_file());
    write(&mut out).and_then(|()| out.flush()).map_err(fail)?;
    drop(out);
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Text from a file as part of a message: one line without control characters, cut where it is very long.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 1000;
    let mut line = String::new();
    for c in text.chars() {
        if line.len() > LONGEST {
            return line + "...";
        }
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn written_files_have_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let (ours, plain) = (directory.path().join("ours"), directory.path().join("plain"));
        super::write_atomically(&ours, b"text").unwrap();
        std::fs::write(&plain, b"text").unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn too_long_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(super::read_text(&path, 5).unwrap(), "12345");
        let error = super::read_text(&path, 4).unwrap_err().to_string();
        assert_eq!(error, format!("{}: has more than 4 bytes, which no such file needs", path.display()));
    }

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(super::printable("é\n\u{1b}[0m"), "é\\n\\u{1b}[0m");
        assert!(super::printable(&"x".repeat(1 << 20)).len() < 1010);
    }
}
