//! Broken downloads: what is kept, what is thrown away, and that nothing wrong ever gets its name.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use stepsynth_datasets::Error;

use super::server::{Fault, TestHub, sha256};
use super::{Witness, bert, failure, fetch, storage_path, weights, witnessed};

const SIZE: usize = 400_000;

fn blob(cache: &Path, content: &[u8]) -> PathBuf {
    cache.join("models--bert/blobs").join(sha256(content))
}

fn part(cache: &Path, content: &[u8]) -> PathBuf {
    cache.join("models--bert/blobs").join(format!("{}.incomplete", sha256(content)))
}

/// A hub whose large file meets these faults, and the file.
fn hub_with(faults: Vec<Fault>) -> (TestHub, tempfile::TempDir, Vec<u8>) {
    let (hub, cache, content) = (TestHub::start(), tempfile::tempdir().unwrap(), weights(SIZE));
    bert(&hub, &content);
    for fault in faults {
        hub.storage.fault(&storage_path(&content), fault);
    }
    (hub, cache, content)
}

/// The ranges that were asked for, and whether under a tag.
fn ranges(hub: &TestHub, content: &[u8]) -> Vec<(Option<String>, bool)> {
    let requests = hub.storage.requests_of(&storage_path(content));
    requests.iter().map(|r| (r.headers.get("range").cloned(), r.headers.contains_key("if-range"))).collect()
}

/// A fetch that must end with the right file.
fn succeeds(hub: &TestHub, cache: &Path, content: &[u8]) {
    let fetched = fetch(hub, cache, "bert").unwrap();
    assert_eq!(fs::read(fetched.folder.join("model.safetensors")).unwrap(), content);
    assert!(!part(cache, content).exists());
}

fn from(byte: usize) -> (Option<String>, bool) {
    (Some(format!("bytes={byte}-")), true)
}

const WHOLE: (Option<String>, bool) = (None, false);

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (hub, cache, content) = hub_with(vec![Fault::Truncate(100_000), Fault::StallAfter(50_000), Fault::Truncate(1)]);
    succeeds(&hub, cache.path(), &content);
    assert_eq!(ranges(&hub, &content), [WHOLE, from(100_000), from(150_000), from(150_001)]);
}

#[test]
fn a_later_process_goes_on_where_an_earlier_was_stopped() {
    let (hub, cache, content) = hub_with(vec![]);
    let witness = Witness { stop_after: Some(100_000), ..Witness::default() };
    let error = witnessed(&hub, cache.path(), &witness).unwrap_err();
    assert!(matches!(error, Error::HubCancelled), "{error:?}");
    let kept = fs::metadata(part(cache.path(), &content)).unwrap().len() as usize;
    assert!((100_000..SIZE).contains(&kept), "{kept}");
    assert!(!blob(cache.path(), &content).exists() && !cache.path().join("models--bert/snapshots").exists());
    succeeds(&hub, cache.path(), &content);
    assert_eq!(ranges(&hub, &content), [WHOLE, from(kept)]);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let (hub, cache, content) = hub_with(vec![Fault::Truncate(100_000), Fault::IgnoreRange]);
    succeeds(&hub, cache.path(), &content);
    assert_eq!(ranges(&hub, &content), [WHOLE, from(100_000)]);
}

#[test]
fn a_file_that_changed_between_two_ranges_is_fetched_anew() {
    // The server minds the tag and sends the whole new file.
    let (hub, cache, content) = hub_with(vec![Fault::Truncate(100_000), Fault::Tag("\"other\"")]);
    succeeds(&hub, cache.path(), &content);
    assert_eq!(ranges(&hub, &content), [WHOLE, from(100_000)]);
    // It does not, and sends the end of another file.
    let (hub, cache, content) = hub_with(vec![Fault::Truncate(100_000), Fault::WrongTag("\"other\"")]);
    succeeds(&hub, cache.path(), &content);
    assert_eq!(ranges(&hub, &content), [WHOLE, from(100_000), WHOLE]);
    // It sends the end of another file under the same tag: the hash tells.
    let (hub, cache, content) = hub_with(vec![Fault::Truncate(100_000), Fault::Flip]);
    succeeds(&hub, cache.path(), &content);
    assert_eq!(ranges(&hub, &content), [WHOLE, from(100_000), WHOLE]);
}

#[test]
fn a_refused_range_and_a_foreign_beginning_are_thrown_away() {
    let (hub, cache, content) = hub_with(vec![Fault::Truncate(100_000), Fault::Status(416, vec![])]);
    succeeds(&hub, cache.path(), &content);
    assert_eq!(ranges(&hub, &content), [WHOLE, from(100_000), WHOLE]);
    // What lies there is longer than the file, as long, and not its beginning.
    for rubbish in [vec![7; SIZE + 1], vec![7; SIZE], vec![7; 1000]] {
        let (hub, cache, content) = hub_with(vec![]);
        let part = part(cache.path(), &content);
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(part, rubbish).unwrap();
        succeeds(&hub, cache.path(), &content);
    }
}

#[test]
fn wrong_content_gets_another_chance_and_never_a_name() {
    let (hub, cache, content) = hub_with(vec![Fault::Flip]);
    succeeds(&hub, cache.path(), &content);
    assert_eq!(ranges(&hub, &content), [WHOLE, WHOLE]);

    let (hub, cache, content) = hub_with(vec![Fault::Flip, Fault::Flip]);
    let error = failure(fetch(&hub, cache.path(), "bert"));
    let flipped: Vec<u8> = content.iter().map(|byte| byte ^ 1).collect();
    let (found, stated) = (sha256(&flipped), sha256(&content));
    assert!(error.contains(&format!("the sha256 of what was received is {found}, the file list says {stated}")), "{error}");
    assert!(!blob(cache.path(), &content).exists() && !cache.path().join("models--bert/snapshots").exists());
    assert_eq!(fs::metadata(part(cache.path(), &content)).unwrap().len(), 0);

    // A small file, by its git blob id.
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    bert(&hub, b"weights");
    let vocab = format!("/bert/resolve/{}/vocab.txt", super::COMMIT);
    hub.hub.fault(&vocab, Fault::Flip);
    hub.hub.fault(&vocab, Fault::Flip);
    let error = failure(fetch(&hub, cache.path(), "bert"));
    assert!(error.contains("the git blob id of what was received is"), "{error}");
}

#[test]
fn a_wrong_length_is_noticed_before_the_content() {
    let (hub, cache, content) = hub_with(vec![Fault::Longer(3); 9]);
    let error = failure(fetch(&hub, cache.path(), "bert"));
    assert!(error.contains("400003 bytes are announced, the file list states 400000, in 4 attempts"), "{error}");
    assert!(!blob(cache.path(), &content).exists());
    let (hub, cache, content) = hub_with(vec![Fault::Longer(3)]);
    succeeds(&hub, cache.path(), &content);
}

#[test]
fn two_at_once_fetch_each_file_once() {
    let (hub, cache, content) = hub_with(vec![Fault::StallAfter(100_000)]);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| succeeds(&hub, cache.path(), &content))).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    assert_eq!(ranges(&hub, &content), [WHOLE, from(100_000)]);
}

#[test]
fn progress_is_told_up_to_the_end() {
    let (hub, cache, _) = hub_with(vec![]);
    let witness = Witness::default();
    witnessed(&hub, cache.path(), &witness).unwrap();
    assert_eq!(witness.most.load(Ordering::SeqCst), SIZE as u64);
}
