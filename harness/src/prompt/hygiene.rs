//! Basic hygiene of written text: what is stripped, what is rejected and why. Every reason has a name and is counted.

/// Why a text is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// Nothing is left.
    Empty,
    /// The token limit cut it.
    Truncated,
    /// The provider's filter withheld it.
    Withheld,
    /// The teacher declined to write.
    Refusal,
    /// Talk of an assistant, or a form left to fill in, where the example should be.
    Boilerplate,
    /// The example it should be similar to, or its context, word for word.
    CopyOfSource,
    /// The question contains its answer.
    AnswerInQuestion,
}

impl Rejection {
    /// Name in results: `rejected_<name>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::Withheld => "withheld",
            Self::Refusal => "refusal",
            Self::Boilerplate => "boilerplate",
            Self::CopyOfSource => "copy_of_source",
            Self::AnswerInQuestion => "answer_in_question",
        }
    }
}

/// What a text is held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Against<'a> {
    /// The text that it should be similar to.
    pub source: Option<&'a str>,
    /// The context that it goes with.
    pub context: Option<&'a str>,
    /// An answer that it must not contain.
    pub answer: Option<&'a str>,
}

/// A text that passed, and the names of the filters that changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clean {
    /// The text.
    pub text: String,
    /// `preamble`, `wrapping_quotes`.
    pub filters: Vec<String>,
}

/// Strips what wraps `text` and rejects what is no example.
///
/// # Errors
/// The first reason that applies, in the order of [`Rejection`].
pub fn clean(text: &str, against: &Against<'_>) -> Result<Clean, Rejection> {
    let mut rest = text.trim();
    let mut filters = Vec::new();
    // Refusals are judged before anything is stripped: "Sure, but I cannot write ..." is one.
    if is_refusal(rest) {
        return Err(Rejection::Refusal);
    }
    for (name, strip) in [("preamble", strip_preamble as fn(&str) -> Option<&str>), ("wrapping_quotes", strip_quotes)] {
        if let Some(stripped) = strip(rest) {
            rest = stripped.trim();
            filters.push(name.to_owned());
        }
    }
    let plain = normalised(rest);
    if !plain.contains(|c: char| c.is_alphanumeric()) {
        return Err(Rejection::Empty);
    }
    if is_boilerplate(&plain) {
        return Err(Rejection::Boilerplate);
    }
    if [against.source, against.context].into_iter().flatten().any(|source| normalised(source) == plain) {
        return Err(Rejection::CopyOfSource);
    }
    if against.answer.is_some_and(|answer| contains_words(&plain, &normalised(answer))) {
        return Err(Rejection::AnswerInQuestion);
    }
    Ok(Clean { text: rest.to_owned(), filters })
}

/// Lower case, straight apostrophes, single spaces.
fn normalised(text: &str) -> String {
    text.to_lowercase().replace('’', "'").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether `words` occurs in `text` at word borders; "us" is not in "use".
fn contains_words(text: &str, words: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    !words.is_empty()
        && text
            .match_indices(words)
            .any(|(at, found)| edge(text[..at].chars().next_back()) && edge(text[at + found.len()..].chars().next()))
}

const APOLOGIES: [&str; 6] = ["i'm sorry", "i am sorry", "sorry", "i apologize", "i apologise", "unfortunately"];
const INABILITIES: [&str; 7] =
    ["cannot", "can't", "unable to", "not able to", "not appropriate to", "not possible to", "not comfortable"];
const TASKS: [&str; 12] = [
    "generate",
    "provide",
    "create",
    "write",
    "fulfill",
    "comply",
    "assist",
    "help you",
    "help with",
    "complete",
    "continue",
    "come up with",
];

/// An inability to do a teacher's work, with an apology before it or a first person. A review that begins with "I'm sorry,
/// but this film" is none.
fn is_refusal(text: &str) -> bool {
    let plain = normalised(text);
    let head: String = plain.trim_start_matches('"').chars().take(240).collect();
    let unable = INABILITIES.iter().any(|unable| {
        head.match_indices(unable).any(|(at, _)| {
            let after: String = head[at + unable.len()..].trim_start().chars().take(24).collect();
            TASKS.iter().any(|task| after.trim_start_matches("to ").starts_with(task))
        })
    });
    let opens = |starts: &[&str]| starts.iter().any(|start| head.starts_with(start));
    unable
        && (opens(&APOLOGIES)
            || opens(&["i cannot", "i can't", "i am unable", "i'm unable", "i am not able", "i'm not able"])
            || mentions_model(&head))
}

fn mentions_model(plain: &str) -> bool {
    ["as an ai", "ai language model", "as a language model"].iter().any(|phrase| contains_words(plain, phrase))
}

fn is_boilerplate(plain: &str) -> bool {
    mentions_model(plain)
        || ["i hope this helps", "let me know if you need", "let me know if you would like", "[insert ", "[your "]
            .iter()
            .any(|phrase| plain.contains(phrase))
}

const OPENERS: [&str; 7] = ["sure", "certainly", "of course", "absolutely", "okay", "here is", "here's"];
const PRODUCTS: [&str; 9] = ["review", "sentence", "question", "example", "hypothesis", "text", "statement", "version", "answer"];

/// What follows a first line like "Sure, here is a similar review:".
fn strip_preamble(text: &str) -> Option<&str> {
    let line = text.lines().next()?;
    let plain = normalised(line);
    if !OPENERS.iter().any(|opener| plain.starts_with(opener)) {
        return None;
    }
    let cut = match line.find(':') {
        Some(colon) => colon + 1,
        // Without a colon only a whole first line that announces the text is one.
        None if line.len() < text.len() => line.len(),
        None => return None,
    };
    let announces = normalised(&line[..cut]);
    let is_preamble = announces.len() <= 120
        && announces.contains("here")
        && PRODUCTS.iter().any(|product| announces.contains(product))
        && !text[cut..].trim().is_empty();
    is_preamble.then(|| &text[cut..])
}

/// What stands between quotes that open at the first character and close at the last.
fn strip_quotes(text: &str) -> Option<&str> {
    [('"', '"'), ('“', '”'), ('\'', '\'')].into_iter().find_map(|(open, close)| {
        let inner = text.strip_prefix(open)?.strip_suffix(close)?;
        // `"A" said B to "C"` is not wrapped; `"He said "no" to it"` is.
        let first_inside = inner.find([open, close]);
        let wrapped = first_inside.is_none_or(|at| inner[..at].ends_with(|c: char| c.is_whitespace()));
        wrapped.then_some(inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<Clean, Rejection> {
        clean(text, &Against::default())
    }

    fn kept(text: &str) -> (String, Vec<String>) {
        let clean = judged(text).unwrap();
        (clean.text, clean.filters)
    }

    #[test]
    fn wrapping_is_stripped_and_recorded() {
        assert_eq!(kept("  A fine film.\n"), ("A fine film.".into(), vec![]));
        assert_eq!(kept("\"A fine film.\""), ("A fine film.".into(), vec!["wrapping_quotes".into()]));
        assert_eq!(kept("“A fine film.”").0, "A fine film.");
        let (text, filters) = kept("Sure, here is a similar review:\n\n\"A fine film.\"");
        assert_eq!((text.as_str(), filters.len()), ("A fine film.", 2));
        assert_eq!(kept("Sure! Here's one more question\nWho wrote it?").0, "Who wrote it?");
    }

    #[test]
    fn prose_keeps_its_own_quotes_and_openings() {
        for text in [
            "\"Alien\" is better than \"Aliens\"",
            "Here is a film: it begins, it ends.",
            "Sure to please.",
            "Of course the ending is a text book case",
            "I'm sorry, but this film cannot be saved.",
            "Unfortunately it can't hold a candle to the book.",
            "I can't help but feel that it was an aimless film.",
        ] {
            assert_eq!(kept(text), (text.to_owned(), vec![]));
        }
    }

    #[test]
    fn junk_is_rejected_with_its_reason() {
        for (text, reason) in [
            ("", Rejection::Empty),
            (" \"\" ", Rejection::Empty),
            ("...", Rejection::Empty),
            ("I'm sorry, I cannot generate inappropriate or negative content.", Rejection::Refusal),
            ("I’m sorry, but I am unable to write that.", Rejection::Refusal),
            ("As an AI language model, I can't provide a review.", Rejection::Refusal),
            ("As an AI I have seen no films.", Rejection::Boilerplate),
            ("I saw [insert title] today.", Rejection::Boilerplate),
        ] {
            assert_eq!(judged(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn copies_and_given_away_answers_are_rejected() {
        let against = Against { source: Some("Who  wrote It?"), context: Some("Ann wrote it."), answer: Some("Ann") };
        assert_eq!(clean("\"who wrote it?\"", &against), Err(Rejection::CopyOfSource));
        assert_eq!(clean("Ann wrote it.", &against), Err(Rejection::CopyOfSource));
        assert_eq!(clean("Did ann write it?", &against), Err(Rejection::AnswerInQuestion));
        assert!(clean("Did Annie write it?", &against).is_ok(), "a part of a word is not the answer");
    }
}
