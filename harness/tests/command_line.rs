//! The command line from outside: exit codes, one-line errors, and what goes to stdout.

use std::path::Path;
use std::process::{Command, Output};

fn stepsynth(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stepsynth")).args(arguments).current_dir(directory).output().unwrap()
}

const SPEC: &str = r#"
version = 1
name = "small"
tasks = ["lab-reviews"]
[[method]]
kind = "gold"
[gold]
mine = 24
select = 8
test = 8
[train]
epochs = 1
max_length = 64
"#;

#[test]
fn mistakes_are_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("small.toml"), SPEC).unwrap();
    std::fs::write(folder.path().join("files.toml"), SPEC.replace("lab-reviews", "rte")).unwrap();
    std::fs::write(folder.path().join("bad.toml"), "version = \n").unwrap();
    for (arguments, message) in [
        (&["run"][..], "error: the following required arguments were not provided: <SPEC>"),
        (&["walk"], "error: unrecognized subcommand 'walk'"),
        (&["run", "none.toml"], "error: none.toml: no such file or preset; presets are quickstart, imdb-transfer, rte-replay"),
        (&["run", "bad.toml"], "error: bad.toml:1: not TOML: "),
        (&["run", "small.toml", "--resume", "maybe"], "error: invalid value 'maybe' for '--resume <RESUME>'"),
        (
            &["run", "small.toml", "--resume", "always", "--out", "nowhere"],
            "error: nowhere: no run to resume; leave out --resume always",
        ),
        (
            &["run", "small.toml", "--device", "cuda:first"],
            "error: invalid value 'cuda:first' for '--device <DEVICE>': `cuda:first`: `first` is not the number of a GPU; use cuda:0",
        ),
        (&["run", "small.toml", "--device", "cuda:4096"], "error: device cuda:4096: "),
        (
            &["run", "small.toml", "--device", "tpu"],
            "error: invalid value 'tpu' for '--device <DEVICE>': `tpu` is not a device; use `auto`, `cpu`, `cuda`, `cuda:N` or `reference`",
        ),
        (
            &["run", "small.toml", "--set", "epochs"],
            "error: invalid value 'epochs' for '--set <KEY=VALUE>': `epochs` is not key=value",
        ),
        (&["run", "small.toml", "--set", "epochs=3"], "error: small.toml: `epochs`: unknown field; known are version, "),
        (
            &["run", "small.toml", "--set", "train.epochs=none"],
            "error: small.toml: `[train]` for lab-reviews: `epochs`: invalid type: string \"none\", expected usize",
        ),
        (&["run", "small.toml", "--seeds", "a"], "error: invalid value 'a' for '--seeds <SEEDS>': invalid digit found in string"),
        (&["run", "small.toml", "--seeds", "1,1"], "error: small.toml: `seeds`: names 1 twice; name each seed once"),
        (&["run", "small.toml", "--seeds", "18446744073709551615"], "error: --seeds: the largest is 9223372036854775807"),
        (
            &["run", "small.toml", "--student", "giant"],
            "error: student: `giant` is neither a built-in student (tiny, small) nor a directory with a config.json",
        ),
        (
            &["run", "small.toml", "--teacher", "replay"],
            "error: invalid value 'replay' for '--teacher <TEACHER>': use simulated or replay:FILE",
        ),
        (
            &["run", "small.toml", "--teacher", "openai"],
            "error: invalid value 'openai' for '--teacher <TEACHER>': use simulated or replay:FILE",
        ),
        (&["run", "small.toml", "--max-usd", "-1"], "error: "),
        (
            &["run", "small.toml", "--max-usd", "nan"],
            "error: invalid value 'nan' for '--max-usd <X>': not an amount of US dollars",
        ),
        (
            &["run", "small.toml", "--max-requests", "few"],
            "error: invalid value 'few' for '--max-requests <N>': invalid digit found in string",
        ),
        (&["run", "files.toml"], "error: task rte: its gold data are files; say where with --set data=DIR"),
        (&["task", "show", "chess"], "error: no task `chess`; built in are "),
        (&["task", "check", "chess.toml"], "error: chess.toml: no such file"),
        (&["data", "check", "rte", "--data", "nowhere"], "error: nowhere/"),
        (
            &["data", "check", "rte", "--label-order", "a,,b"],
            "error: invalid value 'a,,b' for '--label-order <LABELS>': label order `a,,b` has an empty name",
        ),
    ] {
        let output = stepsynth(folder.path(), arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with(message), "{arguments:?}\n got {text}want {message}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_plan_says_what_a_run_would_cost() {
    let folder = tempfile::tempdir().unwrap();
    let output = stepsynth(folder.path(), &["quickstart", "--dry-run"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.lines().last().unwrap().starts_with("48 cells; about "), "{text}");
    assert!(text.contains("USD 0;"), "{text}");
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn looking_around() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["doctor"][..], "\ndevice cuda: "),
        (&["doctor"], "\ncpu path: "),
        (&["task", "show", "rte"], "name = \"rte\""),
        (&["task", "check", "imdb", "rte"], "imdb: ok, 2 labels, metric accuracy\nrte: ok, 2 labels, metric accuracy\n"),
        (&["--version"], "stepsynth "),
    ] {
        let output = stepsynth(folder.path(), arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
    }
}
