//! `stepsynth data fetch` and `data list`, and students from the cache, as a user runs them.

mod proxy;
#[allow(dead_code, reason = "the tests of the data sets package use all of it")]
#[path = "../../../datasets/tests/hub/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use proxy::Proxy;
use server::{Fault, TestHub, sha256};

const COMMIT: &str = "12040accade4e8a0f71eabdb258fecc2e7e948be";
const CONFIG: &[u8] =
    br#"{"model_type": "bert", "vocab_size": 5, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
  "intermediate_size": 16, "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
  "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "initializer_range": 0.02, "pad_token_id": 0}"#;
const VOCABULARY: &[u8] = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

/// The program, with nothing of this machine's own hub.
fn stepsynth(hub: &TestHub, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepsynth"));
    command.current_dir(folder).env("HF_ENDPOINT", hub.hub.url()).env("HF_HOME", "hf");
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        command.env_remove(name);
    }
    command
}

fn output(command: &mut Command, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn bert(hub: &TestHub, weights: &[u8]) {
    hub.model("org/bert", COMMIT, &[("config.json", CONFIG), ("vocab.txt", VOCABULARY), ("model.safetensors", weights)]);
}

#[test]
fn a_model_is_fetched_listed_and_used_as_a_student() {
    let (hub, folder) = (TestHub::start(), tempfile::tempdir().unwrap());
    bert(&hub, &[7; 1000]);
    let run = |arguments: &[&str]| output(&mut stepsynth(&hub, folder.path()), arguments);
    let student = ["run", "quickstart", "--student", "org/bert", "--dry-run"];
    let (code, _, stderr) = run(&student);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("as a model of the hub: model `org/bert`: not in the cache hf/hub; run `stepsynth data fetch org/bert`"),
        "{stderr}"
    );
    assert!(hub.hub.requests().is_empty(), "no network for a student");

    let (code, stdout, stderr) = run(&["data", "fetch", "org/bert"]);
    let place = format!("hf/hub/models--org--bert/snapshots/{COMMIT}");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("org/bert: 3 files, 1.38 kB, revision {COMMIT} (main), in {place}\n"));
    assert_eq!(stderr, "");
    let asked = hub.hub.requests().len();

    let (code, stdout, _) = run(&["data", "list"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains(&format!("  org/bert {COMMIT} (main), 1.38 kB\n")), "{stdout}");
    assert!(stdout.contains("rte             not here; stepsynth data fetch rte --data .\n"), "{stdout}");
    assert!(stdout.contains("lab-spans       needs no files\n"), "{stdout}");
    let (code, _, stderr) = run(&student);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(hub.hub.requests().len(), asked);

    let (code, stdout, _) = run(&["data", "fetch", "model:org/bert", "--revision", COMMIT, "--to", "mine"]);
    assert_eq!((code, stdout.ends_with(&format!("revision {COMMIT}, in mine\n"))), (Some(0), true), "{stdout}");
    assert!(folder.path().join("mine/config.json").is_file());
}

#[test]
fn a_tasks_files_are_fetched_and_listed() {
    let (hub, folder) = (TestHub::start(), tempfile::tempdir().unwrap());
    let revision = stepsynth_datasets::TaskSpec::find("rte").unwrap().hub.unwrap().revision;
    let files: [(&str, &[u8]); 2] =
        [("rte/train-00000-of-00001.parquet", b"train"), ("rte/validation-00000-of-00001.parquet", b"dev")];
    hub.dataset("nyu-mll/glue", &revision, &files);
    for name in ["rte", "task:rte"] {
        let (code, stdout, stderr) = output(&mut stepsynth(&hub, folder.path()), &["data", "fetch", name, "--data", "data"]);
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(stdout, format!("{name}: 2 files, 8 B, revision {revision}, in data\n"));
    }
    assert_eq!(std::fs::read(folder.path().join("data/glue/rte_train.parquet")).unwrap(), b"train");
    let (_, stdout, _) = output(&mut stepsynth(&hub, folder.path()), &["data", "list", "--data", "data"]);
    assert!(stdout.contains("rte             here, fetched from nyu-mll/glue\n"), "{stdout}");
}

#[test]
fn mistakes_are_bad_input_and_the_network_is_a_failure() {
    let (hub, folder) = (TestHub::start(), tempfile::tempdir().unwrap());
    bert(&hub, b"weights");
    let limited = "/api/models/org/limited/revision/main";
    hub.hub.fault(limited, Fault::Status(429, vec![("retry-after", "3600".into())]));
    for (arguments, code, expected) in [
        (&["org/absent"][..], 2, "404 Not Found; check the name and the revision"),
        (&["org/bert", "--revision", "v9"], 2, "/api/models/org/bert/revision/v9: 404 Not Found"),
        (&["org/bert@v9", "--revision", "v8"], 2, "org/bert: names the revision v9, and another is asked for (v8)"),
        (&["a/b/c"], 2, "`a/b/c`: not the name of a repository on the hub"),
        (&["../up"], 2, "`../up`: not the name of a repository on the hub"),
        (&["rte", "--revision", "main"], 2, "--revision: `rte` is a task"),
        (&["org/bert", "--data", "x"], 2, "--data: `org/bert` is a model"),
        (&["lab-spans"], 2, "task `lab-spans`: its file has no [hub] section"),
        (&["task:chess"], 2, "no task `chess`"),
        (&["org/limited"], 1, "asks to wait 3600 s; the hub limits requests"),
    ] {
        let (got, stdout, stderr) = output(stepsynth(&hub, folder.path()).args(["data", "fetch"]), arguments);
        assert_eq!(got, Some(code), "{arguments:?}: {stderr}");
        assert!(
            stderr.starts_with("error: ") && stderr.lines().count() == 1 && stderr.contains(expected),
            "{arguments:?}: {stderr}"
        );
        assert_eq!(stdout, "");
    }
    let (code, _, stderr) = output(stepsynth(&hub, folder.path()).env("HF_ENDPOINT", "hub"), &["data", "fetch", "org/bert"]);
    assert_eq!((code, stderr.starts_with("error: HF_ENDPOINT: not an address")), (Some(2), true), "{stderr}");
    let (code, _, stderr) = output(stepsynth(&hub, folder.path()).env("HF_HUB_OFFLINE", "1"), &["data", "fetch", "org/bert"]);
    assert_eq!((code, stderr.contains("HF_HUB_OFFLINE is set")), (Some(2), true), "{stderr}");
}

/// The name `hub.test` is known to the proxy alone, so what arrives came through it.
#[test]
fn proxies_and_their_exceptions_are_heeded() {
    let (hub, folder) = (TestHub::start(), tempfile::tempdir().unwrap());
    bert(&hub, b"weights");
    let proxy = Proxy::start(BTreeMap::from([("hub.test:80".to_owned(), hub.hub.address())]));
    let mut command = stepsynth(&hub, folder.path());
    command.env("HF_ENDPOINT", "http://hub.test").env("HTTPS_PROXY", format!("http://user:pw9x@{}", proxy.address));
    command.env("NO_PROXY", "localhost,127.0.0.1").env("HF_TOKEN", "hf_secret");
    let (code, _, stderr) = output(&mut command, &["data", "fetch", "org/bert"]);
    assert_eq!(code, Some(0), "{stderr}");
    let asked = proxy.asked.lock().unwrap().clone();
    assert!(!asked.is_empty() && asked.iter().all(|target| target == "hub.test:80"), "{asked:?}");
    assert_eq!(hub.storage.requests().len(), 1);
    assert!(!hub.storage.requests()[0].headers.contains_key("authorization"));

    let refusing = Proxy::start(BTreeMap::new());
    let mut command = stepsynth(&hub, folder.path());
    command.env("HF_ENDPOINT", "http://hub.test").env("HTTP_PROXY", format!("http://user:pw9x@{}", refusing.address));
    let (code, _, stderr) = output(&mut command, &["data", "fetch", "org/bert"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&format!("(proxy {})", refusing.address)) && stderr.contains("check HTTPS_PROXY"), "{stderr}");
    assert!(!stderr.contains("pw9x"), "{stderr}");
}

/// Interrupted or killed while a server is silent: what has arrived is kept, and the next fetch goes on there.
#[test]
#[cfg(unix)]
fn an_interrupted_fetch_goes_on() {
    for (signal, code) in [("INT", Some(130)), ("KILL", None)] {
        let (hub, folder) = (TestHub::start(), tempfile::tempdir().unwrap());
        let weights: Vec<u8> = (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        bert(&hub, &weights);
        hub.storage.fault(&format!("/{}", sha256(&weights)), Fault::StallAfter(100_000));
        let mut child = stepsynth(&hub, folder.path()).args(["data", "fetch", "org/bert"]).spawn().unwrap();
        let part = folder.path().join(format!("hf/hub/models--org--bert/blobs/{}.incomplete", sha256(&weights)));
        let start = Instant::now();
        while !part.metadata().is_ok_and(|part| part.len() == 100_000) {
            assert!(start.elapsed() < Duration::from_secs(20), "nothing arrives");
            std::thread::sleep(Duration::from_millis(20));
        }
        let interrupted = Instant::now();
        assert!(Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), code);
        assert!(interrupted.elapsed() < Duration::from_secs(5), "{:?}", interrupted.elapsed());
        let (code, _, stderr) = output(&mut stepsynth(&hub, folder.path()), &["data", "fetch", "org/bert"]);
        assert_eq!(code, Some(0), "{stderr}");
        let requests = hub.storage.requests();
        assert_eq!((requests.len(), requests[1].headers["range"].as_str()), (2, "bytes=100000-"));
        let arrived = std::fs::read(folder.path().join(format!("hf/hub/models--org--bert/snapshots/{COMMIT}/model.safetensors")));
        assert_eq!(arrived.unwrap(), weights);
    }
}
