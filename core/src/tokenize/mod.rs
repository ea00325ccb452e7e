//! Text to token ids: BERT's WordPiece on top of the `tokenizers` crate.

mod pipeline;
mod question;
mod save;
mod settings;
mod vocabulary;

pub use question::Window;

use std::path::Path;

use tokenizers::processors::bert::BertProcessing;
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{Encoding, Tokenizer as Library};

use self::settings::Settings;
use crate::config::MAX_VOCABULARY;
use crate::{Error, Result, Sequence, file};

/// Tokens that every vocabulary trained here begins with, in the order of their ids.
pub const SPECIAL_TOKENS: [&str; 5] = [PAD, UNKNOWN, CLS, SEP, "[MASK]"];
/// Longest tokenizer file read, in bytes: far above what a vocabulary of these families needs.
const MAX_FILE: u64 = 256 << 20;

const PAD: &str = "[PAD]";
const UNKNOWN: &str = "[UNK]";
const CLS: &str = "[CLS]";
const SEP: &str = "[SEP]";

/// What to shorten when two texts do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// The longer of the two, then both alike (transformers' `longest_first`).
    LongestFirst,
    /// The second alone (transformers' `only_second`).
    OnlySecond,
}

/// A WordPiece tokeniser. Cheap to share between threads.
#[derive(Clone)]
pub struct Tokenizer {
    library: Library,
    cls: i32,
    sep: i32,
    vocab_size: usize,
}

impl Tokenizer {
    /// Reads `path`: a `tokenizer.json`, a `vocab.txt`, or a directory with one of them (the former is preferred).
    ///
    /// A `tokenizer.json` must hold BERT's pipeline: `BertNormalizer`, `BertPreTokenizer`, WordPiece with `##`, and `[CLS]`
    /// and `[SEP]` around the texts. Truncation and padding stored in it are dropped: lengths are arguments here.
    ///
    /// A `vocab.txt` has one token a line. The files beside it count as in transformers: `do_lower_case`, `strip_accents`,
    /// `tokenize_chinese_chars` and added tokens of `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`.
    /// Without them it is lower-cased and accents are stripped.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Tokenizer`] naming the file if it is not valid, not of BERT's kind,
    /// lacks `[UNK]`, `[CLS]` or `[SEP]`, or is contradicted by a `tokenizer_config.json` beside it.
    pub fn load(path: &Path) -> Result<Self> {
        let json = path.join("tokenizer.json");
        let path = match path.is_dir() {
            true if json.is_file() => json,
            true if path.join("vocab.txt").is_file() => path.join("vocab.txt"),
            true => {
                let remedy = "is it the directory of a BERT or DistilBERT model?";
                return Err(Error::Tokenizer(format!("{}: neither tokenizer.json nor vocab.txt; {remedy}", path.display())));
            }
            false => path.to_path_buf(),
        };
        let text = file::read_text(&path, MAX_FILE)?;
        let in_file = |error: String| Error::Tokenizer(file::printable(&format!("{}: {error}", path.display())));
        let directory = path.parent().unwrap_or(Path::new(""));
        let library = if path.extension().is_some_and(|extension| extension == "json") {
            let library = pipeline::from_json(&text).map_err(in_file)?;
            let settings = Settings::read(directory, false)?;
            let contradiction = pipeline::normalizer(&library).and_then(|normalizer| settings.contradiction(normalizer));
            if let Some(message) = contradiction {
                return Err(in_file(message));
            }
            library
        } else {
            pipeline::assemble(&text, &Settings::read(directory, true)?).map_err(in_file)?
        };
        Self::wrap(library).map_err(in_file)
    }

    /// Learns a lower-cased WordPiece vocabulary of at most `vocab_size` tokens from `texts`; pieces are joined as long as
    /// the pair occurs at least `min_frequency` times.
    ///
    /// Deterministic: the same texts in any order give the same tokeniser, byte for byte.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if `vocab_size` leaves no room beside [`SPECIAL_TOKENS`] or `texts` hold no word.
    pub fn train<S: AsRef<str>>(texts: impl IntoIterator<Item = S>, vocab_size: usize, min_frequency: u64) -> Result<Self> {
        let tokens = vocabulary::learn(texts, vocab_size, min_frequency)?;
        pipeline::assemble(&tokens.join("\n"), &Settings::default()).and_then(Self::wrap).map_err(Error::Tokenizer)
    }

    /// The contents of `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the library cannot write it.
    pub fn to_json(&self) -> Result<String> {
        self.library.to_string(true).map_err(library_error)
    }

    /// One more than the largest id: rows that the word embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Id of `[PAD]`, 0 if the vocabulary has none.
    pub fn pad_id(&self) -> usize {
        self.library.token_to_id(PAD).map_or(0, |id| id as usize)
    }

    /// The token with this id.
    pub fn token(&self, id: i32) -> Option<String> {
        self.library.id_to_token(u32::try_from(id).ok()?)
    }

    /// `[CLS] text [SEP]` or `[CLS] text [SEP] text_pair [SEP]` in at most `max_length` tokens, as transformers'
    /// `BertTokenizerFast` gives it. The second text and its `[SEP]` are segment 1.
    ///
    /// A single text is cut at its end whatever `truncation` says. Where `text` alone leaves no room under
    /// [`Truncation::OnlySecond`] (transformers refuses), both texts are shortened as under
    /// [`Truncation::LongestFirst`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if `max_length` is below 2, or 3 for a pair.
    pub fn encode(&self, text: &str, text_pair: Option<&str>, max_length: usize, truncation: Truncation) -> Result<Sequence> {
        let special = if text_pair.is_some() { 3 } else { 2 };
        let room = max_length.checked_sub(special).ok_or_else(|| {
            Error::Tokenizer(format!("max_length is {max_length}, must be at least {special} for the special tokens"))
        })?;
        let first = self.library.encode_fast(text, false).map_err(library_error)?;
        let second = text_pair.map(|pair| self.library.encode_fast(pair, false)).transpose().map_err(library_error)?;
        let strategy = match truncation {
            Truncation::OnlySecond if second.is_some() && first.len() < room => TruncationStrategy::OnlySecond,
            _ => TruncationStrategy::LongestFirst,
        };
        let params = TruncationParams { direction: TruncationDirection::Right, max_length: room, strategy, stride: 0 };
        let (first, second) = truncate_encodings(first, second, &params).map_err(library_error)?;
        self.join(&first, second.as_ref())
    }

    /// Puts the special tokens around one or two texts.
    fn join(&self, first: &Encoding, second: Option<&Encoding>) -> Result<Sequence> {
        let mut sequence = Sequence { ids: vec![self.cls], token_types: Vec::new() };
        sequence.ids.extend(first.get_ids().iter().map(|&id| id as i32));
        sequence.ids.push(self.sep);
        sequence.token_types.resize(sequence.ids.len(), 0);
        if let Some(second) = second {
            sequence.ids.extend(second.get_ids().iter().map(|&id| id as i32));
            sequence.ids.push(self.sep);
            sequence.token_types.resize(sequence.ids.len(), 1);
        }
        Ok(sequence)
    }

    fn wrap(mut library: Library) -> Result<Self, String> {
        let id = |token: &str| {
            library.token_to_id(token).ok_or_else(|| format!("{token} is not in the vocabulary; is this a BERT tokenizer?"))
        };
        id(UNKNOWN)?;
        let (cls, sep) = (id(CLS)?, id(SEP)?);
        let largest = library.get_vocab(true).into_values().max().unwrap_or(0);
        // Ids are i32 in batches, and tables of all ids are made.
        if largest as usize >= MAX_VOCABULARY {
            return Err(format!("token id {largest} is too large, must be below {MAX_VOCABULARY}"));
        }
        library.with_post_processor(Some(BertProcessing::new((SEP.to_owned(), sep), (CLS.to_owned(), cls))));
        Ok(Self { cls: cls as i32, sep: sep as i32, vocab_size: largest as usize + 1, library })
    }
}

fn library_error(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

#[cfg(test)]
mod tests;
