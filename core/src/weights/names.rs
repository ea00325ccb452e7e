//! Internal names and the names of transformers' `modeling_distilbert.py` and `modeling_bert.py`.

use crate::config::{Family, Head};

/// In front of the encoder's tensors in a model with a head.
pub(super) fn prefix(family: Family) -> &'static str {
    match family {
        Family::DistilBert => "distilbert.",
        Family::Bert => "bert.",
    }
}

/// Names without prefix of the tensors that make up the parameter `internal`, from top to bottom.
pub(super) fn stored(family: Family, head: Head, internal: &str) -> Vec<String> {
    let (module, field) = internal.rsplit_once('.').unwrap_or((internal, ""));
    let norm = match field {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    };
    let Some((layer, part)) = module.strip_prefix("layer.").and_then(|rest| rest.split_once('.')) else {
        return vec![match (family, module, field) {
            (_, "embeddings", table) => format!("embeddings.{table}_embeddings.weight"),
            (_, "embeddings.norm", _) => format!("embeddings.LayerNorm.{norm}"),
            (Family::DistilBert, "head.pre", _) => format!("pre_classifier.{field}"),
            (Family::Bert, "head.pre", _) => format!("pooler.dense.{field}"),
            _ if head == Head::QuestionAnswering => format!("qa_outputs.{field}"),
            _ => format!("classifier.{field}"),
        }];
    };
    let (stack, modules): (_, &[&str]) = match family {
        Family::DistilBert => (
            "transformer.layer",
            match part {
                "qkv" => &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
                "attention_out" => &["attention.out_lin"],
                "attention_norm" => &["sa_layer_norm"],
                "ffn_in" => &["ffn.lin1"],
                "ffn_out" => &["ffn.lin2"],
                _ => &["output_layer_norm"],
            },
        ),
        Family::Bert => (
            "encoder.layer",
            match part {
                "qkv" => &["attention.self.query", "attention.self.key", "attention.self.value"],
                "attention_out" => &["attention.output.dense"],
                "attention_norm" => &["attention.output.LayerNorm"],
                "ffn_in" => &["intermediate.dense"],
                "ffn_out" => &["output.dense"],
                _ => &["output.LayerNorm"],
            },
        ),
    };
    modules.iter().map(|module| format!("{stack}.{layer}.{module}.{norm}")).collect()
}

/// The plain form of a name in a file: no prefix, and `weight`/`bias` where files converted from TensorFlow (such as
/// `bert-base-uncased`) say `gamma`/`beta`.
pub(super) fn without_prefix(family: Family, name: &str) -> String {
    let plain = name.strip_prefix(prefix(family)).unwrap_or(name);
    match plain.rsplit_once('.') {
        Some((module, "gamma")) => format!("{module}.weight"),
        Some((module, "beta")) => format!("{module}.bias"),
        _ => plain.to_owned(),
    }
}

/// Whether a tensor stands outside the encoder module, so that its name has no prefix.
pub(super) fn is_outside_encoder(name: &str) -> bool {
    ["pre_classifier.", "classifier.", "qa_outputs."].iter().any(|head| name.starts_with(head))
}

/// For which heads a tensor is ignored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unused {
    Always,
    Classifying,
    Answering,
}

/// Beginnings of the names, without prefix, of tensors that published files carry and these models do not read. The module's
/// documentation has the same table with reasons.
const IGNORED: [(&str, Unused); 11] = [
    ("embeddings.position_ids", Unused::Always),
    ("embeddings.token_type_ids", Unused::Always),
    ("cls.", Unused::Always),
    ("vocab_transform.", Unused::Always),
    ("vocab_layer_norm.", Unused::Always),
    ("vocab_projector.", Unused::Always),
    ("fit_dense", Unused::Always),
    ("qa_outputs.", Unused::Classifying),
    ("classifier.", Unused::Answering),
    ("pre_classifier.", Unused::Answering),
    ("pooler.", Unused::Answering),
];

/// Whether a tensor that was not used may be ignored.
pub(super) fn is_ignored(head: Head, name: &str) -> bool {
    let task = if head == Head::QuestionAnswering { Unused::Answering } else { Unused::Classifying };
    IGNORED.iter().any(|&(beginning, unused)| name.starts_with(beginning) && (unused == Unused::Always || unused == task))
}

/// `classifier` of `classifier.bias`.
pub(super) fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}
