//! Model directories as `Model::save` and `Tokenizer::save` write them, for `tests/golden/check_export.py` to open with
//! transformers.
//!
//!     STEPSYNTH_EXPORT=DIR cargo test -p stepsynth-tests export && python tests/golden/check_export.py DIR
//!
//! With STEPSYNTH_MINILM (see `golden_minilm.rs`) the published weights are exported too.

use std::path::{Path, PathBuf};

use serde_json::json;
use stepsynth_core::config::{EncoderConfig, Head};
use stepsynth_core::model::{Initialisation, Model};
use stepsynth_core::tokenize::{Tokenizer, Truncation};
use stepsynth_core::train::logits;
use stepsynth_kernels::cpu::Cpu;

use crate::golden;

const HEADS: [(&str, Head); 2] = [("classification", Head::Classification { labels: 3 }), ("qa", Head::QuestionAnswering)];

const TEXTS: [(&str, Option<&str>); 6] = [
    ("The film was not very good.", None),
    ("Boring!!! A VERY bad movie… [MASK] [NEW]thing", None),
    ("Who wrote the play?", Some("The author of the play was born in Paris in 1991.")),
    ("Café naïve, 北京 is the capital of 中国?", Some("It is.")),
    ("x\u{200b}y\tz \u{1f600} İstanbul", Some("unestablishments, 각 ½")),
    ("a", Some("b")),
];

/// Sizes that are multiples of no vector length; the activations of the families' usual and of newer files.
fn config(family: &str, vocab_size: usize) -> EncoderConfig {
    let sizes = match family {
        "bert" => {
            r#""hidden_size": 44, "intermediate_size": 70, "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_act": "gelu_new",
            "layer_norm_eps": 1e-7"#
        }
        _ => r#""dim": 44, "hidden_dim": 70, "n_layers": 3, "n_heads": 4"#,
    };
    let text = format!(
        r#"{{"model_type": "{family}", "vocab_size": {vocab_size}, "max_position_embeddings": 60,
        "id2label": {{"0": "no", "1": "perhaps", "2": "yes"}}, {sizes}}}"#
    );
    EncoderConfig::from_json(&text, "test").unwrap()
}

/// The small vocabulary with settings that differ from the usual ones, and a token of its own.
fn cased_tokenizer() -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden::path("tokenizer/vocab.txt"), folder.path().join("vocab.txt")).unwrap();
    let settings = json!({"do_lower_case": false, "strip_accents": true, "additional_special_tokens": ["[NEW]"]});
    std::fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    Tokenizer::load(folder.path()).unwrap()
}

/// Writes the directory with `expected.json`: what this library computes from it.
fn export(backend: &Cpu, directory: &Path, tokenizer: &Tokenizer, model: &Model<Cpu>) {
    std::fs::create_dir_all(directory).unwrap();
    model.save(backend, directory).unwrap();
    tokenizer.save(directory, model.config()).unwrap();
    let reread = Tokenizer::load(directory).unwrap();
    assert_eq!(reread.to_json().unwrap(), tokenizer.to_json().unwrap());
    let (model, new_head) = Model::load(backend, directory, model.head(), 0).unwrap();
    assert_eq!(new_head, None);
    let encode = |&(first, second): &(&str, Option<&str>)| reread.encode(first, second, 60, Truncation::LongestFirst).unwrap();
    let sequences: Vec<_> = TEXTS.iter().map(encode).collect();
    let logits = logits(backend, &model, &sequences, 1, &|_, _| true).unwrap();
    let rows: Vec<_> = TEXTS
        .iter()
        .zip(sequences.iter().zip(&logits))
        .map(|((text, text_pair), (sequence, logits))| {
            json!({"text": text, "text_pair": text_pair, "ids": sequence.ids, "token_types": sequence.token_types, "logits": logits})
        })
        .collect();
    let labels = matches!(model.head(), Head::Classification { .. }).then(|| &model.config().id2label);
    let expected = json!({"labels": labels, "family": format!("{:?}", model.config().family), "rows": rows});
    std::fs::write(directory.join("expected.json"), expected.to_string()).unwrap();
}

#[test]
fn exports_for_transformers() {
    let temporary = tempfile::tempdir().unwrap();
    let out = std::env::var_os("STEPSYNTH_EXPORT").map_or(temporary.path().to_path_buf(), PathBuf::from);
    let backend = Cpu::new(1).unwrap();
    let learned = Tokenizer::train(TEXTS.iter().flat_map(|(first, second)| [*first, second.unwrap_or("")]), 120, 1).unwrap();
    for (kind, tokenizer) in [("learned", &learned), ("cased", &cased_tokenizer())] {
        for family in ["bert", "distilbert"] {
            for (task, head) in HEADS {
                let config = config(family, tokenizer.vocab_size());
                let model = Model::new(&backend, config, head, Initialisation::Scratch, 4).unwrap();
                export(&backend, &out.join(format!("{family}-{task}-{kind}")), tokenizer, &model);
            }
        }
    }
    let Some(minilm) = std::env::var_os("STEPSYNTH_MINILM").map(PathBuf::from) else { return };
    for (task, head) in HEADS {
        let (model, _) = Model::load(&backend, &minilm, head, 4).unwrap();
        let labels = ["no", "perhaps", "yes"].map(str::to_owned).to_vec();
        export(&backend, &out.join(format!("minilm-{task}")), &Tokenizer::load(&minilm).unwrap(), &model.with_labels(labels));
    }
}
