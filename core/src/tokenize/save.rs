//! The files that transformers' `AutoTokenizer` reads.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::settings::SPECIAL_FIELDS;
use super::{SPECIAL_TOKENS, Tokenizer, pipeline};
use crate::config::{EncoderConfig, Family};
use crate::{Error, Result, file};

impl Tokenizer {
    /// Writes `tokenizer.json`, `vocab.txt`, `tokenizer_config.json` and `special_tokens_map.json` for a model of this shape
    /// into `directory`, each atomically: `AutoTokenizer.from_pretrained` gives the same ids.
    ///
    /// A `vocab.txt` is the list of the tokens by id, so where ids have gaps there is none; no reader needs it beside a
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Tokenizer`] if the library cannot write its file.
    pub fn save(&self, directory: &Path, config: &EncoderConfig) -> Result<()> {
        let write = |name: &str, text: &str| file::write_atomically(&directory.join(name), text.as_bytes());
        write("tokenizer.json", &self.to_json()?)?;
        write("tokenizer_config.json", &pretty(self.configuration(config)))?;
        write("special_tokens_map.json", &pretty(self.special_tokens()))?;
        match self.vocabulary_lines() {
            Some(lines) => write("vocab.txt", &lines),
            // One of an earlier save would be of another vocabulary.
            None => match std::fs::remove_file(directory.join("vocab.txt")) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::Io { path: directory.join("vocab.txt"), source })
                }
                _ => Ok(()),
            },
        }
    }

    fn configuration(&self, config: &EncoderConfig) -> Map<String, Value> {
        let mut map = self.special_tokens();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        let class = match config.family {
            Family::Bert => "BertTokenizer",
            Family::DistilBert => "DistilBertTokenizer",
        };
        put("tokenizer_class", json!(class));
        put("model_max_length", json!(config.max_positions));
        let normalizer = pipeline::normalizer(&self.library).copied().unwrap_or_default();
        put("do_lower_case", json!(normalizer.lowercase));
        put("strip_accents", json!(normalizer.strip_accents));
        put("tokenize_chinese_chars", json!(normalizer.handle_chinese_chars));
        let mut added: Vec<_> = self.library.get_added_tokens_decoder().into_iter().collect();
        added.sort_unstable_by_key(|&(id, _)| id);
        let added = added.into_iter().map(|(id, token)| {
            let flags = json!({
                "content": token.content, "lstrip": token.lstrip, "normalized": token.normalized,
                "rstrip": token.rstrip, "single_word": token.single_word, "special": token.special,
            });
            (id.to_string(), flags)
        });
        put("added_tokens_decoder", Value::Object(added.collect()));
        map
    }

    /// `cls_token` and so on, of those in the vocabulary.
    fn special_tokens(&self) -> Map<String, Value> {
        let named = SPECIAL_FIELDS.into_iter().zip(SPECIAL_TOKENS);
        let present = named.filter(|(_, token)| self.library.token_to_id(token).is_some());
        present.map(|(field, token)| (field.to_owned(), json!(token))).collect()
    }

    /// The tokens in the order of their ids, one a line; `None` if an id has no token, or a token a line break.
    fn vocabulary_lines(&self) -> Option<String> {
        let mut tokens = vec![None; self.vocab_size];
        for (token, id) in self.library.get_vocab(true) {
            tokens[id as usize] = (!token.contains(['\n', '\r'])).then_some(token);
        }
        tokens.into_iter().map(|token| token.map(|token| token + "\n")).collect()
    }
}

fn pretty(map: Map<String, Value>) -> String {
    format!("{:#}\n", Value::Object(map))
}
