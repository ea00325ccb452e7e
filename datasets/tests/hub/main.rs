//! `stepsynth_datasets::hub` against real HTTP servers on this machine.

mod faults;
mod fetch;
mod hostile;
mod resume;
mod secrets;
mod server;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use server::TestHub;
use stepsynth_datasets::hub::{Event, Fetched, Hub, Limits, Settings, Watch};
use stepsynth_datasets::{Error, Result};

/// Two commits.
const COMMIT: &str = "12040accade4e8a0f71eabdb258fecc2e7e948be";
const OTHER: &str = "6cdc0aad91f5ae2e6712e91bc7b65d1cf5c05411";

/// Short waits; a silence of 400 ms is a stall.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    read: Duration::from_millis(400),
    pause: Duration::from_millis(1),
    longest_pause: Duration::from_secs(2),
    attempts: 4,
};

fn settings(hub: &TestHub, cache: &Path, more: &[(&str, &str)]) -> Settings {
    let variables = [("HF_ENDPOINT", hub.hub.url()), ("HF_HUB_CACHE", cache.display().to_string())];
    let find = |name: &str| {
        let more = more.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        more.or_else(|| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    };
    Settings::from_variables(find).unwrap().with_limits(LIMITS)
}

fn fetch(hub: &TestHub, cache: &Path, name: &str) -> Result<Fetched> {
    Hub::new(settings(hub, cache, &[])).fetch_model(&name.parse().unwrap(), None, &())
}

/// So many bytes that look like weights: all different in every window of 8.
fn weights(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64).flat_map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(bytes).collect()
}

/// A small model of which `main` has these weights.
fn bert(hub: &TestHub, weights: &[u8]) {
    hub.model("bert", COMMIT, &[("config.json", b"{\"a\": 1}"), ("vocab.txt", b"[PAD]\n"), ("model.safetensors", weights)]);
}

/// Where the large file is served.
fn storage_path(content: &[u8]) -> String {
    format!("/{}", server::sha256(content))
}

/// Remembers what it was told and stops a fetch after so many bytes of a file.
#[derive(Default)]
struct Witness {
    waits: Mutex<Vec<String>>,
    stop_after: Option<u64>,
    stopped: AtomicBool,
    most: AtomicU64,
}

impl Watch for Witness {
    fn cancelled(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn event(&self, event: Event<'_>) {
        match event {
            Event::Progress { done, .. } => {
                self.most.fetch_max(done, Ordering::SeqCst);
                if self.stop_after.is_some_and(|stop| done >= stop) {
                    self.stopped.store(true, Ordering::SeqCst);
                }
            }
            Event::Waiting { why, .. } => self.waits.lock().unwrap().push(why.to_owned()),
            Event::Planned { .. } => {}
        }
    }
}

fn witnessed(hub: &TestHub, cache: &Path, witness: &Witness) -> Result<Fetched> {
    Hub::new(settings(hub, cache, &[])).fetch_model(&"bert".parse().unwrap(), None, witness)
}

/// A failure that another try may mend, as one line.
fn failure(outcome: Result<Fetched>) -> String {
    one_line(outcome.unwrap_err(), |error| matches!(error, Error::HubFailed { .. }))
}

/// A refusal, as one line.
fn refusal(outcome: Result<Fetched>) -> String {
    one_line(outcome.unwrap_err(), |error| matches!(error, Error::HubRefused { .. }))
}

fn one_line(error: Error, is_right: impl Fn(&Error) -> bool) -> String {
    assert!(is_right(&error), "{error:?}");
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.contains("signature"), "{text}");
    text
}
