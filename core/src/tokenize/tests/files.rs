//! Files of tokenisers: reading, refusing, writing.

use serde_json::{Value, json};

use super::*;
use crate::config::EncoderConfig;
use crate::fuzz::{any_change, change, check_line};

fn config(family: &str) -> EncoderConfig {
    let text = format!(
        r#"{{"model_type": "{family}", "vocab_size": 150, "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 2,
        "num_attention_heads": 2, "dim": 4, "hidden_dim": 6, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 8}}"#
    );
    EncoderConfig::from_json(&text, "test").unwrap()
}

#[test]
fn saved_tokenizers_load_back_in_both_forms() {
    let directory = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer();
    tokenizer.save(directory.path(), &config("bert")).unwrap();
    let sequence = |tokenizer: &Tokenizer| tokenizer.encode(TEXTS[2], Some(TEXTS[3]), 64, Truncation::LongestFirst).unwrap();
    for name in ["", "tokenizer.json", "vocab.txt"] {
        let loaded = Tokenizer::load(&directory.path().join(name)).unwrap();
        assert_eq!(loaded.vocab_size(), tokenizer.vocab_size());
        assert_eq!(sequence(&loaded), sequence(&tokenizer));
        assert_eq!(loaded.to_json().unwrap(), tokenizer.to_json().unwrap(), "{name}");
    }
}

#[test]
fn cased_vocabularies_keep_case() {
    let directory = tempfile::tempdir().unwrap();
    let vocabulary = directory.path().join("vocab.txt");
    std::fs::write(&vocabulary, "[UNK]\n[CLS]\n[SEP]\nParis\nparis\n").unwrap();
    let encode = || Tokenizer::load(&vocabulary).unwrap().encode("Paris", None, 8, Truncation::LongestFirst).unwrap().ids;
    assert_eq!(encode(), [1, 4, 2]);
    std::fs::write(directory.path().join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).unwrap();
    assert_eq!(encode(), [1, 3, 2]);
}

#[test]
fn stored_truncation_and_padding_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_str(&tokenizer().to_json().unwrap()).unwrap();
    json["truncation"] = serde_json::json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = serde_json::json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    std::fs::write(&path, json.to_string()).unwrap();
    let loaded = Tokenizer::load(&path).unwrap().encode(TEXTS[0], None, 99, Truncation::LongestFirst).unwrap();
    assert_eq!(loaded, tokenizer().encode(TEXTS[0], None, 99, Truncation::LongestFirst).unwrap());
}

#[test]
fn broken_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    for (text, part) in [
        ("{", "EOF"),
        ("{}", "its normalizer must be"),
        ("[1]", "must be a JSON object"),
        (&"[".repeat(1 << 20), "recursion limit"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Tokenizer::load(&path).err().unwrap().to_string();
        assert!(error.starts_with(&format!("tokenizer: {}: ", path.display())) && error.contains(part), "{error}");
    }
    let vocabulary = directory.path().join("vocab.txt");
    std::fs::write(&vocabulary, "[UNK]\n[CLS]\n").unwrap();
    let error = Tokenizer::load(&vocabulary).err().unwrap().to_string();
    let expected = "[SEP] is not in the vocabulary; is this a BERT tokenizer?";
    assert_eq!(error, format!("tokenizer: {}: {expected}", vocabulary.display()));
    assert!(matches!(Tokenizer::load(&directory.path().join("none.txt")), Err(Error::Io { .. })));
    let empty = tempfile::tempdir().unwrap();
    let error = Tokenizer::load(empty.path()).err().unwrap().to_string();
    let expected = "neither tokenizer.json nor vocab.txt; is it the directory of a BERT or DistilBERT model?";
    assert_eq!(error, format!("tokenizer: {}: {expected}", empty.path().display()));
}

/// A directory with a small `vocab.txt` and other files.
fn directory(files: &[(&str, Value)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncafe\ncafé\nCafé\n北\n##京\n京\n!\n[\n]\nnew\n";
    std::fs::write(directory.path().join("vocab.txt"), vocabulary).unwrap();
    for (name, value) in files {
        std::fs::write(directory.path().join(name), value.to_string()).unwrap();
    }
    directory
}

fn tokens(directory: &tempfile::TempDir, text: &str) -> Vec<String> {
    let tokenizer = Tokenizer::load(directory.path()).unwrap();
    let ids = tokenizer.encode(text, None, 99, Truncation::LongestFirst).unwrap().ids;
    ids[1..ids.len() - 1].iter().map(|&id| tokenizer.token(id).unwrap()).collect()
}

const CONFIG: &str = "tokenizer_config.json";

/// Expected from `BertTokenizer` of transformers on the same files.
#[test]
fn settings_beside_a_vocabulary_count() {
    let with = |settings: Value| tokens(&directory(&[(CONFIG, settings)]), "Café 北京!");
    assert_eq!(with(json!({})), ["cafe", "北", "京", "!"]);
    assert_eq!(with(json!({"do_lower_case": true, "strip_accents": null})), ["cafe", "北", "京", "!"]);
    assert_eq!(with(json!({"do_lower_case": false})), ["Café", "北", "京", "!"]);
    assert_eq!(with(json!({"strip_accents": false})), ["café", "北", "京", "!"]);
    assert_eq!(with(json!({"do_lower_case": false, "strip_accents": true})), ["[UNK]", "北", "京", "!"]);
    assert_eq!(with(json!({"tokenize_chinese_chars": false})), ["cafe", "北", "##京", "!"]);
    assert_eq!(with(json!({"cls_token": {"content": "[CLS]"}, "do_basic_tokenize": true, "never_split": []})).len(), 4);
}

#[test]
fn added_tokens_keep_their_ids() {
    let new = json!({"content": "[NEW]", "lstrip": false, "normalized": false, "rstrip": false, "single_word": false,
        "special": true});
    let extra = json!({"additional_special_tokens": ["[NEW]"]});
    let ways = [
        directory(&[(CONFIG, json!({"added_tokens_decoder": {"15": new, "1": {"content": "[UNK]", "special": true}}}))]),
        directory(&[("added_tokens.json", json!({"[NEW]": 15}))]),
        directory(&[("added_tokens.json", json!({"[NEW]": 15})), ("special_tokens_map.json", extra.clone())]),
        directory(&[(CONFIG, json!({"added_tokens_decoder": {}})), ("special_tokens_map.json", extra)]),
        directory(&[(CONFIG, json!({"extra_special_tokens": {"new_token": "[NEW]"}}))]),
    ];
    for files in &ways {
        assert_eq!(tokens(files, "[NEW]!new"), ["[NEW]", "!", "new"]);
        assert_eq!(Tokenizer::load(files.path()).unwrap().vocab_size(), 16);
    }
    // Written again, both forms have it.
    let tokenizer = Tokenizer::load(ways[0].path()).unwrap();
    let copy = tempfile::tempdir().unwrap();
    tokenizer.save(copy.path(), &config("bert")).unwrap();
    assert_eq!(tokens(&copy, "[NEW]!new"), ["[NEW]", "!", "new"]);
    std::fs::remove_file(copy.path().join("tokenizer.json")).unwrap();
    assert_eq!(tokens(&copy, "[NEW]!new"), ["[NEW]", "!", "new"]);

    let wrong = directory(&[("added_tokens.json", json!({"[NEW]": 17}))]);
    let error = Tokenizer::load(wrong.path()).err().unwrap().to_string();
    assert!(error.ends_with("added token \"[NEW]\" has id 15 after this vocabulary, its file says 17"), "{error}");
}

#[test]
fn settings_of_other_tokenizers_are_errors() {
    let cases = [
        (
            json!({"tokenizer_class": "BertJapaneseTokenizer"}),
            "tokenizer_class \"BertJapaneseTokenizer\" does not read vocab.txt as BERT does; give a tokenizer.json, or a vocabulary of a BERT tokenizer",
        ),
        (json!({"do_basic_tokenize": false}), "do_basic_tokenize false is not supported; only true is"),
        (json!({"never_split": ["x"]}), "never_split is not supported; leave it empty"),
        (json!({"cls_token": "<s>"}), "cls_token \"<s>\" is not supported; only \"[CLS]\" is"),
        (json!({"do_lower_case": "yes"}), "do_lower_case must be true or false, is \"yes\""),
        (json!({"added_tokens_decoder": {"x": {}}}), "added_tokens_decoder: \"x\" is not a token id"),
        (json!({"added_tokens_decoder": {"15": {}}}), "added_tokens_decoder: token 15 has no content"),
        (json!({"additional_special_tokens": "x"}), "additional_special_tokens must be a list of tokens"),
        (json!([]), "must be a JSON object"),
    ];
    for (settings, message) in cases {
        let files = directory(&[(CONFIG, settings)]);
        let error = Tokenizer::load(files.path()).err().unwrap().to_string();
        assert_eq!(error, format!("tokenizer: {}: {message}", files.path().join(CONFIG).display()));
    }
}

/// The post-processor as published files write it, for `[CLS]` 2 and the given id of `[SEP]`.
fn template(sep: u32) -> Value {
    let special = |token: &str, segment: u32| json!({"SpecialToken": {"id": token, "type_id": segment}});
    let sequence = |name: &str, segment: u32| json!({"Sequence": {"id": name, "type_id": segment}});
    let (cls, a, b) = (special("[CLS]", 0), sequence("A", 0), sequence("B", 1));
    let token = |token: &str, id: u32| json!({"id": token, "ids": [id], "tokens": [token]});
    json!({
        "type": "TemplateProcessing",
        "single": [cls, a, special("[SEP]", 0)],
        "pair": [cls, a, special("[SEP]", 0), b, special("[SEP]", 1)],
        "special_tokens": {"[CLS]": token("[CLS]", 2), "[SEP]": token("[SEP]", sep)},
    })
}

/// A `tokenizer.json` with one part exchanged.
#[test]
fn other_pipelines_are_errors() {
    let bert: Value = serde_json::from_str(&tokenizer().to_json().unwrap()).unwrap();
    let bpe = json!({"type": "BPE", "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, "merges": []});
    let unigram = json!({"type": "Unigram", "unk_id": 0, "vocab": [["[UNK]", 0.0], ["[CLS]", 0.0], ["[SEP]", 0.0]]});
    let roberta = json!({"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2], "trim_offsets": true,
        "add_prefix_space": false});
    let cases = [
        ("/model", bpe, "its model is BPE, must be WordPiece"),
        ("/model", unigram, "its model is Unigram, must be WordPiece"),
        ("/model/continuing_subword_prefix", json!("@@"), "its WordPiece has unk_token, continuing_subword_prefix"),
        ("/model/vocab/film", json!(4_000_000_000_u32), "token id 4000000000 is too large, must be below 2000000"),
        ("/normalizer", json!({"type": "Lowercase"}), "its normalizer must be a BertNormalizer"),
        ("/normalizer", Value::Null, "its normalizer must be a BertNormalizer"),
        ("/normalizer/clean_text", json!(false), "its normalizer must be a BertNormalizer with clean_text"),
        ("/pre_tokenizer", json!({"type": "Whitespace"}), "its pre_tokenizer must be a BertPreTokenizer"),
        ("/added_tokens/4/id", json!(77), "its added token \"[MASK]\" does not get its id 77 after this vocabulary"),
        ("/post_processor/sep/1", json!(9), "its post_processor must put [CLS] and [SEP]"),
        ("/post_processor", template(4), "its post_processor must put [CLS] and [SEP]"),
        ("/post_processor", roberta, "its post_processor must put [CLS] and [SEP] and segments as BERT's does"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    for (part, value, message) in cases {
        let mut json = bert.clone();
        *json.pointer_mut(part).unwrap() = value;
        std::fs::write(&path, json.to_string()).unwrap();
        let error = Tokenizer::load(&path).err().unwrap().to_string();
        assert!(error.starts_with(&format!("tokenizer: {}: {message}", path.display())), "{error}");
    }
    // None at all is the one that transformers would add; a template is another way to write it; decoders do not matter.
    for (part, value) in [("/post_processor", Value::Null), ("/post_processor", template(3)), ("/decoder", json!(5))] {
        let mut json = bert.clone();
        *json.pointer_mut(part).unwrap() = value;
        std::fs::write(&path, json.to_string()).unwrap();
        assert_eq!(Tokenizer::load(&path).unwrap().to_json().unwrap(), tokenizer().to_json().unwrap());
    }
}

#[test]
fn contradicting_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    tokenizer().save(folder.path(), &config("bert")).unwrap();
    let with = |settings: Value| {
        std::fs::write(folder.path().join(CONFIG), settings.to_string()).unwrap();
        Tokenizer::load(folder.path()).err().map(|error| error.to_string())
    };
    let place = folder.path().join("tokenizer.json");
    let cases =
        [("do_lower_case", "false", "true"), ("strip_accents", "false", "true"), ("tokenize_chinese_chars", "false", "true")];
    for (field, stated, here) in cases {
        let message = format!("{field} is {stated} in tokenizer_config.json, but {here} here; make the two files agree");
        assert_eq!(with(json!({field: false})), Some(format!("tokenizer: {}: {message}", place.display())));
        assert_eq!(with(json!({field: true})), None);
    }
    assert_eq!(with(json!({"strip_accents": null, "tokenizer_class": "PreTrainedTokenizerFast"})), None);
}

#[test]
fn written_settings_are_those_of_the_family() {
    let folder = tempfile::tempdir().unwrap();
    for (family, class) in [("bert", "BertTokenizer"), ("distilbert", "DistilBertTokenizer")] {
        tokenizer().save(folder.path(), &config(family)).unwrap();
        let read = |name| -> Value { serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap() };
        let settings = read(CONFIG);
        assert_eq!((&settings["tokenizer_class"], &settings["model_max_length"]), (&json!(class), &json!(8)));
        assert_eq!((&settings["do_lower_case"], &settings["strip_accents"]), (&json!(true), &Value::Null));
        assert_eq!(settings["added_tokens_decoder"].as_object().unwrap().len(), 5);
        let special = json!({"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
            "mask_token": "[MASK]"});
        assert_eq!(read("special_tokens_map.json"), special);
    }
}

/// Ids without tokens cannot be written one a line, and an older `vocab.txt` must not stay.
#[test]
fn ids_with_gaps_have_no_vocabulary_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut json: Value = serde_json::from_str(&tokenizer().to_json().unwrap()).unwrap();
    json["model"]["vocab"]["far"] = json!(1000);
    std::fs::write(&path, json.to_string()).unwrap();
    std::fs::write(folder.path().join("vocab.txt"), "old").unwrap();
    let tokenizer = Tokenizer::load(&path).unwrap();
    tokenizer.save(folder.path(), &config("bert")).unwrap();
    assert!(!folder.path().join("vocab.txt").exists());
    assert_eq!(Tokenizer::load(folder.path()).unwrap().vocab_size(), 1001);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// A file damaged at random gives one line, or a tokeniser that can be used and written.
    #[test]
    fn changed_files_give_one_line_or_load(changes in prop::collection::vec(any_change(), 1..4), which in 0..3_usize) {
        let name = ["tokenizer.json", "vocab.txt", CONFIG][which];
        let folder = tempfile::tempdir().unwrap();
        tokenizer().save(folder.path(), &config("bert")).unwrap();
        let path = folder.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes, changes, usize::MAX);
        std::fs::write(&path, String::from_utf8_lossy(&bytes).as_bytes()).unwrap();
        let file = if name == CONFIG { "vocab.txt" } else { name };
        match Tokenizer::load(&folder.path().join(file)) {
            Err(error) => check_line(&error),
            Ok(tokenizer) => {
                tokenizer.encode(TEXTS[0], Some(TEXTS[2]), 30, Truncation::LongestFirst).unwrap();
                tokenizer.save(folder.path(), &config("bert")).unwrap();
            }
        }
    }
}
