//! What to say where a checkpoint has to be converted first.

use std::path::Path;

use serde_json::Value;

use super::find::{INDEX, SINGLE};
use super::safetensors_file::fail;
use crate::{Error, file};

/// Weights that are not read, as beginning and end of the file's name, with what transformers needs to read them.
const OTHER_FORMATS: [(&str, &str, &str, &str); 4] = [
    ("pytorch_model", ".bin", "", ""),
    ("pytorch_model", ".bin.index.json", "", ""),
    ("tf_model", ".h5", ", from_tf=True", " (needs tensorflow and \"transformers<5\")"),
    ("flax_model", ".msgpack", ", from_flax=True", " (needs flax and \"transformers<5\")"),
];

/// The error for a directory without safetensors: what is there, and the command that converts it.
pub(super) fn no_weights(directory: &Path) -> Error {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort_unstable();
    for (beginning, end, argument, needs) in OTHER_FORMATS {
        let Some(found) = names.iter().find(|name| name.starts_with(beginning) && name.ends_with(end)) else { continue };
        let class = architecture(directory).unwrap_or_else(|| "AutoModel".into());
        let code = format!(
            "import sys, transformers as t; d = sys.argv[1]; \
             t.{class}.from_pretrained(d{argument}).save_pretrained(d, safe_serialization=True)"
        );
        let command = python(&code, directory);
        return fail(directory, format!("no {SINGLE}; {found} is not read, convert it with{needs}: {command}"));
    }
    match names.iter().find(|name| name.ends_with(".safetensors")) {
        Some(found) => fail(directory, format!("neither {SINGLE} nor {INDEX}, only {found}; fetch the model again")),
        None => fail(directory, format!("neither {SINGLE} nor {INDEX} is there; is it a Hugging Face model directory?")),
    }
}

/// The command that writes the bare encoder of `directory` beside it, to be given a new head.
pub(super) fn strip_head(directory: &Path) -> String {
    let code = "import sys, transformers as t; d = sys.argv[1]; \
                [c.from_pretrained(d).save_pretrained(d + \"-encoder\") for c in (t.AutoModel, t.AutoTokenizer)]";
    python(code, directory)
}

/// `code` without single quotes, for a POSIX shell.
fn python(code: &str, directory: &Path) -> String {
    let directory = directory.display().to_string();
    let directory = directory.trim_end_matches('/').replace('\'', "'\\''");
    format!("python -c '{code}' '{directory}'")
}

/// The class of transformers that wrote the checkpoint, so that converting keeps its head.
fn architecture(directory: &Path) -> Option<String> {
    let text = file::read_text(&directory.join("config.json"), crate::config::MAX_FILE).ok()?;
    let config: Value = serde_json::from_str(&text).ok()?;
    let name = config.get("architectures")?.get(0)?.as_str()?;
    let plain = name.len() <= 100 && name.chars().all(|c| c.is_ascii_alphanumeric());
    (plain && (name.starts_with("Bert") || name.starts_with("DistilBert"))).then(|| name.to_owned())
}
