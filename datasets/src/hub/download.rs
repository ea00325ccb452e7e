//! One file into the cache: resumed where an earlier attempt or process stopped, checked, and only then given its name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap};

use super::api::RemoteFile;
use super::client::{Answer, Client, failed};
use super::digest::Hasher;
use super::place::create_parent;
use super::retry::{Attempts, Fault, check, sleep};
use super::settings::Limits;
use super::{Event, Watch};
use crate::{Error, Result};

/// How often a complete file may turn out wrong.
const MOST_WRONG: usize = 2;
/// Bytes read at once.
const CHUNK: usize = 128 << 10;

/// What is to be had, and where it goes.
pub(super) struct Job<'a> {
    pub(super) file: &'a RemoteFile,
    pub(super) url: String,
    pub(super) blob: PathBuf,
    pub(super) lock: PathBuf,
}

/// Brings the blob of `job` into the cache, unless it is there.
pub(super) fn fetch(client: &Client, limits: Limits, job: &Job<'_>, watch: &dyn Watch) -> Result<()> {
    if is_there(job) {
        return Ok(());
    }
    let _lock = lock(&job.lock, watch)?;
    // Another process may have had it.
    if is_there(job) {
        return Ok(());
    }
    let mut part = Part::open(job, watch)?;
    let mut attempts = Attempts::new(limits, &job.url);
    let mut wrong = 0;
    loop {
        check(watch)?;
        let before = part.done;
        if let Err(fault) = receive(client, job, &mut part, watch) {
            attempts.failed(fault, part.done > before, watch)?;
            continue;
        }
        let Err(found) = part.publish(job)? else { return Ok(()) };
        wrong += 1;
        if wrong == MOST_WRONG {
            let (kind, stated) = (job.file.content.kind(), job.file.content.name());
            let why = format!("the {kind} of what was received is {found}, the file list says {stated}; {wrong} times");
            return Err(failed(&job.url, why, "the server or a proxy changes the file; check HF_ENDPOINT and the proxy"));
        }
    }
}

fn is_there(job: &Job<'_>) -> bool {
    std::fs::metadata(&job.blob).is_ok_and(|found| found.is_file() && found.len() == job.file.size)
}

/// Waits for the lock on this blob. Where a file system has no locks, two processes write the same bytes to the same places.
fn lock(path: &Path, watch: &dyn Watch) -> Result<Option<File>> {
    create_parent(path)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(|e| Error::write(path, e))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {
                watch.event(Event::Waiting { why: "another process fetches this file", pause: None });
                sleep(Duration::from_millis(200), watch)?;
            }
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::write(path, error)),
        }
    }
}

/// The content as far as it has arrived.
struct Part {
    path: PathBuf,
    file: File,
    done: u64,
    hasher: Hasher,
    /// The server's name for the version these bytes are of.
    etag: Option<String>,
}

impl Part {
    /// What an earlier process left, hashed again, or nothing.
    fn open(job: &Job<'_>, watch: &dyn Watch) -> Result<Self> {
        create_parent(&job.blob)?;
        let path = suffixed(&job.blob, "incomplete");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| Error::write(&path, error))?;
        let mut hasher = job.file.content.hasher(job.file.size);
        let (mut done, mut chunk) = (0, vec![0; CHUNK]);
        loop {
            check(watch)?;
            let read = file.read(&mut chunk).map_err(|source| Error::Io { path: path.clone(), source })?;
            hasher.update(&chunk[..read]);
            done += read as u64;
            if read == 0 || done > job.file.size {
                break;
            }
        }
        let etag = std::fs::read_to_string(suffixed(&path, "etag")).ok().filter(|etag| is_strong(etag));
        let mut part = Self { path, file, done, hasher, etag };
        if done > job.file.size {
            part.restart(job)?;
        }
        Ok(part)
    }

    /// Throws away what has arrived.
    fn restart(&mut self, job: &Job<'_>) -> Result<()> {
        self.hasher = job.file.content.hasher(job.file.size);
        self.etag = None;
        if self.done > 0 {
            self.done = 0;
            self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).map_err(|e| Error::write(&self.path, e))?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| Error::write(&self.path, error))?;
        self.hasher.update(bytes);
        self.done += bytes.len() as u64;
        Ok(())
    }

    /// Remembers the version, also for a later process.
    fn set_etag(&mut self, etag: Option<String>) -> Result<()> {
        if self.etag != etag {
            let path = suffixed(&self.path, "etag");
            std::fs::write(&path, etag.as_deref().unwrap_or_default()).map_err(|error| Error::write(&path, error))?;
            self.etag = etag;
        }
        Ok(())
    }

    /// Gives a complete and right content its name; `Err` is the hash of a wrong one, which is thrown away.
    fn publish(&mut self, job: &Job<'_>) -> Result<std::result::Result<(), String>> {
        let hasher = std::mem::replace(&mut self.hasher, job.file.content.hasher(job.file.size));
        let found = hasher.finish();
        if found != job.file.content.name() {
            self.restart(job)?;
            return Ok(Err(found));
        }
        self.file.sync_all().map_err(|error| Error::write(&self.path, error))?;
        std::fs::rename(&self.path, &job.blob).map_err(|error| Error::write(&job.blob, error))?;
        let _ = std::fs::remove_file(suffixed(&self.path, "etag"));
        Ok(Ok(()))
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Whether bytes of the same tag are the same bytes (RFC 9110, section 8.8.1).
fn is_strong(etag: &str) -> bool {
    etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"') && etag.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Asks for what is missing and appends what comes.
fn receive(client: &Client, job: &Job<'_>, part: &mut Part, watch: &dyn Watch) -> std::result::Result<(), Fault> {
    let size = job.file.size;
    if part.done == size {
        return Ok(());
    }
    let range = format!("bytes={}-", part.done);
    let mut headers = Vec::new();
    if part.done > 0 {
        headers.push(("range", range.as_str()));
        headers.extend(part.etag.as_deref().map(|etag| ("if-range", etag)));
    }
    let answer = client.get(&job.url, &headers)?;
    begin(&answer, job, part)?;
    let Answer { body, url, .. } = answer;
    let mut body = body.into_reader();
    let mut chunk = vec![0; CHUNK];
    loop {
        check(watch)?;
        watch.event(Event::Progress { file: &job.file.path, done: part.done, size });
        let read = body.read(&mut chunk).map_err(|error| client.fault(&url, error.into()))?;
        if read == 0 {
            break;
        }
        if part.done + read as u64 > size {
            part.restart(job)?;
            return Err(Fault::passing(format!("more than the {size} bytes that the file list states"), CHANGED));
        }
        part.append(&chunk[..read])?;
    }
    if part.done < size {
        return Err(Fault::passing(
            format!("the file ended after {} of {size} bytes", part.done),
            "try again; what has arrived is kept",
        ));
    }
    Ok(())
}

const CHANGED: &str = "try again; if it stays so, check HF_ENDPOINT and the proxy";

/// Makes the part ready for the body of `answer`: what it holds stays only if the body continues it.
fn begin(answer: &Answer, job: &Job<'_>, part: &mut Part) -> std::result::Result<(), Fault> {
    let size = job.file.size;
    let etag = text(&answer.headers, ETAG.as_str()).filter(|etag| is_strong(etag)).map(str::to_owned);
    match answer.status.as_u16() {
        206 => {
            let continues = content_range(&answer.headers) == Some((part.done, size));
            let same_version = part.etag.is_none() || etag.is_none() || part.etag == etag;
            if !continues || !same_version {
                part.restart(job)?;
                return Err(Fault::passing("the answer does not continue what has arrived".into(), CHANGED));
            }
        }
        200 => {
            let length = text(&answer.headers, CONTENT_LENGTH.as_str()).and_then(|length| length.parse::<u64>().ok());
            if let Some(length) = length.filter(|length| *length != size) {
                return Err(Fault::passing(format!("{length} bytes are announced, the file list states {size}"), CHANGED));
            }
            part.restart(job)?;
        }
        _ => {
            part.restart(job)?;
            return Err(Fault::passing(answer.status.to_string(), CHANGED));
        }
    }
    part.set_etag(etag)?;
    Ok(())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// First byte and whole length of `bytes 10-99/100`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (range, size) = text(headers, CONTENT_RANGE.as_str())?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::digest::Content;
    use super::*;

    #[test]
    fn ranges_and_tags() {
        let range = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(range("bytes 10-99/100"), Some((10, 100)));
        for wrong in ["bytes 10-99/*", "bytes */100", "10-99/100", "bytes -1-99/100", "bytes 99999999999999999999-1/2"] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
        assert!(is_strong("\"a\""));
        for weak in ["W/\"a\"", "\"\"", "a", "\"a b\""] {
            assert!(!is_strong(weak), "{weak}");
        }
    }

    /// `/dev/full` is a disk without room.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_called_so() {
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let hasher = Content::sha256(&"0".repeat(64)).unwrap().hasher(10);
        let error = Part { path, file, done: 0, hasher, etag: None }.append(b"0123456789").unwrap_err().to_string();
        assert!(error.contains("No space left on device") && error.contains("make room, or set HF_HUB_CACHE"), "{error}");
    }
}
