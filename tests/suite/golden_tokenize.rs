//! The tokeniser against transformers' `BertTokenizerFast`.

use serde::Deserialize;
use stepsynth_core::tokenize::{Tokenizer, Truncation};
use stepsynth_core::{Sequence, tokenize::Window};

use crate::golden;

#[derive(Deserialize)]
struct Expected {
    singles: Vec<Text>,
    pairs: Vec<Text>,
    questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    text_pair: Option<String>,
    max_length: usize,
    truncation: Option<String>,
    offsets: Option<Vec<(usize, usize)>>,
    ids: Vec<i32>,
    token_types: Vec<i32>,
}

#[derive(Deserialize)]
struct Question {
    question: String,
    context: String,
    max_length: usize,
    stride: usize,
    windows: Vec<ExpectedWindow>,
}

#[derive(Deserialize)]
struct ExpectedWindow {
    ids: Vec<i32>,
    token_types: Vec<i32>,
    offsets: Vec<Option<(usize, usize)>>,
}

fn tokenizer() -> Tokenizer {
    Tokenizer::load(&golden::path("tokenizer/vocab.txt")).unwrap()
}

fn check(tokenizer: &Tokenizer, case: &Text) {
    let truncation = match case.truncation.as_deref() {
        Some("only_second") => Truncation::OnlySecond,
        _ => Truncation::LongestFirst,
    };
    let sequence = tokenizer.encode(&case.text, case.text_pair.as_deref(), case.max_length, truncation).unwrap();
    let expected = Sequence { ids: case.ids.clone(), token_types: case.token_types.clone() };
    assert_eq!(sequence, expected, "{:?} {:?} {} {truncation:?}", case.text, case.text_pair, case.max_length);
}

#[test]
fn single_texts() {
    let expected: Expected = golden::read("tokenizer/expected.json");
    let tokenizer = tokenizer();
    assert!(expected.singles.len() >= 40);
    for case in &expected.singles {
        check(&tokenizer, case);
        // The same text as the context of an empty question: its offsets are those of the text alone.
        let windows = tokenizer.encode_question("", &case.text, 1000, 0).unwrap();
        let offsets = case.offsets.as_ref().unwrap();
        let inside = &offsets[1..offsets.len() - 1];
        let got: Vec<(usize, usize)> = windows[0].offsets.iter().flatten().copied().take(inside.len()).collect();
        assert_eq!(got, inside, "{:?}", case.text);
    }
}

#[test]
fn pairs_with_both_truncations() {
    let expected: Expected = golden::read("tokenizer/expected.json");
    let tokenizer = tokenizer();
    assert!(expected.pairs.len() >= 30);
    expected.pairs.iter().for_each(|case| check(&tokenizer, case));
}

#[test]
fn question_windows_with_stride() {
    let expected: Expected = golden::read("tokenizer/expected.json");
    let tokenizer = tokenizer();
    assert!(expected.questions.iter().any(|case| case.windows.len() > 3));
    for case in expected.questions {
        let windows = tokenizer.encode_question(&case.question, &case.context, case.max_length, case.stride).unwrap();
        let expected: Vec<Window> = case
            .windows
            .into_iter()
            .map(|window| Window {
                sequence: Sequence { ids: window.ids, token_types: window.token_types },
                offsets: window.offsets,
            })
            .collect();
        assert_eq!(windows, expected, "{:?} {} {}", case.question, case.max_length, case.stride);
    }
}
