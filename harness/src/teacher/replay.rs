//! The teacher that reads recorded rows.
//!
//! Which row answers a request is a function of that request alone, so a resumed run gives out the same rows as an
//! uninterrupted one, and no row is given out twice within a cell:
//!
//! * A seed request for label `y` gets the k-th recorded seed row with label `y`, in file order, where k is the request's
//!   `occurrence`. It brings its own context.
//! * An extrapolation of gold item `g` for label `y` gets the k-th recorded row with label `y` whose parent is `g`, where k is
//!   the request's `sample`; after those, the k-th row without a parent that has the context of `g` (apart from white space)
//!   and label `y`, where k is the `occurrence`. For questions the answer stands in for the label.
//! * Everything else is [`RequestError::NotRecorded`].

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use stepsynth_datasets::{Example, Target};

use super::{Completion, FinishReason, Provenance, Request, RequestError, Sources, Step, Teacher, Usage};
use crate::method::Row;

/// A recorded row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The example, as it was written.
    pub example: Example,
    /// Gold example that it was extrapolated from, where the recording says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Round that wrote it, 0 = seed data.
    pub round: usize,
    /// Kind of request that it answers.
    pub step: Step,
    /// `Simulated` if the laboratory's teacher wrote it, else `Replayed`.
    #[serde(default = "replayed")]
    pub provenance: Provenance,
}

fn replayed() -> Provenance {
    Provenance::Replayed
}

impl From<Row> for Recorded {
    fn from(row: Row) -> Self {
        let step = if row.round == 0 { Step::Seed } else { Step::Extrapolate };
        // Text of the laboratory stays that, however often it is read again.
        let provenance = match row.provenance {
            Provenance::Simulated => Provenance::Simulated,
            Provenance::Live | Provenance::Replayed | Provenance::None => Provenance::Replayed,
        };
        Self { example: row.example, parent: row.parent, round: row.round, step, provenance }
    }
}

/// What a recorded row must have in common with a request, next to the label or answer.
#[derive(PartialEq, Eq, Hash)]
enum Shared {
    Nothing,
    Parent(String),
    Context(String),
}

type Key = (Step, Shared, Option<Wanted>);

#[derive(PartialEq, Eq, Hash)]
enum Wanted {
    Label(usize),
    Answer(String),
}

/// The replay teacher.
pub struct Replay {
    name: String,
    rows: Vec<Recorded>,
    sources: Sources,
    /// Indices into `rows`, in file order.
    index: HashMap<Key, Vec<usize>>,
}

impl Replay {
    /// Gives out `rows`, which were read from the file with this stem (several: joined by `+`).
    pub fn new(stem: &str, rows: Vec<Recorded>) -> Self {
        let mut index: HashMap<Key, Vec<usize>> = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            if let Some(key) = Self::row_key(row) {
                index.entry(key).or_default().push(at);
            }
        }
        Self { name: format!("replay:{stem}"), rows, sources: Sources::default(), index }
    }

    /// The same teacher, whose rows came from these files.
    #[must_use]
    pub fn from_sources(self, sources: Sources) -> Self {
        Self { sources, ..self }
    }

    fn row_key(row: &Recorded) -> Option<Key> {
        let wanted = Some(match &row.example.target {
            Target::Label(label) => Wanted::Label(*label),
            Target::Answers(answers) => Wanted::Answer(answers.first()?.text.clone()),
        });
        match row.step {
            Step::Rationale => None,
            // Which answer a recorded question has is known from its row alone, so any one serves.
            Step::Seed => Some((Step::Seed, Shared::Nothing, wanted.filter(|wanted| matches!(wanted, Wanted::Label(_))))),
            Step::Extrapolate => {
                let shared = match (&row.parent, row.example.input.context()) {
                    (Some(parent), _) => Shared::Parent(parent.clone()),
                    (None, Some(context)) => Shared::Context(spaced(context)),
                    (None, None) => return None,
                };
                Some((Step::Extrapolate, shared, wanted))
            }
        }
    }

    fn row(&self, request: &Request) -> Option<&Recorded> {
        let about = &request.about;
        let wanted = || match (about.label, &about.answer) {
            (Some(label), _) => Some(Wanted::Label(label)),
            (None, answer) => answer.as_ref().map(|answer| Wanted::Answer(answer.text.clone())),
        };
        let nth = |shared: Shared, wanted: Option<Wanted>, n: u64| {
            let at = *self.index.get(&(request.step, shared, wanted))?.get(usize::try_from(n).ok()?)?;
            Some(&self.rows[at])
        };
        match request.step {
            Step::Rationale => None,
            Step::Seed => nth(Shared::Nothing, about.label.map(Wanted::Label), about.occurrence),
            Step::Extrapolate => {
                let parent = about.parent.as_ref()?;
                nth(Shared::Parent(parent.id.clone()), wanted(), request.sample)
                    .or_else(|| nth(Shared::Context(spaced(about.context.as_ref()?)), wanted(), about.occurrence))
            }
        }
    }
}

impl Teacher for Replay {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn provenance(&self) -> Provenance {
        let simulated = self.rows.iter().any(|row| row.provenance == Provenance::Simulated);
        if simulated { Provenance::Simulated } else { Provenance::Replayed }
    }

    fn complete(&self, requests: &[Request]) -> Vec<Result<Completion, RequestError>> {
        let answer = |request| {
            let row = self.row(request).ok_or(RequestError::NotRecorded)?;
            Ok(Completion {
                text: row.example.input.written().to_owned(),
                finish: FinishReason::Stop,
                usage: Usage::default(),
                recorded: Some(row.clone()),
            })
        };
        requests.iter().map(answer).collect()
    }

    fn recording(&self) -> Option<&[Recorded]> {
        Some(&self.rows)
    }

    fn sources(&self) -> Sources {
        self.sources.clone()
    }
}

/// Single spaces between words.
fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use stepsynth_datasets::{Answer, Input};

    use super::*;
    use crate::teacher::About;

    fn pair(id: &str, text: &str, context: &str, label: usize) -> Example {
        let input = Input::Pair { text: text.into(), text_pair: context.into() };
        Example { id: id.into(), input, target: Target::Label(label) }
    }

    fn recorded(step: Step, parent: Option<&str>, example: Example) -> Recorded {
        let round = usize::from(step == Step::Extrapolate);
        Recorded { example, parent: parent.map(str::to_owned), round, step, provenance: Provenance::Replayed }
    }

    fn request(step: Step, sample: u64, about: About) -> Request {
        Request { task: "rte".into(), step, prompt: String::new(), prompt_id: String::new(), sample, about }
    }

    fn extrapolate(gold: &Example, sample: u64, occurrence: u64) -> Request {
        let context = gold.input.context().map(str::to_owned);
        let about = About { label: gold.label(), parent: Some(gold.clone()), context, occurrence, ..About::default() };
        request(Step::Extrapolate, sample, about)
    }

    fn ids(replay: &Replay, requests: &[Request]) -> Vec<Option<String>> {
        replay.complete(requests).into_iter().map(|answer| answer.ok().map(|a| a.recorded.unwrap().example.id)).collect()
    }

    #[test]
    fn seeds_come_in_file_order_by_label_with_their_own_context() {
        let rows = [("a", 0), ("b", 1), ("c", 0)].map(|(id, label)| recorded(Step::Seed, None, pair(id, id, "own", label)));
        let replay = Replay::new("seed", rows.into());
        let seed = |label, occurrence| {
            let about = About { label: Some(label), context: Some("gold".into()), occurrence, ..About::default() };
            request(Step::Seed, 0, about)
        };
        let answers = replay.complete(&[seed(0, 1), seed(0, 0), seed(1, 0), seed(0, 2)]);
        assert_eq!(answers[0].as_ref().unwrap().recorded.as_ref().unwrap().example.input.context(), Some("own"));
        assert_eq!(answers[3], Err(RequestError::NotRecorded));
        let given = ids(&replay, &[seed(0, 1), seed(0, 0), seed(1, 0), seed(0, 2)]);
        assert_eq!(given, [Some("c".into()), Some("a".into()), Some("b".into()), None]);
        assert_eq!(replay.name(), "replay:seed");
    }

    #[test]
    fn extrapolations_match_the_parent_or_the_context_and_always_the_label() {
        let gold = pair("g", "h", "The  premise\nhere", 1);
        let replay = Replay::new(
            "x",
            vec![
                recorded(Step::Extrapolate, Some("g"), pair("by-parent", "p", "The premise here", 1)),
                recorded(Step::Extrapolate, None, pair("other-label", "q", "The premise here", 0)),
                recorded(Step::Extrapolate, None, pair("first", "r", "The premise here", 1)),
                recorded(Step::Extrapolate, None, pair("second", "s", "The premise  here", 1)),
                recorded(Step::Extrapolate, Some("h"), pair("other-parent", "t", "The premise here", 1)),
            ],
        );
        let same_premise = pair("g2", "other hypothesis", "The premise here", 1);
        let requests =
            [extrapolate(&gold, 0, 0), extrapolate(&same_premise, 0, 1), extrapolate(&gold, 1, 0), extrapolate(&gold, 1, 2)];
        let given = ids(&replay, &requests);
        assert_eq!(given, [Some("by-parent".into()), Some("second".into()), Some("first".into()), None]);
    }

    #[test]
    fn single_texts_without_a_parent_are_never_guessed() {
        let example = Example { id: "a".into(), input: Input::Single { text: "x".into() }, target: Target::Label(0) };
        let replay = Replay::new("x", vec![recorded(Step::Extrapolate, None, example.clone())]);
        assert_eq!(ids(&replay, &[extrapolate(&example, 0, 0)]), [None]);
        assert_eq!(replay.recording().map(<[_]>::len), Some(1), "but the rows can be had as they are");
        assert_eq!(ids(&replay, &[request(Step::Rationale, 0, About::default())]), [None]);
    }

    #[test]
    fn questions_match_by_context_and_answer() {
        let question = |id: &str, answer: &str| Example {
            id: id.into(),
            input: Input::Qa { question: id.into(), context: "Ann met Bob".into() },
            target: Target::Answers(vec![Answer { text: answer.into(), start: 0 }]),
        };
        let rows = [question("q1", "Ann"), question("q2", "Bob")].map(|row| recorded(Step::Extrapolate, None, row));
        let replay = Replay::new("x", rows.into());
        let about = About {
            parent: Some(question("g", "Bob")),
            context: Some("Ann met Bob".into()),
            answer: Some(Answer { text: "Bob".into(), start: 8 }),
            ..About::default()
        };
        assert_eq!(ids(&replay, &[request(Step::Extrapolate, 0, about)]), [Some("q2".into())]);
    }
}
