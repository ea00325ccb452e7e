//! `config.json` in the words of transformers' `DistilBertConfig` and `BertConfig`.

use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::{Dropouts, EncoderConfig, Family, Head, unsupported};
use crate::backend::Activation;
use crate::{Error, Result, file};

/// How a family names the fields that both have.
pub(super) struct Names {
    pub(super) vocab_size: &'static str,
    pub(super) hidden: &'static str,
    pub(super) layers: &'static str,
    pub(super) heads: &'static str,
    pub(super) feed_forward: &'static str,
    pub(super) max_positions: &'static str,
    pub(super) activation: &'static str,
    pub(super) hidden_dropout: &'static str,
    pub(super) attention_dropout: &'static str,
    pub(super) classifier_dropout: &'static str,
}

impl Names {
    pub(super) fn of(family: Family) -> &'static Self {
        match family {
            Family::DistilBert => &DISTILBERT,
            Family::Bert => &BERT,
        }
    }
}

const DISTILBERT: Names = Names {
    vocab_size: "vocab_size",
    hidden: "dim",
    layers: "n_layers",
    heads: "n_heads",
    feed_forward: "hidden_dim",
    max_positions: "max_position_embeddings",
    activation: "activation",
    hidden_dropout: "dropout",
    attention_dropout: "attention_dropout",
    classifier_dropout: "seq_classif_dropout",
};

const BERT: Names = Names {
    vocab_size: "vocab_size",
    hidden: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    feed_forward: "intermediate_size",
    max_positions: "max_position_embeddings",
    activation: "hidden_act",
    hidden_dropout: "hidden_dropout_prob",
    attention_dropout: "attention_probs_dropout_prob",
    classifier_dropout: "classifier_dropout",
};

/// DistilBERT's layer normalisations have this constant in the code of transformers, not in the configuration.
const DISTILBERT_EPSILON: f64 = 1e-12;

/// Sizes must be stated; where a probability or flag is absent, transformers' default holds.
pub(super) fn parse(text: &str, place: &str) -> Result<EncoderConfig> {
    let fail = |message: String| Error::Config { place: place.to_owned(), message: file::printable(&message) };
    let value: Value = serde_json::from_str(text).map_err(|error| fail(format!("not valid JSON: {error}")))?;
    let Value::Object(map) = value else { return Err(fail("must be a JSON object".into())) };
    let fields = Fields { map: &map, place };
    let family = fields.family()?;
    let names = Names::of(family);
    unsupported::check(&fields, family)?;
    let hidden_dropout = fields.number(names.hidden_dropout, 0.1)?;
    let config = EncoderConfig {
        family,
        vocab_size: fields.required_size(names.vocab_size)?,
        hidden: fields.required_size(names.hidden)?,
        layers: fields.required_size(names.layers)?,
        heads: fields.required_size(names.heads)?,
        feed_forward: fields.required_size(names.feed_forward)?,
        max_positions: fields.required_size(names.max_positions)?,
        token_types: if family == Family::Bert { fields.size("type_vocab_size", 2)? } else { 0 },
        layer_norm_epsilon: if family == Family::Bert { fields.number("layer_norm_eps", 1e-12)? } else { DISTILBERT_EPSILON },
        activation: activation(&fields, names.activation)?,
        dropouts: Dropouts {
            hidden: hidden_dropout,
            attention: fields.number(names.attention_dropout, 0.1)?,
            classifier: fields.number(names.classifier_dropout, if family == Family::Bert { hidden_dropout } else { 0.2 })?,
            question_answering: if family == Family::DistilBert { fields.number("qa_dropout", 0.1)? } else { 0.0 },
        },
        initializer_range: fields.number("initializer_range", 0.02)?,
        pad_token_id: fields.size("pad_token_id", 0)?,
        id2label: fields.labels()?,
    };
    Ok(config)
}

pub(super) fn write(config: &EncoderConfig, head: Head) -> String {
    let names = Names::of(config.family);
    let (model_type, prefix) = match config.family {
        Family::DistilBert => ("distilbert", "DistilBert"),
        Family::Bert => ("bert", "Bert"),
    };
    let task = match head {
        Head::Classification { .. } => "SequenceClassification",
        Head::QuestionAnswering => "QuestionAnswering",
    };
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
    put("architectures", json!([format!("{prefix}For{task}")]));
    put("model_type", json!(model_type));
    put(names.vocab_size, json!(config.vocab_size));
    put(names.hidden, json!(config.hidden));
    put(names.layers, json!(config.layers));
    put(names.heads, json!(config.heads));
    put(names.feed_forward, json!(config.feed_forward));
    put(names.max_positions, json!(config.max_positions));
    put(names.activation, json!(activation_name(config.activation)));
    put(names.hidden_dropout, json!(config.dropouts.hidden));
    put(names.attention_dropout, json!(config.dropouts.attention));
    put(names.classifier_dropout, json!(config.dropouts.classifier));
    put("initializer_range", json!(config.initializer_range));
    put("pad_token_id", json!(config.pad_token_id));
    match config.family {
        Family::DistilBert => {
            put("qa_dropout", json!(config.dropouts.question_answering));
            put("sinusoidal_pos_embds", json!(false));
        }
        Family::Bert => {
            put("type_vocab_size", json!(config.token_types));
            put("layer_norm_eps", json!(config.layer_norm_epsilon));
            put("position_embedding_type", json!("absolute"));
        }
    }
    if let Head::Classification { labels } = head {
        let names: Vec<String> =
            (0..labels).map(|id| config.id2label.get(id).cloned().unwrap_or_else(|| default_label(id))).collect();
        put("id2label", names.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect::<Map<_, _>>().into());
        put("label2id", names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect::<Map<_, _>>().into());
        put("problem_type", json!("single_label_classification"));
    }
    put("torch_dtype", json!("float32"));
    format!("{:#}\n", Value::Object(map))
}

fn activation(fields: &Fields<'_>, field: &str) -> Result<Activation> {
    match fields.text(field, "gelu")? {
        "gelu" => Ok(Activation::GeluErf),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        other => {
            let known = "use \"gelu\", \"gelu_new\", \"gelu_pytorch_tanh\" or \"relu\"";
            Err(fields.fail(field, format_args!("{other:?} is not supported; {known}")))
        }
    }
}

fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::GeluErf => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::Relu => "relu",
        Activation::Tanh => "tanh",
    }
}

pub(super) fn default_label(id: usize) -> String {
    format!("LABEL_{id}")
}
