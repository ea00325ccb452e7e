//! Inputs of the benchmarks: rows of the laboratory, so that nothing has to be downloaded.

use stepsynth_core::Sequence;
use stepsynth_core::tokenize::{Tokenizer, Truncation};
use stepsynth_datasets::{Example, Input, lab};

/// `count` gold rows of the laboratory task `name`.
///
/// # Panics
/// If the laboratory has no such task or not that many rows.
pub fn rows(name: &str, count: usize) -> Vec<Example> {
    let world = lab::task(name).expect("a laboratory task");
    world.gold(0, lab::Part::Mine, count).expect("enough rows")
}

/// The texts of rows, as a vocabulary is learned from them.
pub fn texts(rows: &[Example]) -> Vec<&str> {
    rows.iter().flat_map(|row| std::iter::once(row.input.written()).chain(row.input.context())).collect()
}

/// A tokeniser learned from rows.
///
/// # Panics
/// If the rows hold no words.
pub fn tokenizer(rows: &[Example]) -> Tokenizer {
    Tokenizer::train(texts(rows), 1_000, 2).expect("rows with words")
}

/// Tokenised texts or pairs.
///
/// # Panics
/// If a row cannot be tokenised.
pub fn sequences(tokenizer: &Tokenizer, rows: &[Example]) -> Vec<Sequence> {
    let encode = |input: &Input| tokenizer.encode(input.written(), input.context(), 64, Truncation::LongestFirst);
    rows.iter().map(|row| encode(&row.input).expect("a row that fits")).collect()
}
