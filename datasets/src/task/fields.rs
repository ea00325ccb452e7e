//! Which column of a data file holds what.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Kind;

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The text; of a pair, the hypothesis or question.
    Text,
    /// The premise or paragraph of a pair.
    TextPair,
    /// The question of question answering.
    Question,
    /// The context of question answering.
    Context,
    /// The accepted answers.
    Answers,
    /// The label.
    Label,
    /// The row's name.
    Id,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [Self::Text, Self::TextPair, Self::Question, Self::Context, Self::Answers, Self::Label, Self::Id];

    /// The roles that rows of a task of this kind must fill.
    pub fn required(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Single => &[Self::Text, Self::Label],
            Kind::Pair => &[Self::Text, Self::TextPair, Self::Label],
            Kind::Qa => &[Self::Question, Self::Context, Self::Answers],
        }
    }

    /// The role's name in `[fields]`, which is also the column looked for when `[fields]` names none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::TextPair => "text_pair",
            Self::Question => "question",
            Self::Context => "context",
            Self::Answers => "answers",
            Self::Label => "label",
            Self::Id => "id",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Column of each role; an absent role is read from the column of the role's own name. `id` alone may be missing: where none is
/// stated, or a row has no such column, the row is named `<file>:<line>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the roles, documented there")]
pub struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Fields {
    /// The column stated for a role.
    pub fn stated(&self, role: Role) -> Option<&str> {
        let column = match role {
            Role::Text => &self.text,
            Role::TextPair => &self.text_pair,
            Role::Question => &self.question,
            Role::Context => &self.context,
            Role::Answers => &self.answers,
            Role::Label => &self.label,
            Role::Id => &self.id,
        };
        column.as_deref()
    }

    /// The column to read a role from: as stated, else the role's own name.
    pub fn column(&self, role: Role) -> &str {
        self.stated(role).unwrap_or(role.name())
    }

    /// These columns, and `base`'s where these state none.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let pick = |role| self.stated(role).or(base.stated(role)).map(str::to_owned);
        Self {
            text: pick(Role::Text),
            text_pair: pick(Role::TextPair),
            question: pick(Role::Question),
            context: pick(Role::Context),
            answers: pick(Role::Answers),
            label: pick(Role::Label),
            id: pick(Role::Id),
        }
    }
}
