mod files;

use proptest::prelude::*;
use tokenizers::normalizers::BertNormalizer;

use super::*;

const TEXTS: [&str; 6] = [
    "The film was not good, it was very, very boring.",
    "A good film! The best of the year; the worst of the century?",
    "Café naïve: der Über-Film in der Straße … 北京 is not 東京",
    "Who wrote the play, and where was the author of the film born?",
    "filming filmed films goodness boringly unfilmable",
    "한국 각 हिन्दी ½ İstanbul",
];

fn tokenizer() -> Tokenizer {
    Tokenizer::train(TEXTS, 150, 1).unwrap()
}

#[test]
fn training_is_deterministic_and_does_not_depend_on_order_or_threads() {
    let json = tokenizer().to_json().unwrap();
    assert_eq!(Tokenizer::train(TEXTS.iter().rev(), 150, 1).unwrap().to_json().unwrap(), json);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| tokenizer().to_json().unwrap())).collect();
        for run in runs {
            assert_eq!(run.join().unwrap(), json);
        }
    });
}

#[test]
fn training_joins_the_most_frequent_pairs() {
    // Counts: a+##b 5, then ab+##c 3; c+##a and ##a+##b 2 each are below the least frequency of 3.
    let texts = ["abc abc abc", "ab ab cab cab"];
    let tokens = vocabulary::learn(texts, 100, 3).unwrap();
    let expected = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##a", "##b", "##c", "ab", "abc"];
    assert_eq!(tokens, expected);
    assert_eq!(vocabulary::learn(texts, 12, 3).unwrap(), expected[..12]);
    // Equal counts of 2: the pair with the smaller ids, c (7) and ##a (8), goes first.
    assert_eq!(vocabulary::learn(texts, 100, 2).unwrap()[13..], ["ca", "cab"]);
    // Overlaps of one pair are joined from the left: aaa is aa + ##a.
    assert_eq!(vocabulary::learn(["aaa aaa"], 100, 1).unwrap()[5..], ["a", "##a", "aa", "aaa"]);
}

#[test]
fn the_vocabulary_keeps_its_size() {
    for size in [7, 8, 20, 60, 150] {
        let tokenizer = Tokenizer::train(TEXTS, size, 1).unwrap();
        assert!(tokenizer.vocab_size() <= size, "{} of {size}", tokenizer.vocab_size());
    }
    assert!(Tokenizer::train(TEXTS, 6, 1).is_err());
    assert!(Tokenizer::train([" \n"], 100, 1).is_err());
}

#[test]
fn too_small_lengths_are_errors() {
    let tokenizer = tokenizer();
    let error = tokenizer.encode("a", Some("b"), 2, Truncation::OnlySecond).unwrap_err().to_string();
    assert_eq!(error, "tokenizer: max_length is 2, must be at least 3 for the special tokens");
    assert!(tokenizer.encode("a", None, 1, Truncation::LongestFirst).is_err());
    let error = tokenizer.encode_question("a", "b", 4, 0).unwrap_err().to_string();
    assert_eq!(error, "tokenizer: max_length is 4, must be at least 5 for a question and its context");
}

#[test]
fn long_questions_leave_room_for_the_context() {
    let tokenizer = tokenizer();
    let question = "who wrote the play ".repeat(50);
    for (max_length, stride) in [(5, 0), (5, 9), (24, 6), (24, 100), (64, 16)] {
        let windows = tokenizer.encode_question(&question, TEXTS[0], max_length, stride).unwrap();
        assert!(windows.iter().all(|window| window.sequence.ids.len() <= max_length));
        assert!(windows.iter().all(|window| window.offsets.iter().any(Option::is_some)));
    }
    let pair = tokenizer.encode(&question, Some(TEXTS[0]), 24, Truncation::OnlySecond).unwrap();
    assert_eq!(pair.ids.len(), 24);
    assert!(pair.token_types.iter().filter(|&&segment| segment == 1).count() > 1);
}

#[test]
fn answers_become_token_spans() {
    let tokenizer = tokenizer();
    let context = "É: The author of the film was born.";
    let windows = tokenizer.encode_question("who?", context, 64, 0).unwrap();
    let window = &windows[0];
    let found = |start, text| {
        let (first, last) = window.answer_span(start, text)?;
        Some((window.offsets[first]?.0, window.offsets[last]?.1))
    };
    assert_eq!(found(7, "author"), Some((7, 13)));
    assert_eq!(found(14, "of the film"), Some((14, 25)));
    assert_eq!(found(34, "."), Some((34, 35)));
    assert_eq!(found(7, ""), None);
    assert_eq!(found(30, "born. And more"), None);
    assert_eq!(found(usize::MAX, "x"), None);
    // A window that begins after the answer does not contain it.
    let windows = tokenizer.encode_question("who?", &"film ".repeat(40), 16, 2).unwrap();
    assert!(windows[0].answer_span(0, "film").is_some());
    assert_eq!(windows[1].answer_span(0, "film"), None);
}

/// Text that mixes words of the vocabulary with any Unicode.
fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("film ".to_owned()),
        Just("the good, ".to_owned()),
        Just("Café".to_owned()),
        Just("e\u{301}\u{302} ".to_owned()),
        Just("北京".to_owned()),
        Just("각 ".to_owned()),
        Just("[SEP]".to_owned()),
        Just("\u{0}\u{200b}\t".to_owned()),
        "\\PC{0,6}",
        any::<String>(),
    ];
    proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

fn normalized(text: &str) -> String {
    use tokenizers::{NormalizedString, Normalizer};
    let mut string = NormalizedString::from(text);
    BertNormalizer::default().normalize(&mut string).unwrap();
    string.get().trim().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A token's text is in the normalised form of the characters it points at. (It may be a part of it: `각` is one
    /// character but three after normalisation.)
    #[test]
    fn offsets_point_at_the_token(context in any_text(), question in any_text(), max_length in 5_usize..40, stride in 0_usize..20) {
        let tokenizer = tokenizer();
        let characters: Vec<char> = context.chars().collect();
        for window in tokenizer.encode_question(&question, &context, max_length, stride).unwrap() {
            prop_assert!(window.sequence.ids.len() <= max_length);
            prop_assert_eq!(window.sequence.ids.len(), window.offsets.len());
            prop_assert_eq!(window.sequence.ids.len(), window.sequence.token_types.len());
            for (&id, offset) in window.sequence.ids.iter().zip(&window.offsets) {
                let Some((start, end)) = *offset else { continue };
                let token = tokenizer.token(id).unwrap();
                let text: String = characters[start..end].iter().collect();
                let piece = token.strip_prefix("##").unwrap_or(&token);
                prop_assert!(token == UNKNOWN || text == token || normalized(&text).contains(piece), "{text:?} is not {token:?}");
            }
        }
    }

    #[test]
    fn windows_cover_all_tokens_of_the_context(context in any_text(), question in any_text(), max_length in 5_usize..40, stride in 0_usize..20) {
        let tokenizer = tokenizer();
        let tokens = |max_length| -> std::collections::BTreeSet<_> {
            let windows = tokenizer.encode_question(&question, &context, max_length, stride).unwrap();
            windows.into_iter().flat_map(|window| window.offsets.into_iter().flatten()).collect()
        };
        prop_assert_eq!(tokens(max_length), tokens(100_000));
    }

    #[test]
    fn sequences_never_exceed_their_length(first in any_text(), second in proptest::option::of(any_text()), max_length in 3_usize..40) {
        let tokenizer = tokenizer();
        for truncation in [Truncation::LongestFirst, Truncation::OnlySecond] {
            let sequence = tokenizer.encode(&first, second.as_deref(), max_length, truncation).unwrap();
            let whole = tokenizer.encode(&first, second.as_deref(), 100_000, truncation).unwrap();
            prop_assert_eq!(sequence.ids.len(), whole.ids.len().min(max_length));
            prop_assert_eq!(sequence.ids.len(), sequence.token_types.len());
        }
    }
}
