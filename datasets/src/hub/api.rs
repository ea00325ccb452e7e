//! What the hub's interface says about a repository: the commit of a revision, and the files at it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Watch;
use super::client::{Client, failed, lasting, resolve, same_origin};
use super::digest::Content;
use super::id::{RepoKind, check_file, check_revision, is_commit, refused};
use super::retry::{Attempts, Fault, check};
use super::settings::Limits;
use crate::{Error, Result};

/// Longest answer read into memory; a page of the file list (1,000 files) has a few hundred kilobytes.
const LONGEST_ANSWER: u64 = 16 << 20;
/// Most pages of a file list.
const MOST_PAGES: usize = 100;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) content: Content,
}

/// The files at one commit, by path.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: BTreeMap<String, RemoteFile>,
}

/// A repository as the client addresses it.
pub(super) struct Remote<'a> {
    pub(super) client: &'a Client,
    pub(super) limits: Limits,
    pub(super) kind: RepoKind,
    pub(super) name: &'a str,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

impl Remote<'_> {
    /// Resolves the revision, unless it is a commit, and lists its files.
    pub(super) fn list(&self, revision: &str, watch: &dyn Watch) -> Result<Listing> {
        check_revision(revision)?;
        let commit = if is_commit(revision) { revision.to_owned() } else { self.commit(revision, watch)? };
        let mut files = BTreeMap::new();
        let mut next = Some(format!("{}/tree/{commit}?recursive=true", self.api()));
        for _ in 0..MOST_PAGES {
            let Some(url) = next else { return Ok(Listing { commit, files }) };
            let (entries, following): (Vec<Entry>, _) = self.json(&url, watch)?;
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                if let Some(file) = remote_file(entry, &url)? {
                    files.insert(file.path.clone(), file);
                }
            }
            next = following;
        }
        Err(refused(self.name, format!("the file list has more than {MOST_PAGES} pages"), "use another repository"))
    }

    /// The address of a file at a commit.
    pub(super) fn address(&self, commit: &str, path: &str) -> String {
        let kind = match self.kind {
            RepoKind::Model => "",
            RepoKind::Dataset => "datasets/",
        };
        let path: Vec<String> = path.split('/').map(percent_encoded).collect();
        format!("{}/{kind}{}/resolve/{commit}/{}", self.client.endpoint(), self.name, path.join("/"))
    }

    fn api(&self) -> String {
        let kind = match self.kind {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        };
        format!("{}/api/{kind}/{}", self.client.endpoint(), self.name)
    }

    fn commit(&self, revision: &str, watch: &dyn Watch) -> Result<String> {
        let url = format!("{}/revision/{}", self.api(), percent_encoded(revision));
        let (Revision { sha }, _) = self.json(&url, watch)?;
        if is_commit(&sha) { Ok(sha) } else { Err(no_hub(&url, "its commit is none")) }
    }

    /// A JSON answer and the address of the page after it.
    fn json<T: DeserializeOwned>(&self, url: &str, watch: &dyn Watch) -> Result<(T, Option<String>)> {
        let mut attempts = Attempts::new(self.limits, url);
        loop {
            check(watch)?;
            match self.json_once(url) {
                Ok(answer) => return Ok(answer),
                Err(fault) => attempts.failed(fault, false, watch)?,
            }
        }
    }

    fn json_once<T: DeserializeOwned>(&self, url: &str) -> std::result::Result<(T, Option<String>), Fault> {
        let answer = self.client.get(url, &[])?;
        if answer.status != 200 {
            return Err(lasting(url, format!("{} where 200 was expected", answer.status), "check HF_ENDPOINT and the proxy"));
        }
        let next = next_page(&answer.headers, &answer.url).filter(|next| same_origin(next, self.client.endpoint()));
        let bytes = match answer.body.into_with_config().limit(LONGEST_ANSWER).read_to_vec() {
            Ok(bytes) => bytes,
            Err(ureq::Error::BodyExceedsLimit(_)) => {
                return Err(Fault::Lasting(no_hub(url, &format!("the answer is longer than {LONGEST_ANSWER} bytes"))));
            }
            Err(error) => return Err(self.client.fault(url, error)),
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok((value, next)),
            Err(error) => Err(Fault::Lasting(no_hub(url, &format!("the answer cannot be read ({error})")))),
        }
    }
}

fn no_hub(url: &str, why: &str) -> Error {
    failed(url, why.into(), "this is not the hub's interface; check HF_ENDPOINT and the proxy")
}

/// A file of the list; `None` for one whose name this program would never ask for.
fn remote_file(entry: Entry, url: &str) -> Result<Option<RemoteFile>> {
    let path = entry.path;
    if path.starts_with('/') || path.contains('\\') || path.split('/').any(|part| part == "..") {
        let shown: String = path.chars().filter(|c| !c.is_control()).take(80).collect();
        return Err(no_hub(url, &format!("the file list holds `{shown}`, a path out of the repository")));
    }
    if check_file(&path).is_err() {
        return Ok(None);
    }
    let (content, size) = match entry.lfs {
        Some(large) => (Content::sha256(&large.oid), large.size),
        None => (Content::git_blob(&entry.oid), entry.size),
    };
    match content {
        Some(content) => Ok(Some(RemoteFile { path, size, content })),
        None => Err(no_hub(url, &format!("the file list states no hash of `{path}`"))),
    }
}

/// The address in `Link: <address>; rel="next"`.
fn next_page(headers: &ureq::http::HeaderMap, page: &str) -> Option<String> {
    let links = headers.get("link")?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    resolve(page, address)
}

/// Everything but letters, digits and `-._~` as `%XX`.
fn percent_encoded(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_with_slashes_are_one_part() {
        assert_eq!(percent_encoded("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(percent_encoded("a b?#ü"), "a%20b%3F%23%C3%BC");
    }

    #[test]
    fn paths_out_of_the_repository_are_refused_and_odd_ones_left_out() {
        let file = |path: &str| {
            let entry = Entry { kind: "file".into(), path: path.into(), oid: "0".repeat(40), size: 1, lfs: None };
            remote_file(entry, "http://hub/api")
        };
        assert_eq!(file("a/b.json").unwrap().unwrap().path, "a/b.json");
        assert_eq!(file("what?.png").unwrap(), None);
        for path in ["../x", "a/../../x", "/etc/passwd", "a\\..\\b"] {
            let error = file(path).unwrap_err().to_string();
            assert!(error.contains("a path out of the repository"), "{error}");
        }
    }
}
