//! The README.md of an exported model: what it does and where it comes from, as far as that is known.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use stepsynth_core::config::Head;

use crate::student::{Saved, TrainedOn, TrainingRecord};

/// The card of the model in `directory`.
pub(super) fn write(directory: &Path, saved: &Saved) -> Result<String> {
    let run = run_of(directory);
    let name = directory.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
    let title = match (&saved.training, &run) {
        (Some(training), _) if !training.task.title.is_empty() => training.task.title.clone(),
        (Some(training), _) => training.task.name.clone(),
        (None, Some(run)) => format!("{} ({}, {})", run.task, run.method, run.seed),
        (None, None) => name,
    };
    let (auto, what) = match saved.head {
        Head::Classification { .. } => ("AutoModelForSequenceClassification", "Classifies texts"),
        Head::QuestionAnswering => ("AutoModelForQuestionAnswering", "Finds the answer to a question in a context"),
    };
    let tag = match saved.head {
        Head::Classification { .. } => "text-classification",
        Head::QuestionAnswering => "question-answering",
    };
    let mut card = format!(
        "---\npipeline_tag: {tag}\ntags: [stepsynth]\n---\n\n# {title}\n\n{what}; reads up to {} tokens.",
        saved.max_length
    );
    if !saved.labels.is_empty() {
        let _ = write!(card, " Labels, in the order of the logits: {}.", saved.labels.join(", "));
    }
    card.push_str("\n\n## Training\n\n");
    match (&saved.training, &run) {
        (Some(training), _) => describe_training(&mut card, training),
        (None, Some(run)) => describe_run(&mut card, run),
        (None, None) => card.push_str("Not known.\n"),
    }
    let _ = write!(
        card,
        "\n## Use\n\n```\nstepsynth predict --model DIR < in.jsonl > out.jsonl\n```\n\n```python\nfrom transformers import AutoTokenizer, \
         {auto}\ntokenizer, model = AutoTokenizer.from_pretrained(\"DIR\"), {auto}.from_pretrained(\"DIR\")\n```\n"
    );
    Ok(card)
}

fn describe_training(card: &mut String, training: &TrainingRecord) {
    let TrainingRecord { program, task, base, seed, settings, best_epoch, history, .. } = training;
    let _ = writeln!(card, "* Task: {}", task.name);
    let _ = writeln!(card, "* Began with: {base}");
    let _ = writeln!(card, "* Trained on: {}", rows(&training.train));
    for (role, data) in [("Epoch chosen on", &training.select), ("Tested on", &training.test)] {
        if let Some(data) = data {
            let _ = writeln!(card, "* {role}: {}", rows(data));
        }
    }
    let batch = match settings.batch_tokens {
        Some(tokens) => format!("{tokens} tokens"),
        None => format!("{} rows", settings.batch_size),
    };
    let _ = writeln!(
        card,
        "* Settings: epoch {best_epoch} of {}, batches of {batch}, learning rate {:e}, {} tokens at most, seed {seed}",
        history.len(),
        settings.learning_rate,
        settings.max_length
    );
    let _ = writeln!(card, "* Made with {program}; everything else is in `training.json`");
}

fn rows(data: &TrainedOn) -> String {
    let mut text = format!("{}, {} rows (SHA-256 `{}`)", data.source, data.rows, data.sha256);
    for (metric, value) in &data.metrics {
        let _ = write!(text, ", {metric} {value:.4}");
    }
    text
}

/// The run that kept a model.
struct RunOf {
    id: String,
    name: String,
    teacher: String,
    task: String,
    method: String,
    seed: String,
}

/// For `RUN/models/TASK/METHOD/seed-S`, what the manifest of RUN says.
fn run_of(directory: &Path) -> Option<RunOf> {
    let directory = std::path::absolute(directory).ok()?;
    let mut up = directory.ancestors();
    let mut name = || Some(up.next()?.file_name()?.to_string_lossy().into_owned());
    let (seed, method, task, models) = (name()?, name()?, name()?, name()?);
    let manifest = std::fs::read(up.next()?.join("manifest.json")).ok().filter(|_| models == "models")?;
    let manifest: Value = serde_json::from_slice(&manifest).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (id, name) = (text(&manifest["run_id"])?, text(&manifest["spec"]["name"])?);
    Some(RunOf { id, name, teacher: text(&manifest["spec"]["teacher"]["kind"])?, task, method, seed })
}

fn describe_run(card: &mut String, run: &RunOf) {
    let RunOf { id, name, teacher, task, method, seed } = run;
    let _ = writeln!(card, "* Task: {task}");
    let _ = writeln!(card, "* Run: {name} (`{id}`), method {method}, {seed}");
    // The method `gold` and its variants ask no teacher.
    if method.split('-').next() == Some("gold") {
        let _ = writeln!(card, "* Trained on: the task's gold data");
        return;
    }
    let _ = writeln!(card, "* Trained on: rows of the teacher `{teacher}`");
    if teacher == "simulated" {
        let _ = writeln!(card, "* SIMULATED teacher: a laboratory model, of no use on real text");
    }
}
