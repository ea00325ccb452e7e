//! The embedded laboratory: a small probabilistic world with known truth.
//!
//! # The model
//! Each of four tasks has a finite attribute space `A`: what the *context* is like (plain, coreference, denial, passive, ...),
//! in which *form* the written part makes its point (plain, negated, contrast, crossed binding, swapped roles, ...), the label
//! or the role of the answer, and for reviews topic and length. The gold distribution `P_D` over `A` is
//!
//! `P_D(a) = P(context) P(label | context) P(form | context, label) P(topic) P(length)`
//!
//! with labels (or roles) equally likely given the context, `P(form | context, label)` proportional to the weights of the
//! forms that fit, and all numbers stated in the file of each world. The label is a function of the attributes.
//!
//! Attributes become text through templates. What else can vary (which template, noun, name, adjective) is uniform given the
//! attributes, and [`World::parse`] inverts the realisation. So the distance between two distributions of text equals that
//! between their distributions of attributes, and every total variation stated here is between *attribute* distributions: exact
//! for two distributions ([`Measure::tv`]); for a list of rows ([`World::tv`]) it is that of their empirical attribute
//! distribution, which even for rows from `P_D` itself is not 0 but about [`World::noise_floor`].
//!
//! A bag of words cannot solve the tasks: what decides is the scope of a negation, which clause of a contrast is the main one,
//! which fact belongs to which thing, or who did what to whom. Local order often can: the words beside a name tell most answers
//! of `lab-spans`. The lexicons, and the wordings of questions and hypotheses, are kept so simple that a small student learns
//! the tasks from few gold rows.
//!
//! Teacher and gold data share this small space of texts, so a synthetic row may equal a text of the test part. That is a
//! property of the laboratory, not a leak through the method: the teacher never sees the test part.
//!
//! # The simulated teacher
//! [`Writer`] works from text alone: it parses what it is shown. Its seed distribution `P_LLM(0)` gives *unfamiliar* forms
//! [`UNFAMILIAR`] (1/20, an assumption) of their weight. How much of `P_D` is unfamiliar is set, in each world, by an error
//! rate of students of real seed data and a second assumption: that such a student errs on 75% of what it hardly saw, midway
//! between guessing one of two labels and always being wrong. So the share of unfamiliar forms is the error rate divided by
//! 0.75 (for `lab-spans`, where gold data itself teaches little, it is
//! the relative loss against gold data). [`Params`] holds the other faults with their sources.
//!
//! **The outcome of an experiment in the laboratory is a property of these parameters, not evidence about language models.**
//! Its results are labelled `simulated` and never stand for the paper's.

mod distribution;
mod entailment;
mod gold;
mod params;
mod questions;
mod reviews;
mod spans;
mod template;
#[cfg(test)]
mod tests;
mod world;
mod writer;

use std::sync::LazyLock;

pub use distribution::Measure;
pub use gold::Part;
pub use params::Params;
pub use world::{Parsed, UNFAMILIAR, World};
pub use writer::{REFUSAL, Wanted, Writer};

/// The name whose texts the label cue applies to.
const ENTAILMENT: &str = "lab-entailment";

/// Every world.
static WORLDS: LazyLock<[World; 4]> =
    LazyLock::new(|| [reviews::world(), questions::world(), entailment::world(), spans::world()]);

/// The world of the task called `name`; `None` if it is not a lab task.
pub fn task(name: &str) -> Option<&'static World> {
    WORLDS.iter().find(|world| world.name == name)
}

/// Every world, in the order of the paper's tables.
pub fn all() -> impl Iterator<Item = &'static World> {
    WORLDS.iter()
}

/// The laboratory cannot do what was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not one of this world.
    #[error("{world}: not a text of this world: `{text}`; use the gold data of the task")]
    Foreign {
        /// Task name.
        world: &'static str,
        /// The text.
        text: String,
    },
    /// The label or answer is impossible here.
    #[error("{world}: no text has label or answer `{wanted}` here; use a label of the task or an answer of the gold data")]
    Outcome {
        /// Task name.
        world: &'static str,
        /// Index of the label, or the answer.
        wanted: String,
    },
    /// Rationales exist for single texts only.
    #[error("{world}: rationales exist for single texts only, as in the paper; set `rationales = false`")]
    NoRationales {
        /// Task name.
        world: &'static str,
    },
    /// More gold rows are wanted than there are.
    #[error("{world}: {wanted} distinct rows wanted for `{part}`, but only {found} were found; ask for fewer")]
    Exhausted {
        /// Task name.
        world: &'static str,
        /// Part of the gold data.
        part: &'static str,
        /// Rows wanted.
        wanted: usize,
        /// Rows found.
        found: usize,
    },
    /// A parameter of the simulated teacher is out of range.
    #[error("teacher.simulated.{field}: {value} is not {range}")]
    Parameter {
        /// Name of the parameter.
        field: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        range: &'static str,
    },
}
