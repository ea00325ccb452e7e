//! One prompt template with named slots, rendered strictly.

use serde::Deserialize;
use stepsynth_datasets::Kind;

use super::Asks;

/// What can be wrong with a template or its use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PromptError {
    /// The file is not a template file.
    #[error("{file}: {message}")]
    File {
        /// The file.
        file: String,
        /// What the TOML parser says, or which template is at fault.
        message: String,
    },
    /// No template serves the task.
    #[error("task `{task}`: no template asks for `{asks}`; add one with `task = \"{task}\"` or `kind = \"{kind}\"`")]
    Missing {
        /// Task name.
        task: String,
        /// Kind of the task.
        kind: &'static str,
        /// What should be asked for.
        asks: &'static str,
    },
    /// A slot that nobody fills.
    #[error("template `{template}`: unknown slot `{{{slot}}}`; known here: {known}")]
    UnknownSlot {
        /// `id@version`.
        template: String,
        /// The slot.
        slot: String,
        /// Slots that are filled.
        known: String,
    },
    /// A value that the template does not use: the teacher would be asked without it.
    #[error("template `{template}`: the slot `{{{slot}}}` does not occur in its text; add it")]
    UnusedSlot {
        /// `id@version`.
        template: String,
        /// The slot.
        slot: String,
    },
    /// A brace without its partner, or a slot that is no name.
    #[error("template `{template}`: `{{` at byte {at} does not open a slot; write `{{name}}`")]
    Brace {
        /// `id@version`.
        template: String,
        /// Offset of the brace in the template's text.
        at: usize,
    },
}

/// A template: a `[[template]]` of a prompt file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Name, unique in its file.
    pub id: String,
    /// Version of `text`.
    pub version: u32,
    /// The task it serves.
    #[serde(default)]
    pub task: Option<String>,
    /// The kind of tasks it serves when they have none of their own.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// What it asks for.
    pub asks: Asks,
    /// The text with its `{slots}`.
    pub text: String,
}

/// A rendered prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// `id@version` of its template.
    pub id: String,
    /// What the teacher reads.
    pub text: String,
}

impl Template {
    /// `id@version`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }

    /// Fills the slots with `values` (slot, value). Values are copied as they are: braces in them mean nothing.
    ///
    /// # Errors
    /// If a slot has no value, a value has no slot, or a brace is left alone.
    pub fn render(&self, values: &[(&str, &str)]) -> Result<Prompt, PromptError> {
        let mut text = String::with_capacity(self.text.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
        let mut used = vec![false; values.len()];
        let mut done = 0;
        while let Some(offset) = self.text[done..].find(['{', '}']) {
            let open = done + offset;
            let slot = self.slot_at(open)?;
            let index = values.iter().position(|(name, _)| *name == slot).ok_or_else(|| PromptError::UnknownSlot {
                template: self.name(),
                slot: slot.to_owned(),
                known: values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            })?;
            text.push_str(&self.text[done..open]);
            text.push_str(values[index].1);
            used[index] = true;
            done = open + slot.len() + 2;
        }
        text.push_str(&self.text[done..]);
        match used.iter().position(|used| !used) {
            Some(index) => Err(PromptError::UnusedSlot { template: self.name(), slot: values[index].0.to_owned() }),
            None => Ok(Prompt { id: self.name(), text }),
        }
    }

    fn slot_at(&self, open: usize) -> Result<&str, PromptError> {
        let name = self.text[open..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(name, _)| name);
        name.filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
            .ok_or_else(|| PromptError::Brace { template: self.name(), at: open })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Template {
        Template { id: "t".into(), version: 3, task: None, kind: Some(Kind::Single), asks: Asks::Seed, text: text.into() }
    }

    #[test]
    fn slots_are_filled_and_the_version_is_in_the_id() {
        let prompt = template("a {x} b {y_z}{x}").render(&[("x", "1"), ("y_z", "{x}")]).unwrap();
        assert_eq!(prompt, Prompt { id: "t@3".into(), text: "a 1 b {x}1".into() });
    }

    #[test]
    fn unknown_unused_and_broken_slots_are_errors() {
        let unknown = template("{x} {typo}").render(&[("x", "1")]).unwrap_err();
        assert_eq!(unknown.to_string(), "template `t@3`: unknown slot `{typo}`; known here: x");
        let unused = template("{x}").render(&[("x", "1"), ("y", "2")]).unwrap_err();
        assert_eq!(unused.to_string(), "template `t@3`: the slot `{y}` does not occur in its text; add it");
        for broken in ["a { b", "a } b", "{}", "{A}", "{x {x}"] {
            let error = template(broken).render(&[("x", "1")]).unwrap_err();
            assert!(matches!(error, PromptError::Brace { .. }), "{broken}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_value_arrives_unchanged(value in ".*") {
            let prompt = template("<{x}>").render(&[("x", &value)]).unwrap();
            prop_assert_eq!(prompt.text, format!("<{value}>"));
        }
    }
}
