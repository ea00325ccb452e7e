//! `train`, `eval`, `predict` and `export` from outside, on small models that the tests train.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for something that takes milliseconds.
const LONG: Duration = Duration::from_secs(60);

fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepsynth"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    program(directory, arguments).output().unwrap()
}

/// The one line of a command that refuses.
fn refused(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{arguments:?}: {text}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    text.trim_end().strip_prefix("error: ").unwrap().to_owned()
}

/// Stdout of a command that succeeds.
fn done(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Arguments of a training that takes a moment.
fn small<'a>(task: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "--task", task, "--model", "tiny", "--max-length", "48", "--epochs", "2"];
    arguments.extend(["--set", "gold.train=60", "--set", "gold.select=30", "--set", "gold.test=40"]);
    arguments.extend(more);
    arguments
}

/// A folder with the models `reviews` and `spans`, trained once.
fn models() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            done(folder.path(), &small("lab-reviews", &["--out", "reviews"]));
            done(folder.path(), &small("lab-spans", &["--out", "spans"]));
            folder
        })
        .path()
}

fn start(directory: &Path, arguments: &[&str]) -> Child {
    program(directory, arguments).stdin(Stdio::piped()).spawn().unwrap()
}

/// Predicts with `input` on stdin.
fn predict(directory: &Path, model: &str, input: &str) -> Output {
    let mut child = start(directory, &["predict", "--model", model]);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A program that refused a line reads no further.
    let _ = writer.join().unwrap();
    output
}

fn lines(output: &Output) -> Vec<Value> {
    std::str::from_utf8(&output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(number: usize) -> String {
    format!("{}\n", json!({ "text": format!("the film number {number} was {}good", "not ".repeat(number % 5)) }))
}

#[test]
fn train_eval_predict_and_export_go_together() {
    let folder = models();
    let training: Value = serde_json::from_slice(&std::fs::read(folder.join("reviews/training.json")).unwrap()).unwrap();
    assert_eq!((&training["train"]["rows"], &training["select"]["rows"]), (&json!(60), &json!(30)));
    assert_eq!((&training["test"], &training["settings"]["max_length"]), (&Value::Null, &json!(48)));

    let evaluate = |model: &str, more: &[&str]| -> Value {
        let mut arguments = vec!["eval", "--task", "lab-reviews", "--json", "--model", model];
        arguments.extend(["--set", "gold.select=30", "--set", "gold.test=40"]);
        arguments.extend(more);
        serde_json::from_str(&done(folder, &arguments)).unwrap()
    };
    let select = evaluate("reviews", &[]);
    assert_eq!((&select["n"], &select["split"]), (&json!(30), &json!("select")));
    assert_eq!(select["metrics"], training["select"]["metrics"], "the same rows, cut to the same length");
    assert_eq!(evaluate("reviews", &["--split", "test"])["n"], 40);

    done(folder, &["export", "--model", "reviews", "--to", "exported/reviews"]);
    let mut names: Vec<_> = std::fs::read_dir(folder.join("exported/reviews"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in ["README.md", "config.json", "model.safetensors", "tokenizer.json", "training.json", "vocab.txt"] {
        assert!(names.contains(&name.to_owned()), "{name} is not among {names:?}");
    }
    let card = std::fs::read_to_string(folder.join("exported/reviews/README.md")).unwrap();
    assert!(card.contains("Labels, in the order of the logits: negative, positive."), "{card}");
    assert!(card.contains(training["train"]["sha256"].as_str().unwrap()), "{card}");
    assert_eq!(evaluate("exported/reviews", &[]), {
        let mut expected = select;
        expected["model"] = json!("exported/reviews");
        expected
    });

    let input: String = (0..100).map(text).collect();
    let (ours, exported) = (predict(folder, "reviews", &input), predict(folder, "exported/reviews", &input));
    let (ours, exported) = (lines(&ours), lines(&exported));
    assert_eq!((ours.len(), exported.len()), (100, 100));
    for (ours, exported) in ours.iter().zip(&exported) {
        assert_eq!(ours["label"], exported["label"]);
        close(&ours["logits"], &exported["logits"]);
    }
}

/// Logits differ in the last bits with what they are computed with.
fn close(a: &Value, b: &Value) {
    let numbers = |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(1.0)), "{a:?} {b:?}");
}

#[test]
fn labels_and_logits_agree_in_any_company() {
    let folder = models();
    let input: String = (0..600).map(text).collect();
    let whole = lines(&predict(folder, "reviews", &input));
    assert_eq!(whole.len(), 600);
    for (number, line) in whole.iter().enumerate() {
        let logits: Vec<f64> = line["logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(line["label"], ["negative", "positive"][usize::from(logits[1] > logits[0])]);
        if number % 150 == 7 {
            close(&line["logits"], &lines(&predict(folder, "reviews", &text(number)))[0]["logits"]);
        }
    }
    // From a file the answer is the same byte for byte.
    std::fs::write(folder.join("in.jsonl"), input).unwrap();
    let from_file = || {
        let stdin = std::fs::File::open(folder.join("in.jsonl")).unwrap();
        program(folder, &["predict", "--model", "reviews"]).stdin(stdin).output().unwrap().stdout
    };
    assert_eq!(from_file(), from_file());
}

/// The other precision is said to be in use, learns as well, and answers nearly the same.
#[test]
fn bf16_trains_and_predicts() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    done(folder, &small("lab-reviews", &["--precision", "bf16", "--out", "model"]));
    let training =
        |model: &Path| -> Value { serde_json::from_slice(&std::fs::read(model.join("training.json")).unwrap()).unwrap() };
    let (ours, plain) = (training(&folder.join("model")), training(&models().join("reviews")));
    assert_eq!((&ours["device"], &plain["device"]), (&json!("cpu-bf16"), &json!("cpu")));
    assert_eq!(ours["settings"]["precision"], "bf16");
    let loss = |training: &Value| training["history"][1]["train_loss"].as_f64().unwrap();
    assert!(loss(&ours) != loss(&plain) && (loss(&ours) - loss(&plain)).abs() < 0.01, "{} {}", loss(&ours), loss(&plain));

    let input: String = (0..20).map(text).collect();
    std::fs::write(folder.join("in.jsonl"), input).unwrap();
    let logits = |precision: &str| -> Vec<f64> {
        let stdin = std::fs::File::open(folder.join("in.jsonl")).unwrap();
        let output = program(folder, &["predict", "--model", "model", "--precision", precision]).stdin(stdin).output().unwrap();
        lines(&output).iter().map(|line| line["logits"][0].as_f64().unwrap()).collect()
    };
    let (f32, bf16) = (logits("f32"), logits("bf16"));
    assert!(f32.len() == 20 && f32 != bf16);
    // Eight bits of precision, a few layers: a logit of order one moves by some hundredths at most.
    assert!(f32.iter().zip(&bf16).all(|(a, b)| (a - b).abs() < 0.05), "{f32:?} {bf16:?}");
}

#[test]
fn an_answer_comes_while_the_input_is_open() {
    let mut child = start(models(), &["predict", "--model", "reviews"]);
    let mut stdin = child.stdin.take().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, answers) = channel();
    std::thread::spawn(move || stdout.lines().try_for_each(|line| sender.send(line.unwrap())));
    for number in 0..3 {
        stdin.write_all(text(number).as_bytes()).unwrap();
        let answer: Value = serde_json::from_str(&answers.recv_timeout(LONG).unwrap()).unwrap();
        assert!(answer["label"].is_string());
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(answers.recv().is_err(), "no more lines than were asked");
}

#[test]
fn questions_get_answers_in_characters() {
    let context = "Émile gave Ana the violín; Zoë kept the naïve drum.";
    let ask = |id: Value| format!("{}\n", json!({ "id": id, "question": "Who kept the drum?", "context": context }));
    let output = predict(models(), "spans", &(ask(json!("a")) + &ask(json!(7))));
    let answers = lines(&output);
    assert_eq!((answers.len(), &answers[0]["id"], &answers[1]["id"]), (2, &json!("a"), &json!(7)));
    let at = |field: &str| answers[0][field].as_u64().unwrap() as usize;
    let said: String = context.chars().skip(at("start")).take(at("end") - at("start")).collect();
    assert_eq!(answers[0]["answer"], said);
    assert!(!said.is_empty() && answers[0]["score"].is_f64());
    // A context of many windows.
    let long = format!("{}\n", json!({ "question": "Who kept the drum?", "context": context.repeat(40) }));
    let answers = lines(&predict(models(), "spans", &long));
    assert!(answers[0].get("id").is_none() && answers[0]["answer"].is_string());
}

#[test]
fn a_bad_line_stops_after_the_good_ones() {
    for (bad, message) in [
        ("{\"text\": 3}\n", "stdin: line 301 field `text`: is 3, not text"),
        ("\n", "stdin: line 301 is empty; put one JSON object on each line"),
        ("{\"text\": \n", "stdin: line 301 ends within the JSON object; an object must stand on one line"),
    ] {
        let before: String = (0..300).map(text).collect();
        let output = predict(models(), "reviews", &format!("{before}{bad}{}", text(1)));
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8(output.stderr.clone()).unwrap(), format!("error: {message}\n"));
        assert_eq!(lines(&output).len(), 300);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = start(models(), &["predict", "--model", "reviews"]);
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || (0..100_000).try_for_each(|number| stdin.write_all(text(number).as_bytes())));
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
    assert!(writer.join().unwrap().is_err(), "the program has not read on");
}

/// A copy of the model `reviews` with another `config.json`.
fn with_config(change: impl FnOnce(&mut Value)) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for entry in std::fs::read_dir(models().join("reviews")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let path = model.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
    (folder, model)
}

#[test]
fn models_that_cannot_answer_say_so() {
    let (folder, _) = with_config(|config| config["architectures"] = json!(["BertModel"]));
    let message = refused(folder.path(), &["predict", "--model", "model"]);
    let expected = "model model: has no trained head (it is a BertModel); train it first: stepsynth train --task TASK --model model \
                    --out DIR";
    assert_eq!(message, expected);
    assert!(refused(folder.path(), &["export", "--model", "model", "--to", "x"]).contains("has no trained head"));
    // The file's classifier is no use to a model that answers questions.
    let (folder, _) = with_config(|config| config["architectures"] = json!(["BertForQuestionAnswering"]));
    assert!(refused(folder.path(), &["predict", "--model", "model"]).contains("(its weights lack qa_outputs.weight, "));

    let (folder, _) = with_config(|config| {
        config["id2label"] = json!({ "0": "bad", "1": "good" });
        config["label2id"] = json!({ "bad": 0, "good": 1 });
    });
    let message = refused(folder.path(), &["eval", "--model", "model", "--task", "lab-reviews"]);
    let expected = "model model: its labels are bad, good, those of task lab-reviews are negative, positive; rename them in `id2label` of \
                    its config.json";
    assert_eq!(message, expected);
    let label = &lines(&predict(folder.path(), "model", &text(0)))[0]["label"];
    assert!(label == "bad" || label == "good", "{label}");

    let message = refused(folder.path(), &["predict", "--model", "model", "--max-length", "49"]);
    assert_eq!(message, "student model: --max-length is 49, the model reads at most 48 tokens; use 48 or less");
    let message = refused(folder.path(), &["predict", "--model", "nowhere"]);
    assert_eq!(message, "model nowhere: neither a directory with a config.json nor a model of the hub in the cache");
    let message = refused(models(), &["eval", "--model", "reviews", "--task", "lab-spans"]);
    assert_eq!(message, "model reviews: answers with labels, which is not what task lab-spans asks for");
}

/// A model with the task's labels in another order is measured by their names.
#[test]
fn labels_are_matched_by_name() {
    let (folder, _) = with_config(|config| {
        config["id2label"] = json!({ "0": "positive", "1": "negative" });
        config["label2id"] = json!({ "positive": 0, "negative": 1 });
    });
    let accuracy = |directory: &Path, model: &str| {
        let set = ["--set", "gold.select=30"];
        let output = done(directory, &[&["eval", "--task", "lab-reviews", "--json", "--model", model][..], &set].concat());
        serde_json::from_str::<Value>(&output).unwrap()["metrics"]["accuracy"].as_f64().unwrap()
    };
    let (right, swapped) = (accuracy(models(), "reviews"), accuracy(folder.path(), "model"));
    assert!((right + swapped - 1.0).abs() < 1e-9, "{right} {swapped}");
}

#[test]
fn directories_are_refused_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    std::fs::write(folder.path().join("taken/notes.txt"), "").unwrap();
    let message = refused(folder.path(), &small("lab-reviews", &["--out", "taken"]));
    assert_eq!(message, "--out taken: not empty; name another directory, or --force to replace a model");
    let model = models().join("reviews").display().to_string();
    let message = refused(folder.path(), &["export", "--model", &model, "--to", "taken", "--force"]);
    assert_eq!(
        message,
        "--to taken: holds `notes.txt`, which is no file of a model, so it is not replaced; name another directory"
    );
    done(folder.path(), &["export", "--model", &model, "--to", "copy"]);
    std::fs::write(folder.path().join("copy/README.md"), "old").unwrap();
    done(folder.path(), &["export", "--model", &model, "--to", "copy", "--force"]);
    assert!(std::fs::read_to_string(folder.path().join("copy/README.md")).unwrap().len() > 100);
}

#[test]
fn faults_of_a_training_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let message = |more: &[&str]| refused(folder.path(), &small("lab-reviews", &[&["--out", "out"], more].concat()));
    assert_eq!(message(&["--batch-tokens", "0"]), "command line: `train.batch_tokens`: is 0; use at least 1");
    assert_eq!(message(&["--learning-rate", "7"]), "command line: `train.learning_rate`: is 7; use more than 0 and at most 1");
    assert_eq!(
        message(&["--precision", "f64"]),
        "invalid value 'f64' for '--precision <PRECISION>': `f64` is not a precision; use `f32` or `bf16`"
    );
    assert_eq!(message(&["--train", "none.jsonl"]), "none.jsonl: no such file; check the path and the data folder");
    std::fs::write(folder.path().join("bad.jsonl"), "{\"text\": \"a\", \"label\": \"fine\"}\n").unwrap();
    assert!(message(&["--train", "bad.jsonl"]).contains("bad.jsonl: line 1, field `label`: `fine` is not a label"));
    let reviews = models().join("reviews").display().to_string();
    let arguments = ["train", "--task", "lab-reviews", "--out", "out", "--model", &reviews, "--max-length", "64"];
    assert!(refused(folder.path(), &arguments).ends_with("is 64, the model reads at most 48 tokens; use 48 or less"));
    let arguments = ["train", "--task", "rte", "--out", "out", "--model", "tiny"];
    let expected = "task rte: its gold data are files; say where with --data DIR, or give rows with --train and with --select (or --select \
                    none)";
    assert_eq!(refused(folder.path(), &arguments), expected);
    assert!(!folder.path().join("out").exists());
}

/// Rows of one's own: with the names of the roles, whatever the task calls its columns; and as a run wrote them.
#[test]
fn given_rows_train_a_model_that_can_be_trained_on() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let row = |number: usize| {
        let label = ["entailment", "not_entailment"][number % 2];
        format!("{}\n", json!({ "text": format!("claim {number}"), "text_pair": format!("fact {}", number % 7), "label": label }))
    };
    std::fs::write(folder.join("train.jsonl"), (0..40).map(row).collect::<String>()).unwrap();
    std::fs::write(folder.join("select.jsonl"), (40..60).map(row).collect::<String>()).unwrap();
    let train = |more: &[&str]| {
        let arguments = ["train", "--task", "rte", "--train", "train.jsonl", "--epochs", "1", "--batch-tokens", "64"];
        run(folder, &[&arguments, more].concat())
    };
    let output = train(&["--model", "tiny", "--select", "none", "--out", "first"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let training: Value = serde_json::from_slice(&std::fs::read(folder.join("first/training.json")).unwrap()).unwrap();
    assert_eq!((&training["select"], &training["settings"]["batch_tokens"]), (&Value::Null, &json!(64)));
    assert_eq!((&training["train"]["files"][0]["file"], &training["train"]["rows"]), (&json!("train.jsonl"), &json!(40)));

    // Trained on, with the head that is there; and a headless one, with a new head that is named.
    let output = train(&["--model", "first", "--select", "select.jsonl", "--out", "second"]);
    let notices = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{notices}");
    assert!(!notices.contains("qa_outputs") && !notices.contains("classifier"), "{notices}");
    let spans = models().join("spans").display().to_string();
    let output = train(&["--model", &spans, "--select", "none", "--out", "third"]);
    let notices = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{notices}");
    assert_eq!(notices.lines().filter(|line| line.contains("classifier.weight")).count(), 1, "{notices}");

    let output = done(folder, &["eval", "--task", "rte", "--model", "second", "--file", "select.jsonl"]);
    assert!(output.starts_with("rte file") && output.ends_with("n = 20\n"), "{output}");
}

#[test]
fn the_same_seed_gives_the_same_model_and_rows_of_a_run_can_be_trained_on() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let spec = "version = 1\nname = \"kept\"\ntasks = [\"lab-reviews\"]\n[[method]]\nkind = \"zerogen\"\nseed_rows = 40\n[gold]\nmine = 20\nselect = 20\n\
                test = 20\n[train]\nepochs = 1\nmax_length = 48\n";
    std::fs::write(folder.join("kept.toml"), spec).unwrap();
    done(folder, &["run", "kept.toml", "--keep-models"]);
    let rows = "runs/kept/synthetic/lab-reviews/zerogen/seed-0/round-0.jsonl";
    for out in ["one", "two"] {
        done(folder, &small("lab-reviews", &["--train", rows, "--out", out]));
    }
    let weights = |model: &str| std::fs::read(folder.join(model).join("model.safetensors")).unwrap();
    assert!(weights("one") == weights("two"));

    done(folder, &["export", "--model", "runs/kept/models/lab-reviews/zerogen/seed-0", "--to", "exported"]);
    let card = std::fs::read_to_string(folder.join("exported/README.md")).unwrap();
    assert!(card.contains("* Run: kept (`") && card.contains("SIMULATED"), "{card}");
    let message = refused(folder, &["export", "--model", "runs/kept", "--to", "other"]);
    assert_eq!(message, "model runs/kept: a run; name one of its models: runs/kept/models/lab-reviews/zerogen/seed-0");
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // Long enough that it would still go on for seconds after a tenth of its steps, when it first says something.
    let arguments = ["train", "--task", "lab-reviews", "--model", "tiny", "--epochs", "40", "--out", "out"];
    let mut child = start(folder.path(), &arguments);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("step "), "{line}");
    let signalled = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(signalled.elapsed() < LONG);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.lines().last(), Some("error: interrupted; nothing was written to out"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
