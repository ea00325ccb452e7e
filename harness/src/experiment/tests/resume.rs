//! Runs that end early go on to the same results.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use anyhow::Result;

use super::fake::{self, FakeWorld};
use crate::experiment::cancel::Cancel;
use crate::experiment::consumed::Limits;
use crate::experiment::journal::Resume;
use crate::experiment::run::{Observer, RunOptions, run};
use crate::experiment::spec::{self, Override, Spec};
use crate::failure::Failure;
use crate::report::results::{self, ResultRow};

const SPEC: &str = r#"
version = 1
name = "fake"
# A copy of the run directory is a moment of it only if nothing else writes at that time.
jobs = 1
tasks = ["b-task", "a-task"]
seeds = [3, 1]
[[method]]
kind = "zerogen"
size = "as-s3"
rounds = 0
[[method]]
kind = "s3"
seed_rows = 4
[[method]]
kind = "gold"
"#;

fn world() -> &'static FakeWorld {
    Box::leak(Box::default())
}

fn spec(changes: &[&str]) -> Spec {
    let changes: Vec<Override> = changes.iter().map(|change| change.parse().unwrap()).collect();
    spec::parse(SPEC, "fake.toml", &changes).unwrap()
}

fn options(out: &Path, resume: Resume) -> RunOptions {
    RunOptions { out: out.to_owned(), resume, limits: Limits::default(), command: vec!["test".to_owned()] }
}

struct Silent;

impl Observer for Silent {
    fn began(&self, _: &str, _: &str) {}
    fn trained(&self, _: &str, _: usize, _: usize, _: usize) {}
    fn measured(&self, _: &str, _: usize, _: usize) {}
    fn finished(&self, _: &str, _: &str) {}
    fn ended(&self, _: &str, _: &Result<()>) {}
}

/// Copies the run directory whenever something happens: what a killed process would leave behind at that moment.
struct Snapshots {
    out: PathBuf,
    to: PathBuf,
    taken: Mutex<Vec<PathBuf>>,
}

impl Snapshots {
    fn take(&self) {
        let mut taken = self.taken.lock().unwrap();
        let to = self.to.join(taken.len().to_string());
        copy(&self.out, &to);
        taken.push(to);
    }
}

impl Observer for Snapshots {
    fn began(&self, _: &str, _: &str) {
        self.take();
    }
    fn trained(&self, _: &str, _: usize, done: usize, _: usize) {
        if done == 2 {
            self.take();
        }
    }
    fn measured(&self, _: &str, _: usize, _: usize) {}
    fn finished(&self, _: &str, _: &str) {
        self.take();
    }
    fn ended(&self, _: &str, _: &Result<()>) {
        self.take();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The file's rows without times and memory; the file as a whole has been checked to be what was returned.
fn table(out: &Path) -> Vec<ResultRow> {
    let rows = results::read_file(&out.join("results.csv")).unwrap();
    rows.into_iter().map(|row| ResultRow { wall_seconds: None, peak_rss_mb: None, ..row }).collect()
}

fn synthetic(out: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![out.join("synthetic")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(out).unwrap().to_owned(), text));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn killed_at_any_moment_and_resumed_gives_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("whole");
    std::fs::create_dir(&out).unwrap();
    let snapshots = Snapshots { out: out.clone(), to: folder.path().join("killed"), taken: Mutex::default() };
    let world = world();
    let all = run(&spec(&[]), &world, &fake::method, &options(&out, Resume::Never), &Cancel::default(), &snapshots).unwrap();
    assert_eq!(all, results::read_file(&out.join("results.csv")).unwrap());
    let fits = world.fits.load(Ordering::SeqCst);
    // Two tasks, two seeds; S3 trains three times, the others once.
    assert_eq!(fits, 2 * 2 * 5);
    let taken = snapshots.taken.lock().unwrap();
    // Per cell: begin and finish of each step, once within each training, and the end.
    assert_eq!(taken.len(), 2 * 2 * (2 * (2 + 6 + 1) - 2 + 2 + 5 + 3));
    for (at, killed) in taken.iter().enumerate() {
        run(&spec(&[]), &world, &fake::method, &options(killed, Resume::Always), &Cancel::default(), &Silent).unwrap();
        assert_eq!(table(killed), table(&out), "snapshot {at}");
        assert_eq!(synthetic(killed), synthetic(&out), "snapshot {at}");
    }
}

#[test]
fn results_are_in_plan_order_whatever_the_number_of_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let mut tables = Vec::new();
    for jobs in ["jobs=1", "jobs=4"] {
        let out = folder.path().join(jobs);
        run(&spec(&[jobs]), &world(), &fake::method, &options(&out, Resume::Auto), &Cancel::default(), &Silent).unwrap();
        tables.push(table(&out));
    }
    assert_eq!(tables[0], tables[1]);
    let mut cells: Vec<(String, String, u64)> =
        tables[0].iter().map(|row| (row.task.clone(), row.method.clone(), row.seed)).collect();
    cells.dedup();
    let expected = ["b-task", "a-task"]
        .iter()
        .flat_map(|task| ["zerogen", "s3", "gold"].map(|method| [3, 1].map(|seed| (task.to_string(), method.to_string(), seed))))
        .flatten();
    assert_eq!(cells, expected.collect::<Vec<_>>());
    let rows =
        |method: &'static str| tables[0].iter().filter(move |row| row.method == method && row.split == results::Split::Test);
    for (zerogen, s3) in rows("zerogen").zip(rows("s3")) {
        assert_eq!(zerogen.train_rows, s3.train_rows);
    }
}

#[test]
fn an_interrupted_run_stops_and_goes_on() {
    struct Stop(Cancel);
    impl Observer for Stop {
        fn began(&self, _: &str, _: &str) {}
        fn trained(&self, _: &str, round: usize, done: usize, _: usize) {
            if (round, done) == (1, 2) {
                self.0.set();
            }
        }
        fn measured(&self, _: &str, _: usize, _: usize) {}
        fn finished(&self, _: &str, _: &str) {}
        fn ended(&self, _: &str, _: &Result<()>) {}
    }
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("stopped"));
    run(&spec(&[]), &world(), &fake::method, &options(&whole, Resume::Auto), &Cancel::default(), &Silent).unwrap();
    let cancel = Cancel::default();
    let error =
        run(&spec(&[]), &world(), &fake::method, &options(&out, Resume::Auto), &cancel, &Stop(cancel.clone())).unwrap_err();
    assert_eq!(Failure::exit_code(&error), 130);
    assert!(table(&out).len() < table(&whole).len());
    run(&spec(&[]), &world(), &fake::method, &options(&out, Resume::Auto), &Cancel::default(), &Silent).unwrap();
    assert_eq!(table(&out), table(&whole));
}

#[test]
fn a_budget_stops_before_it_is_crossed_and_more_budget_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("short"));
    run(&spec(&[]), &world(), &fake::method, &options(&whole, Resume::Auto), &Cancel::default(), &Silent).unwrap();
    let requests: u64 = 10;
    let limited = |requests| RunOptions { limits: Limits { requests, ..Limits::default() }, ..options(&out, Resume::Auto) };
    for _ in 0..2 {
        let error = run(&spec(&[]), &world(), &fake::method, &limited(Some(requests)), &Cancel::default(), &Silent).unwrap_err();
        assert_eq!(Failure::exit_code(&error), 3, "{error:#}");
        assert!(error.to_string().starts_with("budget reached: --max-requests 10: "), "{error}");
    }
    let written: usize = synthetic(&out).iter().map(|(_, text)| text.lines().count()).sum();
    assert!(written <= 10, "{written}");
    // Gold needs no teacher, so its four cells are done.
    assert_eq!(table(&out).iter().filter(|row| row.method == "gold" && row.metric == "macro_f1").count(), 4);
    run(&spec(&[]), &world(), &fake::method, &limited(None), &Cancel::default(), &Silent).unwrap();
    assert_eq!(table(&out), table(&whole));
}

#[test]
fn a_failing_cell_does_not_lose_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let broken: &'static FakeWorld = Box::leak(Box::new(FakeWorld { broken: Some("b-task"), ..FakeWorld::default() }));
    let error =
        run(&spec(&[]), &broken, &fake::method, &options(folder.path(), Resume::Auto), &Cancel::default(), &Silent).unwrap_err();
    assert_eq!(Failure::exit_code(&error), 1);
    let message = "6 of 12 cells failed, the first b-task/s3/seed-3: the student is broken";
    assert_eq!(error.to_string(), message);
    assert_eq!(table(folder.path()).iter().filter(|row| row.task == "a-task" && row.metric == "macro_f1").count(), 2 * 5);
}

#[test]
fn a_directory_holds_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let place = out.display().to_string();
    let go = |changes: &[&str], resume| {
        run(&spec(changes), &world(), &fake::method, &options(&out, resume), &Cancel::default(), &Silent).map(|rows| rows.len())
    };
    let message = |result: Result<usize>| {
        let error = result.unwrap_err();
        assert_eq!(Failure::exit_code(&error), 2);
        error.to_string()
    };
    assert_eq!(message(go(&[], Resume::Always)), format!("{place}: no run to resume; leave out --resume always"));
    let rows = go(&[], Resume::Never).unwrap();
    assert_eq!(go(&["jobs=2", "data=elsewhere"], Resume::Always).unwrap(), rows);
    assert_eq!(message(go(&[], Resume::Never)), format!("{place}: not empty, and --resume never; name another --out"));
    for (change, what) in [
        ("train.b-task.epochs=9", "`train.b-task.epochs` was 6 and is 9"),
        ("method.s3.rounds=1", "`methods.1.rounds` was 2 and is 1"),
        ("seeds=[3]", "`seeds` was [3,1] and is [3]"),
        ("save_models=true", "`save_models` was false and is true"),
        ("protocol=paper", "`protocol` was \"clean\" and is \"paper\""),
    ] {
        let expected = format!("{place}: holds another run: {what}; name another --out or undo the change");
        assert_eq!(message(go(&[change], Resume::Auto)), expected);
    }
    let lock = std::fs::File::open(out.join("journal.lock")).unwrap();
    lock.lock().unwrap();
    let expected = format!("{place}: another process is running there; wait for it or name another --out");
    assert_eq!(message(go(&[], Resume::Auto)), expected);
    drop(lock);
    assert_eq!(go(&[], Resume::Auto).unwrap(), rows);
}
