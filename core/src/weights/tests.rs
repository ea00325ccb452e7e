mod hostile;
mod shards;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::*;
use crate::Error;
use crate::config::parameter_layout;
use crate::random::Stream;

fn config(family: &str) -> EncoderConfig {
    let text = match family {
        "bert" => {
            r#"{"model_type": "bert", "vocab_size": 11, "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 8}"#
        }
        _ => {
            r#"{"model_type": "distilbert", "vocab_size": 11, "dim": 4, "hidden_dim": 6, "n_layers": 2, "n_heads": 2,
            "max_position_embeddings": 8}"#
        }
    };
    EncoderConfig::from_json(text, "test").unwrap()
}

fn random_tensors(config: &EncoderConfig, head: Head) -> Vec<(String, HostTensor)> {
    let mut generator = Stream::new(1, "weights").generator();
    let layout = parameter_layout(config, head).into_iter();
    layout
        .map(|spec| {
            let data = (0..spec.rows * spec.columns).map(|_| generator.normal() as f32).collect();
            (spec.name, HostTensor { rows: spec.rows, columns: spec.columns, data })
        })
        .collect()
}

const CLASSES: Head = Head::Classification { labels: 3 };

#[test]
fn saved_weights_load_back_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    for family in ["bert", "distilbert"] {
        for head in [CLASSES, Head::QuestionAnswering] {
            let config = config(family);
            let tensors = random_tensors(&config, head);
            save(&path, &config, head, &tensors).unwrap();
            let loaded = load(directory.path(), &config, head).unwrap();
            assert_eq!(loaded.missing_head, [""; 0]);
            assert_eq!(loaded.tensors, tensors);
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "temporary files are gone");
}

/// Transformers' names: what `save_pretrained` writes for these classes.
#[test]
fn names_are_those_of_transformers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let names = |family, head| {
        let config = config(family);
        save(&path, &config, head, &random_tensors(&config, head)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
        SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let distilbert = names("distilbert", CLASSES);
    for name in [
        "distilbert.embeddings.word_embeddings.weight",
        "distilbert.transformer.layer.1.attention.k_lin.bias",
        "distilbert.transformer.layer.0.output_layer_norm.weight",
        "pre_classifier.weight",
        "classifier.bias",
    ] {
        assert!(distilbert.iter().any(|other| other == name), "{name} not in {distilbert:?}");
    }
    let bert = names("bert", Head::QuestionAnswering);
    for name in [
        "bert.embeddings.token_type_embeddings.weight",
        "bert.encoder.layer.1.attention.output.LayerNorm.bias",
        "qa_outputs.weight",
    ] {
        assert!(bert.iter().any(|other| other == name), "{name} not in {bert:?}");
    }
    assert!(names("bert", CLASSES).iter().any(|name| name == "bert.pooler.dense.weight"));
}

/// Rewrites a file with each tensor passed through `edit`: `None` drops it.
fn edit(path: &Path, edit: impl Fn(&str, TensorView<'_>) -> Option<(String, Dtype, Vec<usize>, Vec<u8>)>) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let kept: Vec<_> = file.tensors().into_iter().filter_map(|(name, view)| edit(&name, view)).collect();
    let views = kept.iter().map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn parts(name: &str, view: &TensorView<'_>) -> (String, Dtype, Vec<usize>, Vec<u8>) {
    (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec())
}

#[test]
fn bare_encoders_load_with_a_new_head() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let config = config("bert");
    let tensors = random_tensors(&config, CLASSES);
    save(&path, &config, CLASSES, &tensors).unwrap();
    edit(&path, |name, view| {
        // The bare model: no prefix, a pooler, no classifier; LayerNorm in TensorFlow's words.
        let (plain, dtype, shape, data) = parts(name.strip_prefix("bert.").unwrap_or(name), &view);
        let plain = plain.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        (!plain.starts_with("classifier")).then_some((plain, dtype, shape, data))
    });
    let loaded = load(&path, &config, CLASSES).unwrap();
    assert_eq!(loaded.missing_head, ["classifier.weight", "classifier.bias"]);
    assert_eq!(loaded.tensors, tensors[..tensors.len() - 2]);
    let spans = load(&path, &config, Head::QuestionAnswering).unwrap();
    assert_eq!(spans.missing_head, ["qa_outputs.weight", "qa_outputs.bias"]);
    assert_eq!(spans.tensors, tensors[..tensors.len() - 4]);
}

#[test]
fn smaller_number_types_are_widened_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let config = config("distilbert");
    assert_eq!(config.family, Family::DistilBert);
    save(&path, &config, CLASSES, &random_tensors(&config, CLASSES)).unwrap();
    edit(&path, |name, view| {
        let (name, _, shape, data) = parts(name, &view);
        let dtype = if name.ends_with("bias") { Dtype::F16 } else { Dtype::BF16 };
        let bits = if dtype == Dtype::F16 { 0xb800_u16 } else { 0x3fc0_u16 };
        Some((name, dtype, shape, bits.to_le_bytes().repeat(data.len() / 4)))
    });
    for (name, tensor) in load(&path, &config, CLASSES).unwrap().tensors {
        let vector = name.ends_with("bias") || name.ends_with("beta");
        assert!(tensor.data.iter().all(|&value| value == if vector { -0.5 } else { 1.5 }), "{name}");
    }
}

#[test]
fn misfits_are_named_with_both_shapes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let config = config("distilbert");
    let tensors = random_tensors(&config, CLASSES);
    let fresh = || save(&path, &config, CLASSES, &tensors).unwrap();
    let message = |config: &EncoderConfig, head| load(&path, config, head).unwrap_err().to_string();
    let at = |message: &str| format!("{}: {message}", path.display());

    fresh();
    let wider = EncoderConfig { feed_forward: 7, ..config.clone() };
    let lin1 = "tensor transformer.layer.0.ffn.lin1.weight";
    let hint = "is config.json of another model?";
    assert_eq!(message(&wider, CLASSES), at(&format!("{lin1} has shape [6, 4], the model needs [7, 4]; {hint}")));
    let classes = Head::Classification { labels: 2 };
    let expected = "tensor classifier.weight has shape [3, 4], the model needs [2, 4]; its head has 3 classes, not 2: take a \
        task of as many, or for a new head write its encoder alone: python -c '";
    let fewer = message(&config, classes);
    assert!(fewer.starts_with(&at(expected)) && fewer.ends_with(&format!(" '{}'", directory.path().display())), "{fewer}");
    let shallow = EncoderConfig { layers: 1, ..config.clone() };
    let extra = "tensor transformer.layer.1.attention.k_lin.bias [4] has no place in the model; ";
    assert_eq!(message(&shallow, CLASSES), at(&format!("{extra}{hint}")));

    edit(&path, |name, view| (!name.ends_with("0.ffn.lin1.weight")).then(|| parts(name, &view)));
    assert_eq!(message(&config, CLASSES), at(&format!("{lin1} [6, 4] is missing; {hint}")));

    fresh();
    edit(&path, |name, view| {
        let (name, dtype, shape, data) = parts(name, &view);
        Some((name, if dtype == Dtype::F32 { Dtype::I32 } else { dtype }, shape, data))
    });
    let word = "tensor embeddings.word_embeddings.weight is stored as I32; convert it to F32, F16 or BF16";
    assert_eq!(message(&config, CLASSES), at(word));

    let error = save(&path, &config, CLASSES, &tensors[1..]).unwrap_err().to_string();
    assert!(error.contains("tensors given"), "{error}");
}

#[test]
fn a_head_without_classes_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let config = config("distilbert");
    let none = Head::Classification { labels: 0 };
    let message = "model head: number of labels is 0, must be between 1 and 65536";
    assert_eq!(save(&path, &config, none, &[]).unwrap_err().to_string(), message);
    assert_eq!(load(&path, &config, none).unwrap_err().to_string(), message);
}

/// A head lacks its output, or everything; an output without the layer below it is the head of another task.
#[test]
fn heads_of_other_tasks_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    for (family, below) in [("bert", "pooler.dense"), ("distilbert", "pre_classifier")] {
        let config = config(family);
        save(&path, &config, CLASSES, &random_tensors(&config, CLASSES)).unwrap();
        edit(&path, |name, view| (!name.contains(below)).then(|| parts(name, &view)));
        let error = load(&path, &config, CLASSES).unwrap_err().to_string();
        let expected = format!("{}: tensor {below}.weight [4, 4] is missing though classifier.weight is there", path.display());
        assert!(error.starts_with(&expected) && error.contains("save_pretrained(d + \"-encoder\")"), "{error}");
    }
}

/// The table of the module's documentation.
#[test]
fn what_published_files_carry_is_ignored() {
    const BERT: [&str; 5] = [
        "embeddings.position_ids",
        "bert.embeddings.token_type_ids",
        "cls.predictions.transform.LayerNorm.gamma",
        "cls.seq_relationship.weight",
        "fit_denses.3.weight",
    ];
    const DISTILBERT: [&str; 3] = ["vocab_transform.weight", "vocab_layer_norm.bias", "vocab_projector.weight"];
    const OTHER_HEAD: [&str; 3] = ["classifier.out_proj.weight", "qa_outputs.0.weight", "pre_classifier.2.bias"];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    for (family, extras) in [("bert", &BERT[..]), ("distilbert", &DISTILBERT[..])] {
        for head in [CLASSES, Head::QuestionAnswering] {
            let config = config(family);
            let tensors = random_tensors(&config, head);
            let with = |extra: &str| {
                save(&path, &config, head, &tensors).unwrap();
                let bytes = std::fs::read(&path).unwrap();
                let file = SafeTensors::deserialize(&bytes).unwrap();
                let numbers = [0; 16];
                let extra = (extra.to_owned(), TensorView::new(Dtype::I64, vec![1, 2], &numbers).unwrap());
                let views = file.tensors().into_iter().chain([extra]);
                std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
                load(&path, &config, head)
            };
            for extra in extras {
                assert_eq!(with(extra).unwrap().tensors, tensors, "{extra}");
            }
            for extra in OTHER_HEAD {
                let of_this_head = extra.starts_with("qa_outputs") == (head == Head::QuestionAnswering);
                assert_eq!(with(extra).is_err(), of_this_head, "{extra} of {head:?}");
            }
            let error = with("encoder.relative_attention_bias.weight").unwrap_err().to_string();
            let expected = "tensor encoder.relative_attention_bias.weight [1, 2] has no place in the model; is config.json of another model?";
            assert_eq!(error, format!("{}: {expected}", path.display()));
        }
    }
}
