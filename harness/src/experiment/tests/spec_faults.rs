//! Every mistake in a spec is one line that names file, field, fault and remedy.

use crate::experiment::spec;
use crate::failure::Failure;

const GOOD: &str = r#"
version = 1
name = "good"
tasks = ["one", "two"]
seeds = [0, 1]
protocol = "clean"
student = "tiny"
jobs = 1
[[method]]
kind = "s3"
rounds = 2
[[method]]
kind = "zerogen"
size = "as-s3"
[gold]
mine = 5
[train]
epochs = 3
[train.two]
epochs = 4
[teacher]
kind = "simulated"
"#;

#[test]
fn the_good_spec_is_good() {
    let spec = spec::parse(GOOD, "s.toml", &[]).unwrap();
    assert_eq!((spec.train["one"].epochs, spec.train["two"].epochs), (3, 4));
    assert_eq!(spec.gold["two"].mine, Some(5));
    assert_eq!(spec.methods[1].size, Some(crate::experiment::method_options::Size::As("s3".to_owned())));
}

#[test]
fn presets_are_good() {
    for (name, _) in spec::PRESETS {
        spec::load(name, &[]).unwrap();
    }
}

#[test]
fn faults() {
    for (from, to, message) in [
        ("version = 1", "", "s.toml: `version`: missing; write `version = 1`"),
        ("version = 1", "version = 2", "s.toml: `version`: is 2; this program reads version 1"),
        ("version = 1", "version = ", "s.toml:2: not TOML: "),
        ("name = \"good\"", "", "s.toml: `name`: missing; write a short name"),
        ("\"good\"", "\"a/b\"", "s.toml: `name`: is \"a/b\"; use letters, digits, `-`, `_` and `.`, first a letter or digit"),
        ("\"good\"", "3", "s.toml: `name`: invalid type: integer `3`, expected a string; write a short name"),
        ("[\"one\", \"two\"]", "[]", "s.toml: `train.two`: no such task here; tasks are "),
        ("\"one\",", "\"two\",", "s.toml: `tasks`: names two twice; name each task once"),
        ("[0, 1]", "[]", "s.toml: `seeds`: is empty; name at least one seed"),
        ("[0, 1]", "[1, 1]", "s.toml: `seeds`: names 1 twice; name each seed once"),
        (
            "[0, 1]",
            "[-1]",
            "s.toml: `seeds`: invalid value: integer `-1`, expected u64; write a list of whole numbers of at least 0",
        ),
        (
            "\"clean\"",
            "\"fair\"",
            "s.toml: `protocol`: unknown variant `fair`, expected `paper` or `clean`; write \"clean\" or \"paper\"",
        ),
        ("jobs = 1", "jobs = 0", "s.toml: `jobs`: is 0; use at least 1"),
        (
            "jobs = 1",
            "job = 1",
            "s.toml: `job`: unknown field; known are version, tasks, method, student, name, seeds, protocol, ",
        ),
        ("kind = \"s3\"", "kind = \"s4\"", "s.toml: `method.0`: `kind`: unknown variant `s4`, expected one of "),
        ("rounds = 2", "round = 2", "s.toml: `method.0`: unknown field `round`, expected one of "),
        ("rounds = 2", "rounds = \"2\"", "s.toml: `method.0`: `rounds`: invalid type: string \"2\", expected usize"),
        ("rounds = 2", "seed_rows = 0", "s.toml: `method.0.seed_rows`: is 0; use at least 1"),
        ("rounds = 2", "rationale_count = 0", "s.toml: `method.0.rationales`: is true but no rationales are asked for; "),
        (
            "rounds = 2",
            "variant = \"a b\"",
            "s.toml: `method.0.variant`: is \"a b\"; use letters, digits, `-`, `_` and `.`, first ",
        ),
        ("\"as-s3\"", "\"s3\"", "s.toml: `method.1`: `size`: `s3` is not a size: write a number of rows or \"as-METHOD\", "),
        (
            "\"as-s3\"",
            "\"as-gold\"",
            "s.toml: `method.1.size`: \"as-gold\" names no method here; add a [[method]] gold or write a number",
        ),
        ("\"as-s3\"", "0", "s.toml: `method.1.size`: is 0; use at least 1"),
        (
            "\"as-s3\"",
            "\"as-zerogen\"",
            "s.toml: `method.1.size`: \"as-zerogen\" names a method whose own size depends on another; ",
        ),
        ("kind = \"zerogen\"", "kind = \"s3\"", "s.toml: `method`: has s3 twice; give each its own `variant`"),
        ("mine = 5", "mine = 0", "s.toml: `gold.mine`: is 0; use 1 to 10000000, or leave it out for all rows"),
        ("mine = 5", "mined = 5", "s.toml: `[gold]` for one: unknown field `mined`, expected one of "),
        ("epochs = 3", "epochs = 0", "s.toml: `train.epochs`: is 0; use at least 1"),
        ("epochs = 4", "epochs = 0", "s.toml: `train.two.epochs`: is 0; use at least 1"),
        ("epochs = 4", "batch_size = -1", "s.toml: `[train]` for two: `batch_size`: invalid value: integer `-1`, expected usize"),
        ("epochs = 3", "learning_rate = 2.0", "s.toml: `train.learning_rate`: is 2; use more than 0 and at most 1"),
        ("epochs = 3", "learning_rate = nan", "s.toml: `train.learning_rate`: is NaN; use more than 0 and at most 1"),
        ("epochs = 3", "weight_decay = -1.0", "s.toml: `train.weight_decay`: is -1; use a finite number of at least 0"),
        ("epochs = 3", "max_length = 2", "s.toml: `train.max_length`: is 2; use 4 to 8192 tokens"),
        ("epochs = 3", "stride = 128", "s.toml: `train.stride`: is 128; use less than max_length, 128"),
        ("epochs = 3", "warmup = -1", "s.toml: `train.warmup`: is -1; use a number of steps, or a share of them below 1"),
        ("[train.two]", "[train.three]", "s.toml: `train.three`: no such task here; tasks are one, two"),
        ("\"simulated\"", "\"oracle\"", "s.toml: `teacher.kind`: is \"oracle\"; this program has simulated and replay"),
        ("\"good\"", "\"..\"", "s.toml: `name`: is \"..\"; use letters, "),
        ("\"one\"", "\"..\"", "s.toml: `tasks`: names \"..\"; use letters, "),
        ("\"one\"", "\"\"", "s.toml: `tasks`: names \"\"; use letters, "),
        ("\"one\"", "\"../one\"", "../one: no such file"),
        ("\"one\"", "\"none/one.toml\"", "none/one.toml: no such file"),
        ("rounds = 2", "variant = \"..\"", "s.toml: `method.0.variant`: is \"..\"; use letters, "),
        ("rounds = 2", "rounds = 101", "s.toml: `method.0.rounds`: is 101; use at most 100"),
        ("rounds = 2", "per_error = 0", "s.toml: `method.0.per_error`: is 0; use at least 1"),
        ("rounds = 2", "per_error = 101", "s.toml: `method.0.per_error`: is 101; use at most 100"),
        ("rounds = 2", "retries = 101", "s.toml: `method.0.retries`: is 101; use at most 100"),
        ("rounds = 2", "rationale_count = 1001", "s.toml: `method.0.rationale_count`: is 1001; use at most 1000"),
        ("rounds = 2", "seed_rows = 10000001", "s.toml: `method.0.seed_rows`: is 10000001; use at most 10000000"),
        ("rounds = 2", "wrong_below_f1 = nan", "s.toml: `method.0.wrong_below_f1`: is NaN; use more than 0 and at most 1"),
        ("rounds = 2", "wrong_below_f1 = 0.0", "s.toml: `method.0.wrong_below_f1`: is 0; use more than 0 and at most 1"),
        ("\"as-s3\"", "10000001", "s.toml: `method.1.size`: is 10000001; use at most 10000000"),
        (
            "\"as-s3\"",
            "7\nadditional = true",
            "s.toml: `method.1.additional`: is true, but only a replay teacher has such rows; ",
        ),
        (
            "\"zerogen\"\nsize = \"as-s3\"",
            "\"goldgen\"\nseed_rows = 8\nsize = 7",
            "s.toml: `method.1.seed_rows`: is 8, more than `size`, 7; lower it",
        ),
        ("mine = 5", "mine = 10000001", "s.toml: `gold.mine`: is 10000001; use 1 to 10000000, or leave it out for all rows"),
        ("epochs = 3", "epochs = 100001", "s.toml: `train.epochs`: is 100001; use at most 100000"),
        ("epochs = 3", "batch_size = 1000001", "s.toml: `train.batch_size`: is 1000001; use at most 1000000"),
        ("kind = \"simulated\"", "", "s.toml: `teacher`: missing field `kind`; write `[teacher]` with kind = "),
    ] {
        let broken = GOOD.replacen(from, to, 1);
        assert_ne!(broken, GOOD, "{from}");
        let error = spec::parse(&broken, "s.toml", &[]).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(message), "{from} -> {to}\n got {text}\nwant {message}");
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(Failure::exit_code(&error), 2);
    }
}

#[test]
fn overrides() {
    let set = |text: &str| spec::parse(GOOD, "s.toml", &[text.parse().unwrap()]);
    assert_eq!(
        set("train.lr-less=1").unwrap_err().to_string(),
        "s.toml: `[train]` for one: unknown field `lr-less`, expected one of `epochs`, `batch_size`, `batch_tokens`, `precision`, `learning_rate`, `weight_decay`, `warmup`, `max_length`, `stride`, `max_grad_norm`, `patience`"
    );
    assert_eq!(set("method.zerogen.size=7").unwrap().methods[1].size, Some(crate::experiment::method_options::Size::Rows(7)));
    assert_eq!(set("method.0.rounds=1").unwrap().methods[0].rounds, 1);
    assert_eq!(set("student=some/dir").unwrap().student, "some/dir");
    assert_eq!(set("teacher.simulated.noise=0.5").unwrap().teacher.simulated["noise"].as_float(), Some(0.5));
    for (text, message) in [
        ("method.progen.rounds=1", "--set method.progen.rounds: `progen` in `method.progen.rounds` is none of s3, zerogen"),
        ("method.s3=1", "--set method.s3: `method.s3` should end in a field of `s3`"),
        ("name.first=1", "--set name.first: `name` in `name.first` is a value, not a table"),
        ("train..epochs=1", "--set train..epochs: `train..epochs` is not a dotted key"),
    ] {
        assert_eq!(set(text).unwrap_err().to_string(), message);
    }
}
