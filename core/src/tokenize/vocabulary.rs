//! Learning a WordPiece vocabulary: repeatedly joins the most frequent pair of neighbouring pieces, as Hugging Face's
//! `WordPieceTrainer` does.
//!
//! Written here because that trainer numbers pieces in the order of a randomly seeded hash map, so that two runs on the
//! same texts give different vocabularies. Here every choice has a total order: count, then the ids of the pair.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::{SPECIAL_TOKENS, library_error};
use crate::{Error, Result};

/// Characters kept at most, the most frequent ones; words with others become `[UNK]` anyway.
const MAX_ALPHABET: usize = 1000;

/// Longer words are `[UNK]` in WordPiece.
const MAX_WORD: usize = 100;

/// Tokens in the order of their ids: special tokens, characters, `##` characters, then joined pieces as they were found.
pub(super) fn learn<S: AsRef<str>>(
    texts: impl IntoIterator<Item = S>,
    vocab_size: usize,
    min_frequency: u64,
) -> Result<Vec<String>> {
    let smallest = SPECIAL_TOKENS.len() + 2;
    if vocab_size < smallest {
        return Err(Error::Tokenizer(format!("vocab_size is {vocab_size}, must be at least {smallest}")));
    }
    let words = count_words(texts)?;
    if words.is_empty() {
        return Err(Error::Tokenizer("the training texts hold no word; give texts that are not blank".into()));
    }
    let alphabet = alphabet(&words, MAX_ALPHABET.min((vocab_size - SPECIAL_TOKENS.len()) / 2));
    let mut pieces = Pieces::default();
    for token in SPECIAL_TOKENS.into_iter().map(str::to_owned).chain(alphabet.iter().map(char::to_string)) {
        pieces.id(&token);
    }
    let kept = || words.iter().filter(|(word, _)| word.chars().all(|c| alphabet.contains(&c)));
    let continuing: BTreeSet<char> = kept().flat_map(|(word, _)| word.chars().skip(1)).collect();
    for c in continuing {
        pieces.id(&format!("##{c}"));
    }
    let words = kept().map(|(word, &count)| {
        let spell = |(at, c): (usize, char)| pieces.ids[&if at == 0 { c.to_string() } else { format!("##{c}") }];
        (word.chars().enumerate().map(spell).collect(), count)
    });
    let mut merger = Merger::new(words.collect());
    while pieces.tokens.len() < vocab_size {
        let Some(pair) = merger.most_frequent(min_frequency.max(1)) else { break };
        let second = &pieces.tokens[pair.1 as usize];
        let joined = format!("{}{}", pieces.tokens[pair.0 as usize], second.strip_prefix("##").unwrap_or(second));
        let id = pieces.id(&joined);
        merger.join(pair, id);
    }
    Ok(pieces.tokens)
}

/// Words after BERT's normalisation and pre-tokenisation with their counts. Both act between white space alone, so each
/// distinct chunk of text is split once.
fn count_words<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<BTreeMap<String, u64>> {
    let mut chunks: HashMap<String, u64> = HashMap::new();
    for text in texts {
        // Control characters that are white space to Unicode are removed by the normaliser, not taken for a space.
        let is_space = |c: char| matches!(c, '\t' | '\n' | '\r') || (c.is_whitespace() && !c.is_control());
        for chunk in text.as_ref().split(is_space).filter(|chunk| !chunk.is_empty()) {
            match chunks.get_mut(chunk) {
                Some(count) => *count += 1,
                None => drop(chunks.insert(chunk.to_owned(), 1)),
            }
        }
    }
    let mut words = BTreeMap::new();
    for (chunk, count) in chunks {
        let mut normalized = NormalizedString::from(chunk);
        BertNormalizer::default().normalize(&mut normalized).map_err(library_error)?;
        let mut split = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut split).map_err(library_error)?;
        for (word, ..) in split.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            if !word.is_empty() && word.chars().count() <= MAX_WORD {
                *words.entry(word.to_owned()).or_default() += count;
            }
        }
    }
    Ok(words)
}

/// The `limit` most frequent characters.
fn alphabet(words: &BTreeMap<String, u64>, limit: usize) -> BTreeSet<char> {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in words {
        word.chars().for_each(|c| *counts.entry(c).or_default() += count);
    }
    let mut ranked: Vec<(Reverse<u64>, char)> = counts.into_iter().map(|(c, count)| (Reverse(count), c)).collect();
    ranked.sort_unstable();
    ranked.into_iter().take(limit).map(|(_, c)| c).collect()
}

/// Pieces numbered in the order of their first use.
#[derive(Default)]
struct Pieces {
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Pieces {
    fn id(&mut self, token: &str) -> u32 {
        *self.ids.entry(token.to_owned()).or_insert_with(|| {
            self.tokens.push(token.to_owned());
            (self.tokens.len() - 1) as u32
        })
    }
}

type Pair = (u32, u32);

/// Words as pieces, with the counts of neighbouring pairs kept up to date.
struct Merger {
    words: Vec<(Vec<u32>, u64)>,
    counts: HashMap<Pair, u64>,
    /// Words in which a pair was seen; it may have gone since.
    places: HashMap<Pair, BTreeSet<usize>>,
    /// Every pair with a count it once had, the current one among them.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Merger {
    fn new(words: Vec<(Vec<u32>, u64)>) -> Self {
        let mut merger = Self { words, counts: HashMap::new(), places: HashMap::new(), queue: BinaryHeap::new() };
        for word in 0..merger.words.len() {
            merger.count(word);
        }
        merger.queue = merger.counts.iter().map(|(&pair, &count)| (count, Reverse(pair))).collect();
        merger
    }

    /// The pair with the highest count, the smaller ids winning ties; `None` if that count is below `least`.
    fn most_frequent(&mut self, least: u64) -> Option<Pair> {
        loop {
            let (count, Reverse(pair)) = self.queue.pop()?;
            let now = self.counts.get(&pair).copied().unwrap_or(0);
            if now == count {
                return (count >= least).then_some(pair);
            }
            if now < count && now > 0 {
                self.queue.push((now, Reverse(pair)));
            }
        }
    }

    /// Replaces `pair` by the piece `joined` in all words, from left to right.
    fn join(&mut self, pair: Pair, joined: u32) {
        let mut changed = BTreeSet::new();
        for word in self.places.remove(&pair).unwrap_or_default() {
            let (pieces, count) = (&self.words[word].0, self.words[word].1);
            let mut shorter = Vec::with_capacity(pieces.len());
            let mut at = 0;
            while at < pieces.len() {
                let here = pieces.get(at + 1).is_some_and(|&next| (pieces[at], next) == pair);
                shorter.push(if here { joined } else { pieces[at] });
                at += if here { 2 } else { 1 };
            }
            for old in pieces.windows(2) {
                *self.counts.entry((old[0], old[1])).or_default() -= count;
            }
            for new in shorter.windows(2).map(|new| (new[0], new[1])) {
                *self.counts.entry(new).or_default() += count;
                // Other pairs stood here before; their counts can only have gone down.
                if new.0 == joined || new.1 == joined {
                    self.places.entry(new).or_default().insert(word);
                    changed.insert(new);
                }
            }
            self.words[word].0 = shorter;
        }
        self.counts.remove(&pair);
        self.queue.extend(changed.into_iter().map(|pair| (self.counts[&pair], Reverse(pair))));
    }

    /// Adds the pairs of one word to the counts.
    fn count(&mut self, word: usize) {
        let (pieces, count) = &self.words[word];
        for pair in pieces.windows(2).map(|pair| (pair[0], pair[1])) {
            *self.counts.entry(pair).or_default() += count;
            self.places.entry(pair).or_default().insert(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The next pair by counting everything anew.
    fn recount(words: &[(Vec<u32>, u64)], least: u64) -> Option<Pair> {
        let mut counts: BTreeMap<Pair, u64> = BTreeMap::new();
        for (pieces, count) in words {
            pieces.windows(2).for_each(|pair| *counts.entry((pair[0], pair[1])).or_default() += count);
        }
        let best = counts.into_iter().map(|(pair, count)| (count, Reverse(pair))).max()?;
        (best.0 >= least).then_some(best.1.0)
    }

    proptest! {
        /// Counts kept up to date choose the same pairs. Pieces are few, so that overlaps and pieces reached by two ways
        /// (`ab` + `c`, `a` + `bc`) are common.
        #[test]
        fn kept_counts_choose_what_recounting_chooses(words in proptest::collection::vec(("[ab]{1,9}", 1_u64..5), 1..8), least in 1_u64..4) {
            let mut pieces = Pieces::default();
            let spelled = words.iter().map(|(word, count)| (word.chars().map(|c| pieces.id(&c.to_string())).collect(), *count));
            let mut merger = Merger::new(spelled.collect());
            loop {
                let expected = recount(&merger.words, least);
                prop_assert_eq!(merger.most_frequent(least), expected);
                let Some(pair) = expected else { break };
                let id = pieces.id(&format!("{}{}", pieces.tokens[pair.0 as usize], pieces.tokens[pair.1 as usize]));
                merger.join(pair, id);
            }
        }
    }
}
