//! Servers in trouble: what is tried again, what is not, and what the user is told.

use std::time::{Duration, Instant};

use super::server::{Fault, TestHub};
use super::{COMMIT, Witness, bert, failure, fetch, refusal, storage_path, weights, witnessed};

const REVISION: &str = "/api/models/bert/revision/main";

fn after(seconds: u32) -> Vec<(&'static str, String)> {
    vec![("retry-after", seconds.to_string())]
}

#[test]
fn passing_faults_pass() {
    let (hub, cache, content) = (TestHub::start(), tempfile::tempdir().unwrap(), weights(200_000));
    bert(&hub, &content);
    let tree = format!("/api/models/bert/tree/{COMMIT}");
    hub.hub.fault(REVISION, Fault::Status(503, vec![]));
    hub.hub.fault(REVISION, Fault::Status(500, vec![]));
    hub.hub.fault(REVISION, Fault::Drop);
    hub.hub.fault(&tree, Fault::Truncate(20));
    hub.hub.fault(&tree, Fault::Stall);
    hub.hub.fault(&format!("/bert/resolve/{COMMIT}/vocab.txt"), Fault::StallAfter(3));
    hub.storage.fault(&storage_path(&content), Fault::Status(403, vec![]));
    hub.storage.fault(&storage_path(&content), Fault::Stall);
    hub.storage.fault(&storage_path(&content), Fault::Drop);
    let witness = Witness::default();
    witnessed(&hub, cache.path(), &witness).unwrap();
    let waits = witness.waits.lock().unwrap();
    assert_eq!(waits.len(), 9, "{waits:?}");
    assert_eq!(waits.iter().filter(|why| *why == "the server was silent for 0.4 s").count(), 3, "{waits:?}");
}

#[test]
fn retry_after_is_heeded_up_to_a_limit() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    bert(&hub, b"weights");
    hub.hub.fault(REVISION, Fault::Status(429, after(1)));
    let start = Instant::now();
    fetch(&hub, cache.path(), "bert").unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));

    hub.hub.fault(REVISION, Fault::Status(429, after(3600)));
    let start = Instant::now();
    let error = failure(fetch(&hub, cache.path(), "bert"));
    assert!(
        error.contains("429") && error.contains("asks to wait 3600 s; the hub limits requests; wait some minutes"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn attempts_are_bounded_and_the_error_names_address_status_and_remedy() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    bert(&hub, b"weights");
    for _ in 0..9 {
        hub.hub.fault(REVISION, Fault::Status(503, vec![]));
    }
    let error = failure(fetch(&hub, cache.path(), "bert"));
    let address = format!("{}{REVISION}", hub.hub.url());
    assert_eq!(error, format!("{address}: 503 Service Unavailable, in 4 attempts; the server has trouble; try again later"));
    assert_eq!(hub.hub.requests_of(REVISION).len(), 4);
}

#[test]
fn refusals_are_not_tried_again() {
    for (status, code, remedy) in [
        (401, "", "check the name and the revision; if it is private or gated, accept its licence and set HF_TOKEN"),
        (403, "GatedRepo", "accept the licence on the repository's page and set HF_TOKEN"),
        (404, "RepoNotFound", "check the name and the revision; names are `organisation/name`"),
        (404, "RevisionNotFound", "there is no such revision; check its name, or leave it out for `main`"),
    ] {
        let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
        bert(&hub, b"weights");
        hub.hub.fault(REVISION, Fault::Status(status, vec![("x-error-code", code.into()), ("x-error-message", "No.".into())]));
        let error = refusal(fetch(&hub, cache.path(), "bert"));
        assert!(error.starts_with(&format!("{}{REVISION}: {status} ", hub.hub.url())), "{error}");
        assert!(error.ends_with(&format!(" (No.); {remedy}")), "{error}");
        assert_eq!(hub.hub.requests().len(), 1);
    }
}

#[test]
fn nobody_listens_or_the_name_is_unknown() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    let fetch_from = |endpoint: &str| {
        let settings = super::settings(&hub, cache.path(), &[("HF_ENDPOINT", endpoint)]);
        failure(stepsynth_datasets::hub::Hub::new(settings).fetch_model(&"bert".parse().unwrap(), None, &()))
    };
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = fetch_from(&format!("http://127.0.0.1:{port}"));
    assert!(error.contains("in 4 attempts; check the network, HTTPS_PROXY and HF_ENDPOINT"), "{error}");
    // A name that is never one (RFC 6761).
    let error = fetch_from("http://hub.invalid");
    assert!(error.starts_with("http://hub.invalid/api/models/bert/revision/main: "), "{error}");
    assert!(error.contains("check the network, HF_ENDPOINT") || error.contains("check the network, HTTPS_PROXY"), "{error}");
    // A server that does not speak TLS.
    let error = fetch_from(&format!("https://{}", hub.hub.address()));
    assert!(error.contains("certificate or encryption") || error.contains("check the network"), "{error}");
}
