//! What the files beside a vocabulary say: `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`.

use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;
use tokenizers::normalizers::BertNormalizer;

use super::{MAX_FILE, SPECIAL_TOKENS};
use crate::{Error, Result, file};

/// Classes of transformers that are the pipeline assembled here.
const CLASSES: [&str; 4] = ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast"];

/// Fields that name a special token, in the order of [`SPECIAL_TOKENS`].
pub(super) const SPECIAL_FIELDS: [&str; 5] = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"];

/// Settings of a BERT tokeniser; what is not stated has transformers' default.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) lower_case: Option<bool>,
    pub(super) strip_accents: Option<bool>,
    pub(super) chinese_characters: Option<bool>,
    /// Tokens beyond the vocabulary, or in it but never split, with the ids that they must have.
    pub(super) added: Vec<(Option<u32>, AddedToken)>,
}

impl Settings {
    /// Reads the files in `directory`; each may be absent. `whole` also checks what only matters where there is no
    /// `tokenizer.json`, and collects the added tokens.
    pub(super) fn read(directory: &Path, whole: bool) -> Result<Self> {
        let config = Object::read(directory.join("tokenizer_config.json"))?;
        let mut settings = Self {
            lower_case: config.flag("do_lower_case")?,
            strip_accents: config.flag("strip_accents")?,
            chinese_characters: config.flag("tokenize_chinese_chars")?,
            added: Vec::new(),
        };
        if whole {
            config.check_kind()?;
            let special = Object::read(directory.join("special_tokens_map.json"))?;
            [&config, &special].into_iter().try_for_each(Object::check_special_tokens)?;
            settings.added = config.added_tokens_decoder()?;
            if settings.added.is_empty() {
                settings.added = Object::read(directory.join("added_tokens.json"))?.added_tokens()?;
            }
            for token in [config.extra_special_tokens()?, special.extra_special_tokens()?].concat() {
                match settings.added.iter_mut().find(|(_, added)| added.content == token.content) {
                    Some((_, added)) => added.special = true,
                    None => settings.added.push((None, token)),
                }
            }
        }
        Ok(settings)
    }

    pub(super) fn normalizer(&self) -> BertNormalizer {
        let (chinese, lower_case) = (self.chinese_characters.unwrap_or(true), self.lower_case.unwrap_or(true));
        BertNormalizer::new(true, chinese, self.strip_accents, lower_case)
    }

    /// Names a setting that is stated and that the normaliser of a `tokenizer.json` contradicts. Transformers would follow one
    /// or the other, depending on `tokenizer_class`.
    pub(super) fn contradiction(&self, normalizer: &BertNormalizer) -> Option<String> {
        let strips = |explicit: Option<bool>| explicit.unwrap_or(normalizer.lowercase);
        let stated = [
            ("do_lower_case", self.lower_case, normalizer.lowercase),
            ("strip_accents", self.strip_accents, strips(normalizer.strip_accents)),
            ("tokenize_chinese_chars", self.chinese_characters, normalizer.handle_chinese_chars),
        ];
        stated.into_iter().find_map(|(field, stated, here)| {
            let stated = stated.filter(|&stated| stated != here)?;
            Some(format!("{field} is {stated} in tokenizer_config.json, but {here} here; make the two files agree"))
        })
    }
}

/// A JSON object in a file, empty if there is none. A null field counts as absent.
struct Object {
    place: String,
    map: Map<String, Value>,
}

impl Object {
    fn read(path: std::path::PathBuf) -> Result<Self> {
        let mut object = Self { place: path.display().to_string(), map: Map::new() };
        if path.is_file() {
            let value = serde_json::from_str(&file::read_text(&path, MAX_FILE)?);
            match value.map_err(|error| object.fail(format!("not valid JSON: {error}")))? {
                Value::Object(map) => object.map = map,
                _ => return Err(object.fail("must be a JSON object".into())),
            }
        }
        Ok(object)
    }

    fn fail(&self, message: String) -> Error {
        Error::Tokenizer(file::printable(&format!("{}: {message}", self.place)))
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn flag(&self, field: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.fail(format!("{field} must be true or false, is {value}")))
    }

    /// Another class, or an option of the old slow tokeniser, would split otherwise.
    fn check_kind(&self) -> Result<()> {
        if let Some(class) = self.get("tokenizer_class").filter(|class| !CLASSES.iter().any(|known| *class == known)) {
            let remedy = "give a tokenizer.json, or a vocabulary of a BERT tokenizer";
            return Err(self.fail(format!("tokenizer_class {class} does not read vocab.txt as BERT does; {remedy}")));
        }
        if self.flag("do_basic_tokenize")? == Some(false) {
            return Err(self.fail("do_basic_tokenize false is not supported; only true is".into()));
        }
        match self.get("never_split") {
            Some(Value::Array(words)) if !words.is_empty() => {
                Err(self.fail("never_split is not supported; leave it empty".into()))
            }
            _ => Ok(()),
        }
    }

    fn check_special_tokens(&self) -> Result<()> {
        for (field, only) in SPECIAL_FIELDS.into_iter().zip(SPECIAL_TOKENS) {
            if let Some(value) = self.get(field).filter(|value| content(value) != Some(only)) {
                return Err(self.fail(format!("{field} {value} is not supported; only {only:?} is")));
            }
        }
        Ok(())
    }

    /// `{"30522": {"content": "[NEW]", "lstrip": false, ...}, ...}`, as newer versions write.
    fn added_tokens_decoder(&self) -> Result<Vec<(Option<u32>, AddedToken)>> {
        let fail = |what: &str| self.fail(format!("added_tokens_decoder: {what}"));
        let map = match self.get("added_tokens_decoder") {
            None => return Ok(Vec::new()),
            Some(value) => value.as_object().ok_or_else(|| fail("must be an object from id to token"))?,
        };
        let tokens = map.iter().map(|(id, token)| {
            let id: u32 = id.parse().map_err(|_| fail(&format!("{id:?} is not a token id")))?;
            let content = content(token).ok_or_else(|| fail(&format!("token {id} has no content")))?;
            let flag = |field, default| token.get(field).and_then(Value::as_bool).unwrap_or(default);
            let special = flag("special", false);
            let added = AddedToken::from(content, special)
                .single_word(flag("single_word", false))
                .lstrip(flag("lstrip", false))
                .rstrip(flag("rstrip", false))
                .normalized(flag("normalized", !special));
            Ok((Some(id), added))
        });
        tokens.collect::<Result<_>>().map(sorted)
    }

    /// `{"[NEW]": 30522, ...}`, the whole of an `added_tokens.json`, as older versions write.
    fn added_tokens(&self) -> Result<Vec<(Option<u32>, AddedToken)>> {
        let tokens = self.map.iter().map(|(token, id)| {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| self.fail(format!("{token:?} must have a token id")))?;
            Ok((Some(id), AddedToken::from(token.as_str(), SPECIAL_TOKENS.contains(&token.as_str()))))
        });
        tokens.collect::<Result<_>>().map(sorted)
    }

    /// Further special tokens under the older and the newer name; the latter may be an object from role to token.
    fn extra_special_tokens(&self) -> Result<Vec<AddedToken>> {
        let mut tokens = Vec::new();
        for field in ["additional_special_tokens", "extra_special_tokens"] {
            let values: Vec<&Value> = match self.get(field) {
                None => continue,
                Some(Value::Array(values)) => values.iter().collect(),
                Some(Value::Object(map)) => map.values().collect(),
                Some(_) => return Err(self.fail(format!("{field} must be a list of tokens"))),
            };
            for value in values {
                let content = content(value).ok_or_else(|| self.fail(format!("{field}: {value} is not a token")))?;
                tokens.push(AddedToken::from(content, true));
            }
        }
        Ok(tokens)
    }
}

/// In the order of the ids, in which new tokens are numbered.
fn sorted(mut tokens: Vec<(Option<u32>, AddedToken)>) -> Vec<(Option<u32>, AddedToken)> {
    tokens.sort_by_key(|&(id, _)| id);
    tokens
}

/// A token is written as its text or as an object with `content`.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}
