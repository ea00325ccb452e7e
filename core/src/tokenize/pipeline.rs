//! BERT's pipeline in the `tokenizers` crate: made from a vocabulary, or checked where a file brings its own.

use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Tokenizer as Library};

use super::settings::Settings;
use super::{CLS, SEP, SPECIAL_TOKENS, UNKNOWN};

/// In front of a piece that continues a word.
const CONTINUATION: &str = "##";

/// Characters of the longest word that is not `[UNK]`.
const LONGEST_WORD: usize = 100;

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

/// Checks that the pipeline of a `tokenizer.json` is BERT's, so that what is put around the texts here, and what
/// transformers' `BertTokenizer` makes of the same vocabulary, is the same.
pub(super) fn check(library: &Library) -> Result<(), String> {
    let ModelWrapper::WordPiece(model) = library.get_model() else {
        let kind = match library.get_model() {
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::Unigram(_) => "Unigram",
            _ => "WordLevel",
        };
        return Err(format!("its model is {kind}, must be WordPiece; is this a BERT tokenizer?"));
    };
    let stated = (model.unk_token.as_str(), model.continuing_subword_prefix.as_str(), model.max_input_chars_per_word);
    if stated != (UNKNOWN, CONTINUATION, LONGEST_WORD) {
        return Err(format!(
            "its WordPiece has unk_token, continuing_subword_prefix, max_input_chars_per_word {stated:?}, must be {:?}",
            (UNKNOWN, CONTINUATION, LONGEST_WORD)
        ));
    }
    if !normalizer(library).is_some_and(|normalizer| normalizer.clean_text) {
        return Err("its normalizer must be a BertNormalizer with clean_text; is this a BERT tokenizer?".into());
    }
    if !matches!(library.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_))) {
        return Err("its pre_tokenizer must be a BertPreTokenizer; is this a BERT tokenizer?".into());
    }
    Ok(())
}

/// Adds BERT's post-processor where there is none; one that is there must do the same: `[CLS] a [SEP] b [SEP]` with segments.
pub(super) fn settle_post_processor(library: &mut Library, cls: u32, sep: u32) -> Result<(), String> {
    if library.get_post_processor().is_none() {
        library.with_post_processor(Some(BertProcessing::new((SEP.to_owned(), sep), (CLS.to_owned(), cls))));
    }
    let encode = |text: &str| library.encode_fast(text, false).map_err(|error| error.to_string());
    let (first, second) = (encode("a")?, encode("b")?);
    let expected_ids = [&[cls], first.get_ids(), &[sep], second.get_ids(), &[sep]].concat();
    let mut expected_segments = vec![0; first.len() + 2];
    expected_segments.resize(expected_ids.len(), 1);
    let both = library.encode_fast(("a", "b"), true).map_err(|error| error.to_string())?;
    if (both.get_ids(), both.get_type_ids()) != (&expected_ids[..], &expected_segments[..]) {
        return Err("its post_processor must put [CLS] and [SEP] and segments as BERT's does; is this a BERT tokenizer?".into());
    }
    Ok(())
}

/// The normaliser, if it is BERT's.
pub(super) fn normalizer(library: &Library) -> Option<&BertNormalizer> {
    match library.get_normalizer() {
        Some(NormalizerWrapper::BertNormalizer(normalizer)) => Some(normalizer),
        _ => None,
    }
}
