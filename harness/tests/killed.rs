//! `kill -9` at random moments, then `--resume auto`: the results are those of an uninterrupted run.
#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
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

#[test]
fn a_run_killed_again_and_again_ends_with_the_same_results() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    std::fs::write(folder.join("killed.toml"), SPEC).unwrap();

    let started = Instant::now();
    assert!(start(folder, "whole").wait().unwrap().success());
    let whole = started.elapsed();

    // Delays spread over the length of a run; steps done survive, so the run ends however often it is killed.
    let mut kills = 0;
    let mut generator = stepsynth_core::random::Stream::new(1, "kills").generator();
    loop {
        let mut child = start(folder, "killed");
        let delay = if kills < 10 { whole.mul_f64(0.6 * generator.uniform()) } else { Duration::from_secs(600) };
        let deadline = Instant::now() + delay;
        let ended = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => break None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        match ended {
            Some(status) => {
                assert!(status.success(), "the run ended with {status}");
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
        }
    }
    assert!(kills > 0, "the run was never killed");
    let (uninterrupted, resumed) = (results(folder, "whole"), results(folder, "killed"));
    assert!(uninterrupted.len() > 50);
    assert_eq!(uninterrupted, resumed);
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
