//! One labelled example of any task.

use serde::{Deserialize, Serialize};

/// What the student reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Input {
    /// Question answering: find the answer in the context.
    Qa {
        /// The question.
        question: String,
        /// The text that holds the answer.
        context: String,
    },
    /// Sentence pair. `text` is the hypothesis or question, `text_pair` the premise or paragraph (the order in which the
    /// paper's released scripts tokenise).
    Pair {
        /// Hypothesis or question.
        text: String,
        /// Premise or paragraph.
        text_pair: String,
    },
    /// One text.
    Single {
        /// The text.
        text: String,
    },
}

impl Input {
    /// The part a teacher writes: the text, the hypothesis or the question.
    pub fn written(&self) -> &str {
        match self {
            Self::Single { text } | Self::Pair { text, .. } => text,
            Self::Qa { question, .. } => question,
        }
    }

    /// The part a teacher is given: premise, paragraph or context.
    pub fn context(&self) -> Option<&str> {
        match self {
            Self::Single { .. } => None,
            Self::Pair { text_pair, .. } => Some(text_pair),
            Self::Qa { context, .. } => Some(context),
        }
    }

    /// What the input says, whatever its case and spaces: two inputs with the same key are the same content.
    pub fn content_key(&self) -> String {
        let mut key = normal(self.written());
        if let Some(context) = self.context_key() {
            key.push('\n');
            key.push_str(&context);
        }
        key
    }

    /// The same for the part a teacher is given.
    pub fn context_key(&self) -> Option<String> {
        self.context().map(normal)
    }

    /// The same input with another written part.
    #[must_use]
    pub fn with_written(&self, written: String) -> Self {
        match self {
            Self::Single { .. } => Self::Single { text: written },
            Self::Pair { text_pair, .. } => Self::Pair { text: written, text_pair: text_pair.clone() },
            Self::Qa { context, .. } => Self::Qa { question: written, context: context.clone() },
        }
    }
}

/// Lower case, words one space apart.
fn normal(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        if word.is_ascii() {
            let start = normal.len();
            normal.push_str(word);
            normal[start..].make_ascii_lowercase();
        } else {
            normal.extend(word.chars().flat_map(char::to_lowercase));
        }
    }
    normal
}

/// An answer in its context.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The words of the context from `start`.
    pub text: String,
    /// Offset of the first character (Unicode scalar value, not byte) in the context.
    pub start: usize,
}

/// What the student should say.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Index into the task's label names.
    Label(usize),
    /// Accepted answers, at least one; the first is the one trained on.
    Answers(Vec<Answer>),
}

/// An input with its target and a name that is unique within its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// Name, for provenance: from the file, or `<source>:<row>`.
    pub id: String,
    /// What the student reads.
    pub input: Input,
    /// What it should say.
    pub target: Target,
}

impl Example {
    /// The label index of a classification example.
    pub fn label(&self) -> Option<usize> {
        match self.target {
            Target::Label(label) => Some(label),
            Target::Answers(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_whatever_its_case_and_spaces() {
        let pair = |text: &str, text_pair: &str| Input::Pair { text: text.into(), text_pair: text_pair.into() }.content_key();
        assert_eq!(pair(" The  CAT", "Élan\tvital"), pair("the cat", "élan vital\n"));
        assert_ne!(pair("the cat", "élan vital"), pair("the cats", "élan vital"));
        assert_ne!(pair("a b", "c"), pair("a", "b c"));
    }
}
