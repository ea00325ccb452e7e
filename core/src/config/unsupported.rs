//! Fields that would change the computation to one that is not written here.

use serde_json::Value;

use super::Family;
use super::fields::Fields;
use crate::Result;

/// Flags of which only false (or absent) is supported.
const FLAGS: [&str; 6] = [
    "is_decoder",
    "is_encoder_decoder",
    "add_cross_attention",
    "sinusoidal_pos_embds",
    "relative_attention",
    "use_relative_position",
];

/// Refuses what cannot be computed here rather than compute something else.
pub(super) fn check(fields: &Fields<'_>, family: Family) -> Result<()> {
    FLAGS.iter().try_for_each(|flag| fields.must_be_false(flag))?;
    fields.must_be_text("position_embedding_type", "absolute")?;
    fields.must_be_text("problem_type", "single_label_classification")?;
    if let Some(heads) = fields.get("pruned_heads").filter(|heads| !is_empty(heads)) {
        return Err(fields.fail("pruned_heads", format_args!("{heads} is not supported; use the model before pruning")));
    }
    if fields.get("quantization_config").is_some() {
        let remedy = "is not supported; use the model's unquantised weights (f32, f16 or bf16)";
        return Err(fields.fail("quantization_config", remedy));
    }
    if let Some(Value::Object(map)) = fields.get("auto_map")
        && let Some(class) = map.keys().find(|class| class.starts_with("AutoModel"))
    {
        let message = format_args!("names code of its own for {class}, which is not run; use a model that transformers knows");
        return Err(fields.fail("auto_map", message));
    }
    // Factorised embeddings: TinyBERT states its size a second time under one of these names.
    let hidden = super::json::Names::of(family).hidden;
    for field in ["embedding_size", "emb_size"] {
        if let Some(size) = fields.get(field).filter(|&size| Some(size) != fields.get(hidden)) {
            return Err(fields.fail(field, format_args!("{size} is not supported; only the same as {hidden} is")));
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}
