//! Broken task and data files: each must give exactly the message that tells what to mend. `{}` stands for the file's path.

use std::fs;
use std::path::Path;

use stepsynth_datasets::load::{self, ReadOptions};
use stepsynth_datasets::task::{Format, Source};
use stepsynth_datasets::{Protocol, SplitOptions, TaskSpec, check, load_splits};

const HEAD: &str = "version = 1\nname = \"t\"\nkind = \"single\"\nlabels = [\"no\", \"yes\"]\nmetric = \"accuracy\"\n";

fn task(kind: &str) -> TaskSpec {
    let text = match kind {
        "qa" => "version = 1\nname = \"t\"\nkind = \"qa\"\nmetric = \"f1\"\n[fields]\nid = \"id\"",
        _ => HEAD,
    };
    TaskSpec::parse(text, Path::new("t.toml")).unwrap()
}

#[test]
fn broken_tasks() {
    let head = |from: &str, to: &str| HEAD.replace(from, to);
    let with = |more: &str| format!("{HEAD}{more}");
    let cases = [
        (head("version = 1\n", ""), "t.toml: line 1: missing field `version`"),
        (
            head("version = 1", "version = 2"),
            "t.toml: field `version`: this stepsynth reads version 1, the file has 2; use the stepsynth that the file was written for, or rewrite the file",
        ),
        (head("name = \"t\"", "name = "), "t.toml: line 2: string values must be quoted, expected literal string"),
        (
            head("kind = \"single\"", "kind = \"triple\""),
            "t.toml: line 3: unknown variant `triple`, expected one of `single`, `pair`, `qa`",
        ),
        (
            with("label_word = [\"a\"]"),
            "t.toml: line 6: unknown field `label_word`, expected one of `version`, `name`, `title`, `kind`, `labels`, `label_words`, `metric`, `fields`, `gold`, `hub`, `split`",
        ),
        (
            head("name = \"t\"", "name = \"my task\""),
            "t.toml: field `name`: `my task` cannot be part of a path of results; use lower-case letters, digits, `-` and `_`",
        ),
        (head("\"no\", ", ""), "t.toml: field `labels`: 1 given, at least 2 are needed; name every label in order"),
        (head("\"no\"", "\"yes\""), "t.toml: field `labels`: `yes` occurs twice; give each label its own"),
        (
            head("\"no\"", "\" no\""),
            "t.toml: field `labels`: ` no` is empty or has spaces around it; write each name without them",
        ),
        (
            head("\"no\"", "\"1.0\""),
            "t.toml: field `labels`: `1.0` is a number, which in a data file stands for a label by its `label_order`; name the label by a word",
        ),
        (
            with("label_words = [\"a\"]"),
            "t.toml: field `label_words`: 1 words for 2 labels; give one word for each label, or none",
        ),
        (
            head("kind = \"single\"", "kind = \"qa\""),
            "t.toml: field `labels`: a `qa` task answers with spans and has no labels; remove the field",
        ),
        (
            head("\"accuracy\"", "\"f1\""),
            "t.toml: field `metric`: a task with labels has no answer spans; use accuracy or macro_f1",
        ),
        (
            with("[fields]\nquestion = \"q\""),
            "t.toml: field `fields.question`: a `single` task has no such role; its roles are text, label and id",
        ),
        (with("[fields]\ntext = \"\""), "t.toml: field `fields.text`: names no column; name one or remove the field"),
        (with("[gold.train]\nfiles = [\"a.csv\"]"), "t.toml: line 6: missing field `test`"),
        (
            with("[gold.train]\nfiles = []\n[gold.test]\nfiles = [\"a.csv\"]"),
            "t.toml: field `gold.train.files`: names no file; name at least one",
        ),
        (
            with("[gold.train]\nfiles = [\"a.csv\"]\n[gold.test]\nfiles = [\"a.csv\"]\nlabel_order = [\"no\", \"maybe\"]"),
            "t.toml: field `gold.test.label_order`: names maybe, no, the labels are no, yes; name every label once, as in `labels`",
        ),
        (
            with("[gold.train]\nfiles = [\"a.csv\"]\nlabel_order = { one = \"no\" }"),
            "t.toml: line 8: label_order: `one` is not a whole number",
        ),
        (with("[split]\nmine = 0"), "t.toml: field `split.mine`: must not be 0; state at least 1 row"),
    ];
    for (text, message) in cases {
        assert_eq!(TaskSpec::parse(&text, Path::new("t.toml")).unwrap_err().to_string(), message, "{text}");
    }
    assert_eq!(
        TaskSpec::find("imbd").unwrap_err().to_string(),
        "no task `imbd`; built in are imdb, qnli, rte, adqa, sst2, agnews, squad, \
         lab-reviews, lab-questions, lab-entailment, lab-spans; for a task of your own give the path of its TOML file"
    );
    assert_eq!(
        TaskSpec::find("nowhere/t.toml").unwrap_err().to_string(),
        "nowhere/t.toml: no such file; check the path and the data folder"
    );
}

/// Kind of task, file name, stated format, content, message.
type Case = (&'static str, &'static str, Option<Format>, Vec<u8>, String);

#[test]
fn broken_data_files() {
    let gzip_header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let cut = |whole: &[u8]| whole[..whole.len() - 9].to_vec();
    let bad = |row: &str| {
        format!(
            "1 bad row, 0 allowed (mend them, or raise `max_bad_rows` in the spec or `--max-bad-rows` of `data check`):\n  {{}}: {row}"
        )
    };
    let cases: Vec<Case> = vec![
        (
            "single",
            "a.json",
            None,
            b"[]".into(),
            "{}: the name does not tell the format; state `format` as one of jsonl, csv, tsv, glue-tsv, squad, s3, parquet".into(),
        ),
        ("single", "a.jsonl", None, Vec::new(), "{}: no rows; a data file needs at least one".into()),
        (
            "single",
            "a.jsonl",
            None,
            b"{\"text\": \"a\", \"label\": \"no\"}\n{\"text\": \"caf\xe9\"}".into(),
            "{}: line 2 is not UTF-8 (byte 14 of the line); convert the file, for example with `iconv -f latin1 -t utf-8`".into(),
        ),
        (
            "single",
            "a.jsonl",
            None,
            b"{\"text\": \"a\", \"label\": 1}".into(),
            "{}: line 1: the label is the number 1 and nothing says which label that is; state `label_order = [\"no\", \"yes\"]` \
             (the names of 0, 1, ... in this file) beside the file in the task, or pass `--label-order` to `data check`"
                .into(),
        ),
        (
            "single",
            "a.jsonl",
            None,
            b"{\"text\": \"a\", \"label\": \"maybe\"}".into(),
            bad("line 1, field `label`: `maybe` is not a label; labels are no, yes"),
        ),
        (
            "single",
            "a.jsonl",
            None,
            b"\n{\"text\": \"a\", \"label\": null}".into(),
            bad("line 2, field `label`: is null, not a label"),
        ),
        (
            "single",
            "a.jsonl",
            None,
            b"{\"txt\": \"a\", \"label\": \"no\"}".into(),
            bad("line 1, field `text`: is missing; the row has label, txt"),
        ),
        ("single", "a.jsonl", None, b"{\"text\": \" \", \"label\": \"no\"}".into(), bad("line 1, field `text`: is empty")),
        (
            "single",
            "a.jsonl",
            None,
            b"{\"text\": 5, \"label\": \"no\"}".into(),
            bad("line 1, field `text`: is a number, not text"),
        ),
        ("single", "a.jsonl", None, b"[\"a\", \"no\"]".into(), bad("line 1: not a JSON object: `[\"a\", \"no\"]`")),
        (
            "single",
            "a.jsonl",
            None,
            b"{\"text\": \"a\",".into(),
            bad("line 1: the JSON object is not finished; an object must stand on one line"),
        ),
        ("single", "a.jsonl", None, b"{\"text\": a}".into(), bad("line 1: not valid JSON at column 10")),
        (
            "single",
            "a.csv",
            None,
            Vec::new(),
            "{}: there is no header line; give each column a name of its own in the first line".into(),
        ),
        (
            "single",
            "a.csv",
            None,
            b"text,label,text\na,no,b\n".into(),
            "{}: the header names the column `text` twice; give each column a name of its own in the first line".into(),
        ),
        ("single", "a.csv", None, b"text,label\na,no\nb\n".into(), bad("line 3: 1 fields, the header has 2")),
        (
            "single",
            "a.csv",
            None,
            b"text,label\na,no\n\"b,no\nc,no\n".into(),
            bad("line 3: a quoted field is opened and never closed"),
        ),
        ("single", "a.csv", None, b"text,label\r\n\r\na,no\r\nb,perhaps\r\n".into(), bad("line 4, field `label`: `perhaps` is not a label; labels are no, yes")),
        (
            "single",
            "a.tsv",
            Some(Format::GlueTsv),
            b"text\tlabel\n\"a\tno\nb\tc\tno\n".into(),
            bad("line 3: 3 fields, the header has 2"),
        ),
        (
            "single",
            "a.csv.gz",
            None,
            gzip_header.into(),
            "{}: the gzip data end early, after 0 bytes of text: the file is truncated; copy or download it again".into(),
        ),
        (
            "single",
            "b.csv.gz",
            None,
            cut(&gzip(b"text,label\na,no\n")),
            "{}: the gzip data end early, after 16 bytes of text: the file is truncated; copy or download it again".into(),
        ),
        (
            "single",
            "c.csv.gz",
            None,
            [&gzip_header[..], &[0xff; 20]].concat(),
            "{}: damaged gzip data (corrupt deflate stream); copy or download it again".into(),
        ),
        (
            "single",
            "a.s3",
            Some(Format::S3),
            b"[[\"a\"]]".into(),
            "{}: 1 columns, expected 2 (text, label); expected is an object a line, a list of objects, or a list of columns of one length".into(),
        ),
        (
            "single",
            "a.s3",
            Some(Format::S3),
            b"[[\"a\", \"b\"], [\"no\"]]".into(),
            "{}: columns of [2, 1] rows; expected is an object a line, a list of objects, or a list of columns of one length".into(),
        ),
        (
            "single",
            "a.parquet",
            None,
            b"text,label\na,no\n".into(),
            "{}: not readable as Parquet (Parquet error: Invalid Parquet file. Corrupt footer); copy the file again; if it is gzipped, unpack it (Parquet is compressed within)".into(),
        ),
        (
            "qa",
            "a.squad",
            Some(Format::Squad),
            b"{\"data\": [{}]}".into(),
            "{}: not SQuAD v1.1 JSON (missing field `paragraphs` at line 1 column 12); state another `format`, or mend the file".into(),
        ),
        (
            "qa",
            "a.squad",
            Some(Format::Squad),
            b"{\"data\": [{\"paragraphs\": [{\"context\": \"c\", \"qas\": [{\"id\": \"1\", \"question\": \"q\", \"is_impossible\": true}]}]}]}".into(),
            bad("row 1, field `is_impossible`: a question without answer (SQuAD v2); this reads v1.1"),
        ),
        (
            "qa",
            "a.jsonl",
            None,
            "{\"question\": \"q\", \"context\": \"é b\", \"answers\": [{\"text\": \"b\", \"answer_start\": 3}]}".into(),
            bad("line 1, field `answers`: counts bytes: answer `b` is at byte 3, which is not character 3; count characters"),
        ),
        (
            "qa",
            "a.jsonl",
            None,
            concat!(
                "{\"id\": 7, \"question\": \"q\", \"context\": \"b\", \"answers\": [{\"text\": \"b\", \"answer_start\": 0}]}\n",
                "{\"id\": 7, \"question\": \"r\", \"context\": \"b\", \"answers\": [{\"text\": \"b\", \"answer_start\": 0}]}\n",
            )
            .into(),
            bad("line 2, field `id`: `7` already names a.jsonl line 1"),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (kind, name, format, content, message) in cases {
        let path = folder.path().join(name);
        fs::write(&path, &content).unwrap();
        let source = Source { format, ..Source::file(name) };
        let error = load::read(&task(kind), &source, folder.path(), &ReadOptions::default()).unwrap_err();
        let content = String::from_utf8_lossy(&content);
        assert_eq!(error.to_string(), message.replace("{}", &path.display().to_string()), "{name}: {content}");
    }
}

#[test]
fn numbers_outside_the_label_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "text,label\na,0\nb,-1\nc,2\n").unwrap();
    let message = |options: &ReadOptions| {
        load::read(&task("single"), &Source::file("a.csv"), folder.path(), options).unwrap_err().to_string()
    };
    let options = |order: &str| ReadOptions { label_order: Some(order.parse().unwrap()), ..ReadOptions::default() };
    let path = path.display();
    assert_eq!(
        message(&options("no,yes")),
        format!(
            "2 bad rows, 0 allowed (mend them, or raise `max_bad_rows` in the spec or `--max-bad-rows` of `data check`):\
             \n  {path}: line 3, field `label`: -1 is not in the label order 0=no,1=yes (-1 often marks unlabelled rows)\
             \n  {path}: line 4, field `label`: 2 is not in the label order 0=no,1=yes"
        )
    );
    assert_eq!(
        message(&ReadOptions { max_bad_rows: 2, ..options("never,yes") }),
        format!(
            "3 bad rows, 2 allowed (mend them, or raise `max_bad_rows` in the spec or `--max-bad-rows` of `data check`):\
             \n  {path}: line 2, field `label`: the label order says 0 is `never`, which is not a label; labels are no, yes\
             \n  {path}: line 3, field `label`: -1 is not in the label order 0=never,1=yes (-1 often marks unlabelled rows)\
             \n  {path}: line 4, field `label`: 2 is not in the label order 0=never,1=yes"
        )
    );
}

#[test]
fn only_the_first_bad_rows_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), format!("text,label\n{}", "a,x\n".repeat(7))).unwrap();
    let error = load::read(&task("single"), &Source::file("a.csv"), folder.path(), &ReadOptions::default()).unwrap_err();
    let text = error.to_string();
    assert_eq!(text.lines().count(), 7);
    assert!(text.starts_with("7 bad rows, 0 allowed") && text.ends_with("\n  and 2 more"), "{text}");
}

#[test]
fn wrong_places() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a.csv")).unwrap();
    let shown = folder.path().display();
    let message =
        |source: &Source| load::read(&task("single"), source, folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert_eq!(message(&Source::file("a.csv")), format!("{shown}/a.csv: a directory, not a file; name a file in it"));
    assert_eq!(message(&Source::file("b.csv")), format!("{shown}/b.csv: no such file; check the path and the data folder"));
    assert_eq!(
        message(&Source { obtain: "ask the author".into(), ..Source::file("b.parquet") }),
        format!("{shown}/b.parquet: no such file; ask the author")
    );
    let message =
        "task `t` has no [gold] sources, so there are no files to read; state [gold.train] and [gold.test] in its TOML file";
    let options = SplitOptions::new(Protocol::Paper, 0);
    assert_eq!(load_splits(&task("single"), folder.path(), &options).unwrap_err().to_string(), message);
    assert_eq!(check(&task("single"), folder.path(), &options.read).unwrap_err().to_string(), message);
}

#[test]
fn nothing_left_to_split() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.csv"), "text,label\na,no\nb,no\nB,yes\n").unwrap();
    fs::write(folder.path().join("test.csv"), "text,label\n a,no\n").unwrap();
    let text = format!("{HEAD}[gold.train]\nfiles = [\"train.csv\"]\n[gold.test]\nfiles = [\"test.csv\"]");
    let task = TaskSpec::parse(&text, Path::new("t.toml")).unwrap();
    assert_eq!(
        load_splits(&task, folder.path(), &SplitOptions::new(Protocol::Clean, 0)).unwrap_err().to_string(),
        "task `t`: 1 gold training rows are left to split into mine and select after dropping 2 that repeat or occur in the \
         test data; at least 2 are needed: add gold rows or use protocol `paper`"
    );
    assert!(load_splits(&task, folder.path(), &SplitOptions::new(Protocol::Paper, 0)).is_ok());
}

fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
