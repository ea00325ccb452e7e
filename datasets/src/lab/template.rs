//! Templates: the only way from attributes to text and back.
//!
//! A template is a line of words separated by spaces. A word made of a capital and a digit, such as `N1`, is a slot: it
//! stands for any word of class `N`. Within one example equal slots carry equal words, and different slots of one class
//! carry different words.

use rand::Rng;

/// The word classes of a world: a capital and its words.
pub(super) struct Lexicon(Vec<(char, Vec<&'static str>)>);

/// A place for a word: (index of the class, number).
pub(super) type Slot = (usize, u8);

/// The words of the slots met so far, as indices into their classes.
pub(super) type Binding = Vec<(Slot, usize)>;

/// One element of a template.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Slot(Slot),
}

/// A compiled template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Token>);

impl Lexicon {
    /// From pairs of a capital and its words, separated by spaces.
    pub(super) fn new(classes: &[(char, &'static str)]) -> Self {
        Self(classes.iter().map(|&(name, words)| (name, words.split(' ').collect())).collect())
    }

    /// The slot called `name`, if it is one.
    pub(super) fn slot(&self, name: &str) -> Option<Slot> {
        let mut characters = name.chars();
        let (class, number) = (characters.next()?, characters.next()?);
        let class = self.0.iter().position(|&(capital, _)| capital == class)?;
        Some((class, u8::try_from(number.to_digit(10)?).ok()?))
    }

    /// Compiles `line`.
    pub(super) fn compile(&self, line: &str) -> Template {
        let token = |word: &str| self.slot(word).map_or_else(|| Token::Word(word.to_owned()), Token::Slot);
        Template(line.split_whitespace().map(token).collect())
    }

    /// The word that `binding` gives to `slot`.
    pub(super) fn word(&self, slot: Slot, binding: &Binding) -> Option<&'static str> {
        let &(_, index) = binding.iter().find(|(bound, _)| *bound == slot)?;
        Some(self.0[slot.0].1[index])
    }

    /// Every word of every class.
    #[cfg(test)]
    pub(super) fn words(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().flat_map(|(_, words)| words.iter().copied())
    }
}

impl Template {
    /// Appends the words of this template to `words`. Slots that `binding` lacks get a word drawn uniformly from those of
    /// the class that no other slot carries.
    pub(super) fn realise(&self, lexicon: &Lexicon, binding: &mut Binding, rng: &mut impl Rng, words: &mut Vec<String>) {
        for token in &self.0 {
            match token {
                Token::Word(word) => words.push(word.clone()),
                Token::Slot(slot) => {
                    if !binding.iter().any(|(bound, _)| bound == slot) {
                        let taken = |index: usize| binding.iter().any(|&(bound, word)| bound.0 == slot.0 && word == index);
                        let free: Vec<usize> = (0..lexicon.0[slot.0].1.len()).filter(|&index| !taken(index)).collect();
                        binding.push((*slot, free[rng.random_range(0..free.len())]));
                    }
                    words.extend(lexicon.word(*slot, binding).map(str::to_owned));
                }
            }
        }
    }
}

/// Extends `binding` so that `parts`, one after the other, read as `words`; `None` if there is no way.
pub(super) fn read(parts: &[&Template], lexicon: &Lexicon, words: &[&str], binding: &Binding) -> Option<Binding> {
    if words.len() != parts.iter().map(|part| part.0.len()).sum::<usize>() {
        return None;
    }
    let mut binding = binding.clone();
    for (token, word) in parts.iter().flat_map(|part| &part.0).zip(words) {
        match token {
            Token::Word(expected) => (expected == word).then_some(())?,
            Token::Slot(slot) => match lexicon.word(*slot, &binding) {
                Some(bound) => (bound == *word).then_some(())?,
                None => {
                    let index = lexicon.0[slot.0].1.iter().position(|candidate| candidate == word)?;
                    if binding.iter().any(|&(bound, taken)| bound.0 == slot.0 && taken == index) {
                        return None;
                    }
                    binding.push((*slot, index));
                }
            },
        }
    }
    Some(binding)
}

const PUNCTUATION: [char; 4] = ['.', ',', '?', ':'];

/// Joins words into text: punctuation stands close to the word before it.
pub(super) fn join(words: &[String]) -> String {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() && !word.starts_with(PUNCTUATION) {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

/// Splits text into words and punctuation: the inverse of [`join`].
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for piece in text.split(' ') {
        let word = piece.trim_end_matches(PUNCTUATION);
        if !word.is_empty() {
            words.push(word);
        }
        words.extend(piece[word.len()..].split("").filter(|mark| !mark.is_empty()));
    }
    words
}
