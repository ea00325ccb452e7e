//! `config.json` in the words of transformers' `DistilBertConfig` and `BertConfig`.

use serde_json::{Map, Value, json};

use super::{Dropouts, EncoderConfig, Family, Head};
use crate::backend::Activation;
use crate::{Error, Result};

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
    let fail = |message: String| Error::Config { place: place.to_owned(), message };
    let value: Value = serde_json::from_str(text).map_err(|error| fail(format!("not valid JSON: {error}")))?;
    let Value::Object(map) = value else { return Err(fail("must be a JSON object".into())) };
    let fields = Fields { map: &map, place };
    let family = match fields.required_text("model_type")? {
        "distilbert" => Family::DistilBert,
        "bert" => Family::Bert,
        other => return Err(fail(format!("model_type {other:?} is not supported; use \"distilbert\" or \"bert\""))),
    };
    let names = Names::of(family);
    match family {
        Family::DistilBert => fields.must_be_false("sinusoidal_pos_embds")?,
        Family::Bert => {
            fields.must_be_false("is_decoder")?;
            fields.must_be_false("add_cross_attention")?;
            fields.must_be_text("position_embedding_type", "absolute")?;
        }
    }
    fields.must_be_text("problem_type", "single_label_classification")?;
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
        activation: activation(names.activation, fields.text(names.activation, "gelu")?, place)?,
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

fn activation(field: &str, name: &str, place: &str) -> Result<Activation> {
    match name {
        "gelu" => Ok(Activation::GeluErf),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        other => Err(Error::Config {
            place: place.to_owned(),
            message: format!("{field} {other:?} is not supported; use \"gelu\", \"gelu_new\", \"gelu_pytorch_tanh\" or \"relu\""),
        }),
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

fn default_label(id: usize) -> String {
    format!("LABEL_{id}")
}

/// Typed access to a JSON object with errors that name the field. A null field counts as absent, as in transformers.
struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: &'a str,
}

impl<'a> Fields<'a> {
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn fail(&self, field: &str, message: impl std::fmt::Display) -> Error {
        Error::Config { place: self.place.to_owned(), message: format!("{field} {message}") }
    }

    fn required_text(&self, field: &str) -> Result<&'a str> {
        let value = self.get(field).ok_or_else(|| self.fail(field, "is missing"))?;
        value.as_str().ok_or_else(|| self.fail(field, format_args!("must be a text, is {value}")))
    }

    fn text(&self, field: &str, default: &'a str) -> Result<&'a str> {
        if self.get(field).is_none() { Ok(default) } else { self.required_text(field) }
    }

    fn must_be_text(&self, field: &str, only: &'a str) -> Result<()> {
        match self.text(field, only)? {
            value if value == only => Ok(()),
            other => Err(self.fail(field, format_args!("{other:?} is not supported; only {only:?} is"))),
        }
    }

    fn must_be_false(&self, field: &str) -> Result<()> {
        match self.get(field) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(value) => Err(self.fail(field, format_args!("{value} is not supported; only false is"))),
        }
    }

    fn required_size(&self, field: &str) -> Result<usize> {
        let value = self.get(field).ok_or_else(|| self.fail(field, "is missing"))?;
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| self.fail(field, format_args!("must be a whole number, is {value}")))
    }

    fn size(&self, field: &str, default: usize) -> Result<usize> {
        if self.get(field).is_none() { Ok(default) } else { self.required_size(field) }
    }

    fn number(&self, field: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_f64().ok_or_else(|| self.fail(field, format_args!("must be a number, is {value}")))
    }

    /// Label names in order; `LABEL_0`, `LABEL_1`, ... (`num_labels`, or two) where `id2label` is absent.
    fn labels(&self) -> Result<Vec<String>> {
        let Some(value) = self.get("id2label") else {
            let count = self.size("num_labels", 2)?;
            if count > super::MAX_LABELS {
                return Err(self.fail("num_labels", format_args!("is {count}, must be at most {}", super::MAX_LABELS)));
            }
            return Ok((0..count).map(default_label).collect());
        };
        let map = value.as_object().ok_or_else(|| self.fail("id2label", "must be an object from id to name"))?;
        let names: Vec<String> = (0..map.len())
            .map(|id| {
                let name = map.get(&id.to_string()).and_then(Value::as_str);
                name.map(str::to_owned)
                    .ok_or_else(|| self.fail("id2label", format_args!("has no name for id {id}; ids must run from 0")))
            })
            .collect::<Result<_>>()?;
        if let Some(value) = self.get("label2id") {
            let map = value.as_object().ok_or_else(|| self.fail("label2id", "must be an object from name to id"))?;
            for (id, name) in names.iter().enumerate() {
                if map.get(name).and_then(Value::as_u64) != Some(id as u64) {
                    return Err(self.fail("label2id", format_args!("does not map {name:?} to {id} as id2label does")));
                }
            }
            if map.len() != names.len() {
                return Err(self.fail("label2id", format_args!("has {} names, id2label has {}", map.len(), names.len())));
            }
        }
        Ok(names)
    }
}
