//! What a task is: one TOML file, built in (`datasets/tasks/*.toml`) or the user's own.

mod built_in;
mod fields;
mod hub;
mod label_order;
mod source;
mod validate;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use built_in::built_in;
pub use fields::{Fields, Role};
pub use hub::{GoldFiles, HubSource};
pub use label_order::LabelOrder;
pub(crate) use label_order::whole_number;
pub use source::{Format, Gold, Source, SplitSizes};

use crate::{Error, Result};

/// Version of the task file format this crate reads.
pub const VERSION: u32 = 1;

/// Kind of task, which fixes the shape of its inputs and targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One text, one label.
    Single,
    /// Two texts, one label.
    Pair,
    /// A question and a context, an answer span.
    Qa,
}

/// The number a task is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of right labels.
    Accuracy,
    /// Unweighted mean of the labels' F1.
    MacroF1,
    /// Share of answers equal to an accepted one after SQuAD normalisation.
    ExactMatch,
    /// Mean best token F1 against the accepted answers.
    F1,
}

/// One task. A file of one's own:
/// ```
/// let text = r#"
///     version = 1
///     name = "tickets"
///     title = "Support tickets by urgency"
///     kind = "single"                     # or pair, qa
///     labels = ["low", "high"]
///     label_words = ["calm", "urgent"]    # in prompts; without it, the labels
///     metric = "macro_f1"                 # or accuracy; qa: exact_match, f1
///
///     [fields]                            # columns; a role that is left out is read from the column of its name
///     text = "body"                       # pair: text (what a teacher writes) and text_pair (given); qa: question, context, answers
///     label = "urgency"
///     id = "ticket"
///
///     [gold.train]
///     files = ["train.csv"]               # in the data folder
///     label_order = { 1 = "low", 2 = "high" }   # for files with numbers; a list counts from 0
///     [gold.test]
///     files = ["test.json.gz"]
///     format = "s3"                       # where the name does not tell it
///     fields = { text = "message" }       # where these files differ
///     label_order = ["low", "high"]
///
///     [hub]                               # for `stepsynth data fetch`; read where the files above are not there
///     repository = "org/tickets"
///     revision = "main"                   # better a commit
///     label_order = ["low", "high"]
///     train = { "data/train-00000-of-00001.parquet" = "tickets/train.parquet" }
///     test = { "data/test-00000-of-00001.parquet" = "tickets/test.parquet" }
///
///     [split]                             # protocol clean
///     mine = 500
///     select = 500
/// "#;
/// let task = stepsynth_datasets::TaskSpec::parse(text, "tickets.toml".as_ref())?;
/// assert_eq!(task.label_word(1), "urgent");
/// # Ok::<(), stepsynth_datasets::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Version of this file's format: [`VERSION`].
    pub version: u32,
    /// Name, as on the command line and in the paths of results.
    pub name: String,
    /// Title for tables and `task show`.
    #[serde(default)]
    pub title: String,
    /// Kind.
    pub kind: Kind,
    /// Label names in order; empty for question answering.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Words for the labels in prompts, in the order of `labels`; empty to use the names (paper, table 1).
    #[serde(default)]
    pub label_words: Vec<String>,
    /// Headline metric.
    pub metric: Metric,
    /// Columns of the data files that hold each role.
    #[serde(default)]
    pub fields: Fields,
    /// Files of gold data; absent where the gold data come from elsewhere (the laboratory).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gold: Option<Gold>,
    /// Where on the hub gold data are, for `stepsynth data fetch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubSource>,
    /// Sizes of mine and select under protocol `clean`.
    #[serde(default)]
    pub split: SplitSizes,
}

impl TaskSpec {
    /// The built-in task of that name, or the task in the TOML file of that path.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], or what is wrong with the file.
    pub fn find(name_or_path: &str) -> Result<Self> {
        if let Some((_, text)) = built_in::FILES.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, Path::new(name_or_path));
        }
        let path = Path::new(name_or_path);
        let looks_like_a_path = path.extension().is_some_and(|e| e == "toml") || path.components().count() > 1;
        if !looks_like_a_path {
            return Err(Error::UnknownTask { name: name_or_path.into(), known: built_in().join(", ") });
        }
        let raw = crate::load::read_file(path, "")?;
        Self::parse(&raw.into_text(path)?, path)
    }

    /// Reads and checks a task; `path` serves the messages.
    ///
    /// # Errors
    /// [`Error::SpecSyntax`] or [`Error::Spec`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let syntax = |error: toml::de::Error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            Error::SpecSyntax { path: path.into(), line, why: error.message().trim().replace('\n', ", ") }
        };
        let Versioned { version } = toml::from_str(text).map_err(syntax)?;
        if version != VERSION {
            return Err(Error::Spec {
                path: path.into(),
                field: "version".into(),
                why: format!("this stepsynth reads version {VERSION}, the file has {version}"),
                remedy: "use the stepsynth that the file was written for, or rewrite the file".into(),
            });
        }
        let task: Self = toml::from_str(text).map_err(syntax)?;
        validate::validate(&task, path)?;
        Ok(task)
    }

    /// The word for label `label` in prompts: from `label_words`, else the label's name.
    ///
    /// # Panics
    /// If `label` is not an index into `labels`.
    pub fn label_word(&self, label: usize) -> &str {
        self.label_words.get(label).unwrap_or(&self.labels[label])
    }
}

#[cfg(test)]
mod tests;
