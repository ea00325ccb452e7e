//! `kill -9` at random moments, then `--resume auto`: the results are those of an uninterrupted run.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use stepsynth::report::results::{COLUMNS, TIMING_COLUMNS};

const SPEC: &str = r#"
version = 1
name = "killed"
tasks = ["lab-reviews", "lab-spans"]
seeds = [0]
[[method]]
kind = "s3"
rounds = 2
seed_rows = 60
[[method]]
kind = "goldgen"
seed_rows = 60
size = "as-s3"
[[method]]
kind = "gold"
[gold]
mine = 60
select = 30
test = 40
[train]
epochs = 4
max_length = 64
[teacher]
kind = "simulated"
"#;

/// Kills in all.
const KILLS: usize = 10;

fn start(folder: &Path, out: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_stepsynth"))
        .args(["run", "killed.toml", "--out", out, "--resume", "auto"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// `results.csv` without the columns that measure time and memory.
fn results(folder: &Path, out: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(folder.join(out).join("results.csv")).unwrap();
    let kept: Vec<usize> = (0..COLUMNS.len()).filter(|&column| !TIMING_COLUMNS.contains(&COLUMNS[column])).collect();
    let row = |record: csv::StringRecord| kept.iter().map(|&column| record[column].to_owned()).collect();
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// The files under `synthetic/`, by path.
fn synthetic(out: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![out.join("synthetic")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            // What a kill leaves half-written is hidden and never read.
            } else if !path.file_name().unwrap().to_string_lossy().starts_with('.') {
                files.insert(path.strip_prefix(out).unwrap().to_owned(), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_run_killed_again_and_again_ends_with_the_same_results() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    std::fs::write(folder.join("killed.toml"), SPEC).unwrap();

    let started = Instant::now();
    assert!(start(folder, "whole").wait().unwrap().success());
    let whole = started.elapsed();

    // A run ends however often it is killed, since steps done survive; then another one begins in a fresh folder, which is
    // killed sooner each time, until there were enough kills. The last one is left alone.
    let mut kills = 0;
    let mut generator = stepsynth_core::random::Stream::new(1, "kills").generator();
    for attempt in 0.. {
        let out = format!("killed-{attempt}");
        let mut share = 0.6 / f64::from(attempt + 1);
        loop {
            let delay = if kills < KILLS { whole.mul_f64(share * generator.uniform()) } else { Duration::from_secs(600) };
            match ended_within(start(folder, &out), delay) {
                Some(status) => {
                    assert!(status.success(), "the run ended with {status}");
                    break;
                }
                None => kills += 1,
            }
            share *= 0.8;
        }
        assert_eq!(results(folder, &out), results(folder, "whole"), "{out}, after {kills} kills");
        assert_eq!(synthetic(&folder.join(&out)), synthetic(&folder.join("whole")), "{out}, after {kills} kills");
        if kills >= KILLS {
            break;
        }
    }
    assert!(results(folder, "whole").len() > 50 && synthetic(&folder.join("whole")).len() > 6);
}

/// How the process ended, or that it was killed after `delay`.
fn ended_within(mut child: Child, delay: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + delay;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    // It may have ended just before.
    status.code().map(|_| status)
}

#[test]
fn interrupt_saves_and_exits_130() {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::write(temporary.path().join("killed.toml"), SPEC.replace("epochs = 4", "epochs = 400")).unwrap();
    let child = start(temporary.path(), "out");
    let journal = temporary.path().join("out/journal.sqlite");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !journal.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(temporary.path().join("out/results.csv").exists());
}
