//! BERT's pipeline in the `tokenizers` crate: made from a vocabulary, or checked where a file brings its own.

use serde_json::{Value, json};
use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, Tokenizer as Library};

use super::settings::Settings;
use super::{CLS, SEP, SPECIAL_TOKENS, UNKNOWN};

/// In front of a piece that continues a word.
const CONTINUATION: &str = "##";

/// Characters of the longest word that is not `[UNK]`.
const LONGEST_WORD: usize = 100;

const HINT: &str = "is this a BERT tokenizer?";

/// A tokeniser of one token a line. Of a token on several lines the last counts, as in transformers.
pub(super) fn assemble(vocabulary: &str, settings: &Settings) -> Result<Library, String> {
    let ids = WordPiece::read_bytes(vocabulary.as_bytes()).map_err(|error| error.to_string())?;
    let model = WordPiece::builder().vocab(ids).build();
    let mut library = Library::new(model.map_err(|error| error.to_string())?);
    library.with_normalizer(Some(settings.normalizer()));
    library.with_pre_tokenizer(Some(BertPreTokenizer));
    library.with_decoder(Some(Decoder::default()));
    let special: Vec<AddedToken> = SPECIAL_TOKENS
        .iter()
        .filter(|token| library.token_to_id(token).is_some())
        .map(|&token| AddedToken::from(token, true))
        .collect();
    library.add_special_tokens(&special);
    for (id, token) in &settings.added {
        library.add_tokens(std::slice::from_ref(token));
        let got = library.token_to_id(&token.content);
        if id.is_some() && got != *id {
            let (id, got) = (id.unwrap_or_default(), got.unwrap_or_default());
            return Err(format!("added token {:?} has id {got} after this vocabulary, its file says {id}", token.content));
        }
    }
    Ok(library)
}

/// Reads a `tokenizer.json`, whose pipeline must be BERT's, so that what is put around the texts here, and what transformers'
/// `BertTokenizer` makes of the same vocabulary, is the same.
///
/// Only the parts that are known are handed to the library, since it panics on some that are malformed.
pub(super) fn from_json(text: &str) -> Result<Library, String> {
    let mut json: Value = serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))?;
    let fields = json.as_object_mut().ok_or("must be a JSON object")?;
    let part = |name: &str| fields.get(name).unwrap_or(&Value::Null);
    let kind = |name: &str| part(name).get("type").and_then(Value::as_str);
    if let Some(other) = kind("model").filter(|&kind| kind != "WordPiece") {
        return Err(format!("its model is {other}, must be WordPiece; {HINT}"));
    }
    if kind("normalizer") != Some("BertNormalizer") || part("normalizer")["clean_text"] != true {
        return Err(format!("its normalizer must be a BertNormalizer with clean_text; {HINT}"));
    }
    if kind("pre_tokenizer") != Some("BertPreTokenizer") {
        return Err(format!("its pre_tokenizer must be a BertPreTokenizer; {HINT}"));
    }
    let post_processor = part("post_processor").clone();
    let added = part("added_tokens").clone();
    for unused in ["post_processor", "decoder", "truncation", "padding"] {
        fields.insert(unused.to_owned(), Value::Null);
    }
    let mut library: Library = serde_json::from_value(json).map_err(|error| error.to_string())?;
    library.with_decoder(Some(Decoder::default()));
    let ModelWrapper::WordPiece(model) = library.get_model() else {
        return Err(format!("its model must be WordPiece; {HINT}"));
    };
    let stated = (model.unk_token.as_str(), model.continuing_subword_prefix.as_str(), model.max_input_chars_per_word);
    if stated != (UNKNOWN, CONTINUATION, LONGEST_WORD) {
        return Err(format!(
            "its WordPiece has unk_token, continuing_subword_prefix, max_input_chars_per_word {stated:?}, must be {:?}",
            (UNKNOWN, CONTINUATION, LONGEST_WORD)
        ));
    }
    for token in added.as_array().into_iter().flatten() {
        let (content, id) = (token["content"].as_str().unwrap_or_default(), &token["id"]);
        if library.token_to_id(content).map(u64::from) != id.as_u64() {
            return Err(format!("its added token {content:?} does not get its id {id} after this vocabulary"));
        }
    }
    if !post_processor.is_null() && !is_berts(&post_processor, &library) {
        return Err(format!("its post_processor must put [CLS] and [SEP] and segments as BERT's does; {HINT}"));
    }
    Ok(library)
}

/// Whether a post-processor makes `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`, where `b [SEP]` is segment 1.
fn is_berts(post_processor: &Value, library: &Library) -> bool {
    let special = |token: &str, segment: u32| json!({"SpecialToken": {"id": token, "type_id": segment}});
    let sequence = |name: &str, segment: u32| json!({"Sequence": {"id": name, "type_id": segment}});
    let single = [special(CLS, 0), sequence("A", 0), special(SEP, 0)];
    let pair = [&single[..], &[sequence("B", 1), special(SEP, 1)]].concat();
    [(CLS, "cls"), (SEP, "sep")].into_iter().all(|(token, field)| {
        let id = library.token_to_id(token);
        match post_processor["type"].as_str() {
            Some("BertProcessing") => post_processor[field] == json!([token, id]),
            Some("TemplateProcessing") => {
                post_processor["single"] == json!(single)
                    && post_processor["pair"] == json!(pair)
                    && post_processor["special_tokens"][token]["ids"] == json!([id])
            }
            _ => false,
        }
    })
}

/// The normaliser, if it is BERT's.
pub(super) fn normalizer(library: &Library) -> Option<&BertNormalizer> {
    match library.get_normalizer() {
        Some(NormalizerWrapper::BertNormalizer(normalizer)) => Some(normalizer),
        _ => None,
    }
}
