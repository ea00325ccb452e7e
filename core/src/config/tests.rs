use super::*;

const DISTILBERT: &str = r#"{"model_type": "distilbert", "vocab_size": 30522, "dim": 768, "hidden_dim": 3072, "n_layers": 6,
    "n_heads": 12, "max_position_embeddings": 512, "activation": "gelu", "dropout": 0.1, "attention_dropout": 0.1,
    "seq_classif_dropout": 0.2, "qa_dropout": 0.1, "initializer_range": 0.02, "sinusoidal_pos_embds": false,
    "pad_token_id": 0, "tie_weights_": true, "id2label": {"0": "negative", "1": "positive"},
    "label2id": {"negative": 0, "positive": 1}}"#;

const BERT: &str = r#"{"model_type": "bert", "vocab_size": 30522, "hidden_size": 384, "intermediate_size": 1536,
    "num_hidden_layers": 12, "num_attention_heads": 12, "max_position_embeddings": 512, "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.15, "attention_probs_dropout_prob": 0.05, "type_vocab_size": 2, "layer_norm_eps": 1e-6,
    "classifier_dropout": null, "position_embedding_type": "absolute", "num_labels": 3}"#;

#[test]
fn reads_distilbert() {
    let config = EncoderConfig::from_json(DISTILBERT, "config.json").unwrap();
    assert_eq!((config.family, config.hidden, config.feed_forward), (Family::DistilBert, 768, 3072));
    assert_eq!((config.layers, config.heads, config.token_types), (6, 12, 0));
    assert_eq!((config.layer_norm_epsilon, config.activation), (1e-12, Activation::GeluErf));
    assert_eq!(config.dropouts, Dropouts { hidden: 0.1, attention: 0.1, classifier: 0.2, question_answering: 0.1 });
    assert_eq!(config.id2label, ["negative", "positive"]);
}

#[test]
fn reads_bert() {
    let config = EncoderConfig::from_json(BERT, "config.json").unwrap();
    assert_eq!((config.family, config.hidden, config.token_types), (Family::Bert, 384, 2));
    assert_eq!((config.layer_norm_epsilon, config.activation), (1e-6, Activation::GeluTanh));
    assert_eq!(config.dropouts, Dropouts { hidden: 0.15, attention: 0.05, classifier: 0.15, question_answering: 0.0 });
    assert_eq!(config.id2label, ["LABEL_0", "LABEL_1", "LABEL_2"]);
}

#[test]
fn written_configuration_reads_back() {
    for text in [DISTILBERT, BERT] {
        let config = EncoderConfig::from_json(text, "config.json").unwrap();
        let head = Head::Classification { labels: config.id2label.len() };
        assert_eq!(EncoderConfig::from_json(&config.to_json(head), "again").unwrap(), config);
        let written = config.to_json(Head::QuestionAnswering);
        assert!(written.contains("ForQuestionAnswering"), "{written}");
        assert_eq!(EncoderConfig::from_json(&written, "again").unwrap().hidden, config.hidden);
    }
}

/// Each broken configuration with the message it gives.
#[test]
fn broken_configurations_name_the_field() {
    let cases = [
        (DISTILBERT, "\"dim\": 768", "\"dim\": 770", "n_heads 12 does not divide dim 770"),
        (DISTILBERT, "\"dim\": 768", "\"dim\": \"768\"", "dim must be a whole number, is \"768\""),
        (DISTILBERT, "\"dim\": 768,", "", "dim is missing"),
        (DISTILBERT, "\"n_layers\": 6", "\"n_layers\": -6", "n_layers must be a whole number, is -6"),
        (DISTILBERT, "\"n_layers\": 6", "\"n_layers\": 0", "n_layers is 0, must be between 1 and 256"),
        (DISTILBERT, "30522", "99999999999", "vocab_size is 99999999999, must be between 1 and 2000000"),
        (DISTILBERT, "\"distilbert\"", "\"roberta\"", "model_type \"roberta\" is not supported; use \"distilbert\" or \"bert\""),
        (DISTILBERT, "embds\": false", "embds\": true", "sinusoidal_pos_embds true is not supported; only false is"),
        (
            DISTILBERT,
            "\"gelu\"",
            "\"swish\"",
            "activation \"swish\" is not supported; use \"gelu\", \"gelu_new\", \"gelu_pytorch_tanh\" or \"relu\"",
        ),
        (DISTILBERT, "\"dropout\": 0.1", "\"dropout\": 1.0", "dropout is 1, must be at least 0 and below 1"),
        (DISTILBERT, "\"positive\": 1", "\"positive\": 0", "label2id does not map \"positive\" to 1 as id2label does"),
        (DISTILBERT, "{\"0\"", "{\"7\"", "id2label has no name for id 0; ids must run from 0"),
        (DISTILBERT, "\"pad_token_id\": 0", "\"pad_token_id\": 30522", "pad_token_id 30522 is outside the vocabulary of 30522"),
        (BERT, "absolute", "relative_key", "position_embedding_type \"relative_key\" is not supported; only \"absolute\" is"),
        (BERT, "\"type_vocab_size\": 2", "\"type_vocab_size\": 0", "type_vocab_size is 0, must be between 1 and 64"),
        (BERT, "1e-6", "0", "layer_norm_eps is 0, must be above 0 and at most 1"),
        (BERT, "\"num_labels\": 3", "\"num_labels\": 1e3", "num_labels must be a whole number, is 1000.0"),
        (BERT, "\"num_labels\": 3", "\"num_labels\": 99999999999999", "num_labels is 99999999999999, must be at most 65536"),
        (BERT, "\"hidden_size\": 384", "\"hidden_size\": 16383", "num_attention_heads 12 does not divide hidden_size 16383"),
        (
            BERT,
            "\"num_labels\": 3",
            "\"id2label\": {\"0\": \"a\", \"1\": \"a\"}",
            "id2label: label 1 (\"a\") is empty or repeats an earlier one",
        ),
        (BERT, "\"model_type\": \"bert\"", "\"model_type\": 3", "model_type must be a text, is 3"),
        (BERT, BERT, "[]", "must be a JSON object"),
        (
            BERT,
            "\"model_type\": \"bert\",",
            "",
            "model_type is missing; if this is an old BERT, add \"model_type\": \"bert\" to the file",
        ),
        (DISTILBERT, "\"model_type\": \"distilbert\",", "", "model_type is missing"),
    ];
    for (text, from, to, message) in cases {
        assert!(text.contains(from), "{from}");
        let error = EncoderConfig::from_json(&text.replacen(from, to, 1), "config.json").unwrap_err();
        assert_eq!(error.to_string(), format!("config.json: {message}"));
    }
    let error = EncoderConfig::from_json("{", "config.json").unwrap_err().to_string();
    assert!(error.starts_with("config.json: not valid JSON: ") && error.contains("line 1"), "{error}");
}

/// Fields, added to a configuration, that ask for another computation; and fields of published files that do not.
#[test]
fn fields_that_change_the_computation_are_errors() {
    let cases = [
        (r#""pruned_heads": {"1": [0, 2]}"#, r#"pruned_heads {"1":[0,2]} is not supported; use the model before pruning"#),
        (
            r#""quantization_config": {"bits": 8}"#,
            "quantization_config is not supported; use the model's unquantised weights (f32, f16 or bf16)",
        ),
        (
            r#""auto_map": {"AutoConfig": "a.B", "AutoModel": "a.C"}"#,
            "auto_map names code of its own for AutoModel, which is not run; use a model that transformers knows",
        ),
        (r#""is_decoder": true"#, "is_decoder true is not supported; only false is"),
        (r#""is_encoder_decoder": 1"#, "is_encoder_decoder 1 is not supported; only false is"),
        (r#""relative_attention": true"#, "relative_attention true is not supported; only false is"),
        (r#""embedding_size": 128"#, "embedding_size 128 is not supported; only the same as hidden_size is"),
        (
            r#""problem_type": "regression""#,
            "problem_type \"regression\" is not supported; only \"single_label_classification\" is",
        ),
    ];
    let with = |fields: &str| EncoderConfig::from_json(&BERT.replacen('{', &format!("{{{fields}, "), 1), "config.json");
    for (field, message) in cases {
        assert_eq!(with(field).unwrap_err().to_string(), format!("config.json: {message}"));
    }
    let harmless = [
        r#""pruned_heads": {}, "is_decoder": false, "chunk_size_feed_forward": 128, "gradient_checkpointing": true"#,
        r#""emb_size": 384, "cell": {}, "structure": [], "pre_trained": "", "training": """#,
        r#""pooler_fc_size": 768, "pooler_type": "first_token_transform", "directionality": "bidi", "problem_type": null"#,
        r#""torch_dtype": "float16", "dtype": "bfloat16", "tie_word_embeddings": true, "auto_map": {"AutoTokenizer": "a.B"}"#,
    ];
    for fields in harmless {
        assert_eq!(with(fields).unwrap(), EncoderConfig::from_json(BERT, "config.json").unwrap());
    }
}

/// As old versions wrote it (`uncased_L-2_H-128_A-2`), with a `model_type`.
#[test]
fn old_files_load_with_transformers_defaults() {
    let text = r#"{"model_type": "bert", "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "hidden_size": 128, "initializer_range": 0.02, "intermediate_size": 512, "max_position_embeddings": 512,
        "num_attention_heads": 2, "num_hidden_layers": 2, "type_vocab_size": 2, "vocab_size": 30522}"#;
    let config = EncoderConfig::from_json(text, "config.json").unwrap();
    assert_eq!((config.hidden, config.layer_norm_epsilon, config.pad_token_id), (128, 1e-12, 0));
    assert_eq!(config.id2label, ["LABEL_0", "LABEL_1"]);
}

#[test]
fn missing_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let message = |path: &Path| EncoderConfig::load(path).unwrap_err().to_string();
    let none = directory.path().join("none");
    let expected = "no such file or directory; give the directory of a Hugging Face model";
    assert_eq!(message(&none), format!("{}: {expected}", none.display()));
    let expected = "config.json is missing; is it a Hugging Face model directory?";
    assert_eq!(message(directory.path()), format!("{}: {expected}", directory.path().display()));
}

#[test]
fn hostile_texts_give_one_line() {
    let deep = "[".repeat(1 << 20);
    for text in [deep.as_str(), "", "{\"a\": 1e999}", "{\"model_type\": \"a\\nb\\u001b[0m\"}", "\u{feff}{}"] {
        let error = EncoderConfig::from_json(text, "config.json").unwrap_err().to_string();
        assert!(!error.chars().any(char::is_control) && error.len() < 1100, "{error:?}");
    }
}

#[test]
fn bert_has_no_dropout_before_the_span_scores() {
    let mut config = EncoderConfig::from_json(BERT, "config.json").unwrap();
    config.dropouts.question_answering = 0.1;
    let message = "here: bert has no dropout before the span scores, so its rate must be 0, not 0.1";
    assert_eq!(config.validate("here").unwrap_err().to_string(), message);
}

#[test]
fn layout_counts_distilberts_parameters() {
    let config = EncoderConfig::from_json(DISTILBERT, "config.json").unwrap();
    let count = |head| parameter_layout(&config, head).iter().map(|p| p.rows * p.columns).sum::<usize>();
    // Published: distilbert-base-uncased has 66,362,880 parameters; heads add 768*768 + 768 + 2*768 + 2 and 2*768 + 2.
    assert_eq!(count(Head::Classification { labels: 2 }), 66_362_880 + 590_592 + 1_538);
    assert_eq!(count(Head::QuestionAnswering), 66_362_880 + 1_538);
}
