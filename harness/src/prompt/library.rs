//! A set of templates, and which of them serves a task.

use serde::Deserialize;
use stepsynth_datasets::{Kind, TaskSpec};

use super::{Prompt, PromptError, Template};
use crate::teacher::Step;

/// The prompts of the paper.
const PAPER: &str = include_str!("../../prompts/paper.toml");
const FORMAT: u32 = 1;

/// What a template asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asks {
    /// `T_ration`: a list of `{n}` reasons for `{label_word}`.
    Rationale,
    /// `T_query1` without rationales, and `T_query2`: one example.
    Seed,
    /// `T_query1`: one example with `{rationales}`.
    SeedFromRationales,
    /// `T_mis1`, `T_mis2`: one example like `{text}`.
    Extrapolate,
}

impl Asks {
    /// The kind of request.
    pub fn step(self) -> Step {
        match self {
            Self::Rationale => Step::Rationale,
            Self::Seed | Self::SeedFromRationales => Step::Seed,
            Self::Extrapolate => Step::Extrapolate,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rationale => "rationale",
            Self::Seed => "seed",
            Self::SeedFromRationales => "seed_from_rationales",
            Self::Extrapolate => "extrapolate",
        }
    }

    /// The slots that are filled for a task of this kind, or `None` if it is never asked.
    fn slots(self, kind: Kind) -> Option<&'static [&'static str]> {
        match (kind, self) {
            (Kind::Single, Self::Rationale) => Some(&["n", "label_word"]),
            (Kind::Single, Self::Seed) => Some(&["label_word"]),
            (Kind::Single, Self::SeedFromRationales) => Some(&["rationales", "label_word"]),
            (Kind::Single, Self::Extrapolate) => Some(&["text", "label_word"]),
            (Kind::Pair, Self::Seed) => Some(&["context", "label_word"]),
            (Kind::Pair, Self::Extrapolate) => Some(&["context", "text", "label_word"]),
            (Kind::Qa, Self::Seed) => Some(&["context", "answer"]),
            (Kind::Qa, Self::Extrapolate) => Some(&["context", "text", "answer"]),
            (Kind::Pair | Kind::Qa, Self::Rationale | Self::SeedFromRationales) => None,
        }
    }
}

/// The templates of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    templates: Vec<Template>,
}

impl Library {
    /// The paper's prompts: its four tasks, and generic ones for every other task.
    ///
    /// # Errors
    /// If the embedded file is broken, which a test excludes.
    pub fn paper() -> Result<Self, PromptError> {
        Self::parse("prompts/paper.toml", PAPER)
    }

    /// `id@version` of every template with the SHA-256 (hex) of its text.
    pub fn hashes(&self) -> Vec<(String, String)> {
        let hash = |text: &str| stepsynth_datasets::hash::bytes(text.as_bytes());
        self.templates.iter().map(|template| (template.name(), hash(&template.text))).collect()
    }

    /// Reads the text of a template file. Templates for a kind are tried with that kind's slots at once, so that a
    /// mistyped slot shows before anything is asked; templates for a task are tried when their task's kind is known.
    ///
    /// # Errors
    /// If the TOML is broken, an id occurs twice, a template serves no one, or its slots do not fit.
    pub fn parse(file: &str, source: &str) -> Result<Self, PromptError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            format: u32,
            template: Vec<Template>,
        }
        let fault = |message: String| PromptError::File { file: file.to_owned(), message };
        let File { format, template: templates } = toml::from_str(source).map_err(|error| fault(error.to_string()))?;
        if format != FORMAT {
            return Err(fault(format!("format = {format}, this program reads format {FORMAT}")));
        }
        for (index, template) in templates.iter().enumerate() {
            let id = &template.id;
            if templates[..index].iter().any(|earlier| earlier.id == *id) {
                return Err(fault(format!("template `{id}` occurs twice; rename one")));
            }
            match (&template.task, template.kind) {
                (Some(_), None) => {}
                (None, Some(kind)) => {
                    let slots = template
                        .asks
                        .slots(kind)
                        .ok_or_else(|| fault(format!("template `{id}`: tasks of this kind are never asked for that")))?;
                    template.render(&slots.iter().map(|slot| (*slot, "")).collect::<Vec<_>>())?;
                }
                _ => return Err(fault(format!("template `{id}`: state either `task` or `kind`"))),
            }
        }
        Ok(Self { templates })
    }

    /// The prompt that asks `task` for `asks` with the slots' values: from the task's own template, else its kind's.
    ///
    /// # Errors
    /// If there is no such template, or its slots and `values` differ.
    pub fn prompt(&self, task: &TaskSpec, asks: Asks, values: &[(&str, &str)]) -> Result<Prompt, PromptError> {
        let find = |serves: &dyn Fn(&Template) -> bool| self.templates.iter().find(|t| t.asks == asks && serves(t));
        find(&|template| template.task.as_deref() == Some(&task.name))
            .or_else(|| find(&|template| template.kind == Some(task.kind)))
            .ok_or_else(|| PromptError::Missing { task: task.name.clone(), kind: kind_name(task.kind), asks: asks.name() })?
            .render(values)
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Single => "single",
        Kind::Pair => "pair",
        Kind::Qa => "qa",
    }
}

#[cfg(test)]
mod tests {
    use stepsynth_datasets::Metric;

    use super::*;

    fn task(name: &str, kind: Kind) -> TaskSpec {
        let source = format!("version = 1\nname = \"{name}\"\nkind = \"{}\"\nmetric = \"accuracy\"", kind_name(kind));
        let task: TaskSpec = toml::from_str(&source).unwrap();
        assert_eq!(task.metric, Metric::Accuracy);
        task
    }

    #[test]
    fn every_task_can_be_asked_for_everything_its_kind_has() {
        let library = Library::paper().unwrap();
        let tasks = [
            ("imdb", Kind::Single),
            ("qnli", Kind::Pair),
            ("rte", Kind::Pair),
            ("adqa", Kind::Qa),
            ("sst2", Kind::Single),
            ("lab-entailment", Kind::Pair),
            ("squad", Kind::Qa),
        ];
        for (name, kind) in tasks {
            for asks in [Asks::Rationale, Asks::Seed, Asks::SeedFromRationales, Asks::Extrapolate] {
                let Some(slots) = asks.slots(kind) else { continue };
                let values: Vec<_> = slots.iter().map(|slot| (*slot, "VALUE")).collect();
                let prompt = library.prompt(&task(name, kind), asks, &values).unwrap();
                assert!(prompt.text.matches("VALUE").count() >= slots.len(), "{}", prompt.id);
                let own = ["imdb", "qnli", "rte", "adqa"].contains(&name);
                assert!(prompt.id.starts_with(if own { name } else { kind_name(kind) }), "{name} got {}", prompt.id);
            }
        }
    }

    #[test]
    fn an_absent_template_is_named_with_its_remedy() {
        let library = Library::parse("own.toml", "format = 1\ntemplate = []").unwrap();
        let error = library.prompt(&task("rte", Kind::Pair), Asks::Seed, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "task `rte`: no template asks for `seed`; add one with `task = \"rte\"` or `kind = \"pair\"`"
        );
    }

    #[test]
    fn broken_files_are_refused() {
        let one = |body: &str| Library::parse("own.toml", &format!("format = 1\n[[template]]\nid = \"a\"\nversion = 1\n{body}"));
        for (body, says) in [
            ("asks = \"seed\"\ntext = \"\"", "own.toml: template `a`: state either `task` or `kind`"),
            (
                "asks = \"rationale\"\nkind = \"qa\"\ntext = \"\"",
                "own.toml: template `a`: tasks of this kind are never asked for that",
            ),
            (
                "asks = \"seed\"\nkind = \"single\"\ntext = \"{labl}\"",
                "template `a@1`: unknown slot `{labl}`; known here: label_word",
            ),
        ] {
            assert_eq!(one(body).unwrap_err().to_string(), says);
        }
        let twice = "asks = \"seed\"\ntask = \"x\"\ntext = \"\"\n[[template]]\nid = \"a\"\nversion = 2\nasks = \"seed\"\ntask = \"y\"\ntext = \"\"";
        assert_eq!(one(twice).unwrap_err().to_string(), "own.toml: template `a` occurs twice; rename one");
        assert!(Library::parse("own.toml", "format = 9\ntemplate = []").unwrap_err().to_string().contains("reads format 1"));
    }
}
