//! Servers that mean harm, or are no hub.

use std::time::{Duration, Instant};

use super::server::{Fault, TestHub};
use super::{COMMIT, bert, failure, fetch};

const REVISION: &str = "/api/models/bert/revision/main";

fn with(path: &str, fault: Fault) -> String {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    bert(&hub, b"weights");
    hub.hub.fault(path, fault);
    let error = failure(fetch(&hub, cache.path(), "bert"));
    assert!(std::fs::read_dir(cache.path()).unwrap().next().is_none(), "nothing is written");
    error
}

#[test]
fn answers_have_a_largest_size() {
    let start = Instant::now();
    let error = with(REVISION, Fault::Endless);
    assert!(error.contains("the answer is longer than 16777216 bytes; this is not the hub's interface"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn answers_that_are_no_answers() {
    let tree = format!("/api/models/bert/tree/{COMMIT}");
    let entry = |path: &str, oid: &str| format!(r#"[{{"type":"file","oid":"{oid}","size":1,"path":"{path}"}}]"#);
    let hash = "0".repeat(40);
    for (path, text, expected) in [
        (REVISION, "<html>".into(), "the answer cannot be read"),
        (REVISION, r#"{"sha": "../../../etc"}"#.into(), "its commit is none"),
        (REVISION, "[".repeat(100_000), "the answer cannot be read"),
        (&tree, r#"{"error": "x"}"#.into(), "the answer cannot be read"),
        (&tree, entry("../../.ssh/authorized_keys", &hash), "a path out of the repository"),
        (&tree, entry("/etc/passwd", &hash), "a path out of the repository"),
        (&tree, entry("config.json", "../../x"), "the file list states no hash of `config.json`"),
    ] {
        let error = with(path, Fault::Text(text));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn redirects_end() {
    for (location, expected) in [(REVISION, "more than 8 redirects"), ("file:///etc/passwd", "a redirect to nowhere")] {
        let error = {
            let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
            hub.hub.redirect(REVISION, 302, location);
            failure(fetch(&hub, cache.path(), "bert"))
        };
        assert!(error.contains(expected), "{error}");
    }
}
