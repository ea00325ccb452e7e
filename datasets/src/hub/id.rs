//! Names: repositories, revisions, and the paths of files in them. They become parts of URLs and of paths on disk, and those
//! of files come from a server, so everything but plain names is refused.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Longest name of a repository, as on the hub.
const LONGEST_REPOSITORY: usize = 96;
/// Longest revision and file path taken.
const LONGEST_PATH: usize = 250;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepoKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

/// A model on the hub: `name` or `org/name`, with `@revision` or at `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    repository: String,
    revision: Option<String>,
}

impl ModelId {
    /// `org/name` or `name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Branch, tag or commit.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The same model at another revision.
    ///
    /// # Errors
    /// [`Error::HubRefused`] if this names a revision already, or `revision` cannot be one.
    pub fn at(self, revision: &str) -> Result<Self> {
        if let Some(stated) = &self.revision {
            let why = format!("names the revision {stated}, and another is asked for ({revision})");
            return Err(refused(&self.repository, why, "state one of them"));
        }
        check_revision(revision)?;
        Ok(Self { revision: Some(revision.to_owned()), ..self })
    }
}

impl FromStr for ModelId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        check_repository(repository)?;
        revision.map_or(Ok(()), check_revision)?;
        Ok(Self { repository: repository.into(), revision: revision.map(Into::into) })
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

/// Whether `revision` is a commit and not the name of one.
pub(super) fn is_commit(revision: &str) -> bool {
    is_hash(revision, 40)
}

/// Whether `text` is a hash of so many digits as the hub writes it.
pub(super) fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// `name` or `org/name`, in the characters that the hub allows.
pub(crate) fn check_repository(name: &str) -> Result<()> {
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && !part.contains("--")
            && !part.contains("..")
    };
    if name.len() <= LONGEST_REPOSITORY && name.split('/').count() <= 2 && name.split('/').all(plain) {
        return Ok(());
    }
    let remedy = "write `name` or `organisation/name`, with `@revision` where another than `main` is meant";
    Err(refused(&shown(name), "not the name of a repository on the hub".into(), remedy))
}

/// A branch, tag or commit.
pub(crate) fn check_revision(revision: &str) -> Result<()> {
    if is_plain_path(revision) {
        return Ok(());
    }
    Err(refused(&shown(revision), "not a revision".into(), "name a branch, a tag or a commit"))
}

/// A path of a file relative to a folder, which does not leave it.
pub(crate) fn check_file(path: &str) -> Result<()> {
    if is_plain_path(path) {
        return Ok(());
    }
    let why = "a file path that is empty, absolute, too long, or has parts such as `..`".to_owned();
    Err(refused(&shown(path), why, "use a repository and an endpoint that you trust"))
}

/// Parts between slashes that are names on every system. A colon is a drive or a stream on some, a backslash a separator.
fn is_plain_path(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.ends_with(['.', ' ']);
    let letter = |c: char| !c.is_control() && !"\\:*?\"<>|@".contains(c);
    path.len() <= LONGEST_PATH && path.split('/').all(plain) && path.chars().all(letter)
}

/// What a user or a server wrote, fit for one line.
fn shown(text: &str) -> String {
    let line: String = text.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("`{line}`")
}

pub(super) fn refused(what: &str, why: String, remedy: &str) -> Error {
    Error::HubRefused { what: what.into(), why, remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_revision() {
        let id: ModelId = "distilbert-base-uncased".parse().unwrap();
        assert_eq!((id.repository(), id.revision()), ("distilbert-base-uncased", "main"));
        let id: ModelId = "nreimers/MiniLM-L6-H384-uncased@refs/pr/1".parse().unwrap();
        assert_eq!((id.repository(), id.revision()), ("nreimers/MiniLM-L6-H384-uncased", "refs/pr/1"));
        assert_eq!(id.to_string(), "nreimers/MiniLM-L6-H384-uncased@refs/pr/1");
        assert!(id.at("main").unwrap_err().to_string().contains("state one of them"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "a/b/c", "/a", "a/", "../a", "a/..", "a--b", "-a", "a b", "a\nb", "a@", "a@../../x", "a@/x", "é"] {
            assert!(name.parse::<ModelId>().is_err(), "{name:?}");
        }
        assert!("a".repeat(97).parse::<ModelId>().is_err());
    }

    #[test]
    fn paths_stay_in_their_folder() {
        for path in ["config.json", "plain_text/train-00000-of-00001.parquet", ".gitattributes", "a b/ü.json"] {
            check_file(path).unwrap();
        }
        for path in
            ["", "/etc/passwd", "..", "a/../b", "a//b", "./a", "a/.", "c:\\x", "a\\b", "a\0", "a\n", "nul:", &"a".repeat(251)]
        {
            assert!(check_file(path).is_err(), "{path:?}");
        }
    }
}
