//! Bad input through the program: each is one line on stderr that names file, field, fault and remedy, and exit code 2.

use std::path::Path;
use std::process::Command;

/// Files to write, arguments, the whole of stderr.
type Case = (&'static [(&'static str, &'static [u8])], &'static [&'static str], &'static str);

const HEAD: &str = "version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"gold\"\n";

/// Every folder also has a `good.toml`, [`HEAD`].
const CASES: &[Case] = &[
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n"), ("train.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n{\"text\": \n"), ("test.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n")], &["data", "check", "own.toml"], "error: 1 bad row, 0 allowed (mend them, or raise `max_bad_rows` in the spec or `--max-bad-rows` of `data check`): ./train.jsonl: line 2: the JSON object is not finished; an object must stand on one line"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n"), ("train.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n{\"text\": \"b\", \"label\": 1}\n"), ("test.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n")], &["data", "check", "own.toml"], "error: ./train.jsonl: line 2: the label is the number 1 and nothing says which label that is; state `label_order = [\"bad\", \"good\"]` (the names of 0, 1, ... in this file) beside the file in the task, or pass `--label-order` to `data check`"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n"), ("train.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n{\"label\": \"good\"}\n"), ("test.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n")], &["data", "check", "own.toml"], "error: 1 bad row, 0 allowed (mend them, or raise `max_bad_rows` in the spec or `--max-bad-rows` of `data check`): ./train.jsonl: line 2, field `text`: is missing; the row has label"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n"), ("train.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n{\"text\": \"b\", \"label\": \"fine\"}\n"), ("test.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n")], &["data", "check", "own.toml"], "error: 1 bad row, 0 allowed (mend them, or raise `max_bad_rows` in the spec or `--max-bad-rows` of `data check`): ./train.jsonl: line 2, field `label`: `fine` is not a label; labels are bad, good"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n"), ("train.jsonl", b""), ("test.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n")], &["data", "check", "own.toml"], "error: ./train.jsonl: no rows; a data file needs at least one"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n"), ("train.jsonl", b"\xff\n"), ("test.jsonl", b"{\"text\": \"a\", \"label\": \"good\"}\n")], &["data", "check", "own.toml"], "error: ./train.jsonl: line 1 is not UTF-8 (byte 1 of the line); convert the file, for example with `iconv -f latin1 -t utf-8`"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.csv\"]\n[gold.test]\nfiles = [\"test.csv\"]\n"), ("train.csv", b"text,label\na,good,more\n"), ("test.csv", b"text,label\na,good\n")], &["data", "check", "own.toml"], "error: 1 bad row, 0 allowed (mend them, or raise `max_bad_rows` in the spec or `--max-bad-rows` of `data check`): ./train.csv: line 2: 3 fields, the header has 2"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.csv\"]\n[gold.test]\nfiles = [\"test.csv\"]\n"), ("train.csv", b"words,label\na,good\n"), ("test.csv", b"text,label\na,good\n")], &["data", "check", "own.toml"], "error: 1 bad row, 0 allowed (mend them, or raise `max_bad_rows` in the spec or `--max-bad-rows` of `data check`): ./train.csv: line 2, field `text`: is missing; the row has label, words"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl.gz\"]\n[gold.test]\nfiles = [\"test.jsonl.gz\"]\n"), ("train.jsonl.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x2a\x49\xad\x28\x51\xb2\x52\x50\x4a\x54\xd2\x51\x50\xca\x49\x4c\x4a\xcd\x01\xf1\xd2\xf3\xf3\x53\x94\x6a\xb9\xaa\x47\xa5\x47\xa5\xa9\x25")], &["data", "check", "own.toml"], "error: ./train.jsonl.gz: the gzip data end early, after 548 bytes of text: the file is truncated; copy or download it again"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n")], &["data", "check", "own.toml", "--data", "nowhere"], "error: nowhere/train.jsonl: no such file; check the path and the data folder"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\ncolour = 1\n")], &["data", "check", "own.toml"], "error: own.toml: line 6: unknown field `colour`, expected one of `version`, `name`, `title`, `kind`, `labels`, `label_words`, `metric`, `fields`, `gold`, `hub`, `split`"),
    (&[("own.toml", b"version = 1\nname = \"own\"\nkind = \"triple\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n")], &["task", "check", "own.toml"], "error: own.toml: line 3: unknown variant `triple`, expected one of `single`, `pair`, `qa`"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"own.toml\"]\n[[method]]\nkind = \"gold\"\n")], &["run", "s.toml"], "error: own.toml: no such file; check the path and the data folder"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"own.toml\"]\n[[method]]\nkind = \"gold\"\n"), ("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n")], &["run", "s.toml"], "error: task own: its gold data are files; say where with --set data=DIR"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"own.toml\"]\n[[method]]\nkind = \"gold\"\n"), ("own.toml", b"version = 1\nname = \"own\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n")], &["run", "s.toml", "--set", "data=nowhere"], "error: nowhere/train.jsonl: no such file; check the path and the data folder"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"own.toml\"]\n[[method]]\nkind = \"gold\"\n"), ("own.toml", b"version = 1\nname = \"lab-reviews\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n")], &["run", "s.toml"], "error: own.toml: `name`: lab-reviews is a laboratory task; give this one another name"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"own.toml\", \"rte\"]\n[[method]]\nkind = \"gold\"\n"), ("own.toml", b"version = 1\nname = \"rte\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n")], &["run", "s.toml"], "error: s.toml: `tasks`: names rte twice; name each task once"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"own.toml\"]\n[[method]]\nkind = \"gold\"\n"), ("own.toml", b"version = 1\nname = \"..\"\nkind = \"single\"\nlabels = [\"bad\", \"good\"]\nmetric = \"accuracy\"\n[gold.train]\nfiles = [\"train.jsonl\"]\n[gold.test]\nfiles = [\"test.jsonl\"]\n")], &["run", "s.toml"], "error: own.toml: field `name`: `..` cannot be part of a path of results; use lower-case letters, digits, `-` and `_`"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"chess\"]\n[[method]]\nkind = \"gold\"\n")], &["run", "s.toml"], "error: no task `chess`; built in are imdb, qnli, rte, adqa, sst2, agnews, squad, lab-reviews, lab-questions, lab-entailment, lab-spans; for a task of your own give the path of its TOML file"),
    (&[("s.toml", b"version = \n")], &["run", "s.toml"], "error: s.toml:1: not TOML: string values must be quoted, expected literal string"),
    (&[("s.toml", b"version = 2\n")], &["run", "s.toml"], "error: s.toml: `version`: is 2; this program reads version 1"),
    (&[("s.toml", b"version = 1\nname = \"../n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"gold\"\n")], &["run", "s.toml"], "error: s.toml: `name`: is \"../n\"; use letters, digits, `-`, `_` and `.`, first a letter or digit"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"silver\"\n")], &["run", "s.toml"], "error: s.toml: `method.0`: `kind`: unknown variant `silver`, expected one of `s3`, `zerogen`, `goldgen`, `gold`"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"gold\"\nwrong_below_f1 = nan\n")], &["run", "s.toml"], "error: s.toml: `method.0.wrong_below_f1`: is NaN; use more than 0 and at most 1"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"gold\"\nper_error = 1000\n")], &["run", "s.toml"], "error: s.toml: `method.0.per_error`: is 1000; use at most 100"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"gold\"\n[train]\nepochs = 0\n")], &["run", "s.toml"], "error: s.toml: `train.epochs`: is 0; use at least 1"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-spans\"]\n[[method]]\nkind = \"gold\"\n[train]\nmax_length = 4\nstride = 1\n")], &["run", "s.toml"], "error: task lab-spans: `train.max_length`: is 4; question answering needs at least 5 tokens"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"zerogen\"\nadditional = true\n")], &["run", "s.toml"], "error: s.toml: `method.0.additional`: is true, but only a replay teacher has such rows; set it to false or teacher.kind to \"replay\""),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"imdb\"]\n[[method]]\nkind = \"s3\"\n[teacher]\nkind = \"replay\"\n")], &["run", "s.toml"], "error: task imdb: `method.0.rationales` is true, but a replay teacher has no rationales; set rationales = false"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"zerogen\"\n[teacher]\nkind = \"replay\"\n")], &["run", "s.toml"], "error: `teacher.replay`: a replay teacher needs `seed`, `additional` or `rows`: name the files that it reads"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"zerogen\"\n[teacher]\nkind = \"simulated\"\n[teacher.simulated]\nfidelity = 7.0\n")], &["run", "s.toml", "--dry-run"], "error: teacher.simulated.fidelity: 7 is not a number from 0 to 1"),
    (&[("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"zerogen\"\n[teacher]\nkind = \"simulated\"\n[teacher.simulated]\nloudness = 7.0\n")], &["run", "s.toml"], "error: `teacher.simulated`: unknown field `loudness`, expected one of `narrowness`, `rationale_width`, `fidelity`, `label_noise`, `junk_rate`, `cue_rates`"),
    (&[("rows.jsonl", b"{}\n"), ("s.toml", b"version = 1\nname = \"n\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"zerogen\"\n")], &["run", "s.toml", "--set", "teacher.kind=replay", "--set", "teacher.replay.rows=[\"rows.jsonl\"]"], "error: `teacher.replay`: ./rows.jsonl:1: not a row of a run: missing field `round` at line 1 column 2"),
    (&[], &["run", "good.toml", "--resume", "always", "--out", "nn"], "error: nn: no run to resume; leave out --resume always"),
    (&[], &["run", "good.toml", "--max-usd", "-1"], "error: unexpected argument '-1' found tip: to pass '-1' as a value, use '-- -1'"),
    (&[], &["run", "good.toml", "--max-usd=-1"], "error: invalid value '-1' for '--max-usd <X>': not an amount of US dollars"),
    (&[], &["run", "good.toml", "--set", "train.epochs=none"], "error: good.toml: `[train]` for lab-reviews: `epochs`: invalid type: string \"none\", expected usize"),
    (&[], &["run", "good.toml", "--device", "tpu"], "error: invalid value 'tpu' for '--device <DEVICE>': `tpu` is not a device; use `auto`, `cpu`, `cuda`, `cuda:N` or `reference`"),
    (&[], &["run", "good.toml", "--seeds", "1,1"], "error: good.toml: `seeds`: names 1 twice; name each seed once"),
    (&[], &["run", "good.toml", "--student", "giant"], "error: student: `giant` is neither a built-in student (tiny, small) nor a directory with a config.json; as a model of the hub: model `giant`: not in the cache no-cache; run `stepsynth data fetch giant`"),
    (&[], &["run", "good.toml", "--teacher", "openai"], "error: invalid value 'openai' for '--teacher <TEACHER>': use simulated or replay:FILE"),
    (&[], &["run", "good.toml", "--set", "teacher.kind=replay", "--set", "teacher.replay.rows=[\"none.jsonl\"]", "--set", "method.gold.kind=zerogen"], "error: `teacher.replay`: ./none.jsonl: No such file or directory (os error 2)"),
    (&[("nn/journal.sqlite", b"this is no database, but it is long enough to be taken for one, if one does not look\n")], &["run", "good.toml", "--out", "nn"], "error: nn/journal.sqlite: not a journal of stepsynth (file is not a database); move the file away or name another --out"),
    (&[("nn", b"")], &["run", "good.toml", "--out", "nn"], "error: nn: cannot be the run directory (File exists (os error 17)); name another --out"),
    (&[("nn/x", b"")], &["run", "good.toml", "--out", "nn", "--resume", "never"], "error: nn: not empty, and --resume never; name another --out"),
    (&[], &["run"], "error: the following required arguments were not provided: <SPEC>"),
    (&[], &["walk"], "error: unrecognized subcommand 'walk'"),
];

fn stderr(folder: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepsynth"));
    // What models this machine has does not matter here.
    let output = command.args(arguments).current_dir(folder).env("HF_HUB_CACHE", "no-cache").output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[test]
fn every_mistake_is_one_exact_line() {
    assert!(CASES.len() >= 30);
    let mut wrong = Vec::new();
    for (files, arguments, expected) in CASES {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("good.toml"), HEAD).unwrap();
        for (name, content) in *files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let got = stderr(folder.path(), arguments);
        assert!(!arguments.contains(&"always") || !folder.path().join("nn").exists(), "a refused run leaves nothing behind");
        if got != (format!("{expected}\n"), Some(2)) {
            wrong.push(format!("{arguments:?}\n got {got:?}\nwant {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
