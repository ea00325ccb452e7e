//! The teacher of the laboratory: it writes from stated distributions with stated faults, not from a language model.
//!
//! It reads the facts of a request, not its prompt, and sees of gold data only the text that the request shows. The answer
//! to a request is a function of the teacher's seed and the request alone.
//!
//! It has no tokeniser: the tokens that it reports, and that `--max-tokens` counts, are words, separated by white space.

use serde::{Deserialize, Serialize};
use stepsynth_datasets::lab::{self, Params, Wanted, World};
use stepsynth_datasets::random::generator;

use super::{Completion, FinishReason, Provenance, Request, RequestError, Step, Teacher, Usage};

/// Name in results, requests' identities and on the command line.
const NAME: &str = "simulated";

/// The simulated teacher, for every lab task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simulated {
    params: Params,
    seed: u64,
}

impl Simulated {
    /// A teacher with these parameters. Teachers of different seeds write different texts from one distribution.
    ///
    /// # Errors
    /// A parameter is out of range.
    pub fn new(params: Params, seed: u64) -> Result<Self, lab::Error> {
        params.validate()?;
        Ok(Self { params, seed })
    }

    fn answer(&self, request: &Request) -> Result<String, RequestError> {
        let world = lab::task(&request.task).ok_or_else(|| {
            let names: Vec<&str> = lab::all().map(World::name).collect();
            let (task, names) = (&request.task, names.join(", "));
            unsupported(format!(
                "the simulated teacher knows the lab tasks alone ({names}), not `{task}`; use one of them or another teacher"
            ))
        })?;
        let text = self.write(world, request).map_err(|error| unsupported(error.to_string()))?;
        text.ok_or_else(|| {
            unsupported(format!(
                "{}: the request names neither a label nor an answer, or no example to extrapolate",
                world.name()
            ))
        })
    }

    /// The text for `request`; `None` if the request lacks a fact that its step needs.
    fn write(&self, world: &World, request: &Request) -> Result<Option<String>, lab::Error> {
        let writer = world.writer(&self.params)?;
        let mut rng = generator(self.seed, &request.identity(NAME), 0);
        let about = &request.about;
        match request.step {
            Step::Rationale => {
                let Some(label) = about.label else { return Ok(None) };
                let reasons = writer.rationales(label, about.rationale_count, &mut rng)?;
                let lines = reasons.iter().enumerate().map(|(index, reason)| format!("{}. {reason}", index + 1));
                Ok(Some(lines.collect::<Vec<_>>().join("\n")))
            }
            Step::Seed => {
                let wanted = match (about.label, &about.answer) {
                    (Some(label), _) => Wanted::Label(label),
                    (None, Some(answer)) => Wanted::Answer(&answer.text),
                    (None, None) => return Ok(None),
                };
                writer.seed(about.context.as_deref(), wanted, !about.rationales.is_empty(), &mut rng).map(Some)
            }
            Step::Extrapolate => about.parent.as_ref().map(|parent| writer.extrapolate(parent, &mut rng)).transpose(),
        }
    }
}

fn unsupported(why: String) -> RequestError {
    RequestError::Unsupported(why)
}

/// Words, which stand for tokens: the simulated teacher has no tokeniser.
fn words(text: &str) -> Option<u64> {
    Some(text.split_whitespace().count() as u64)
}

impl Teacher for Simulated {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn provenance(&self) -> Provenance {
        Provenance::Simulated
    }

    fn complete(&self, requests: &[Request]) -> Vec<Result<Completion, RequestError>> {
        let complete = |request: &Request| {
            let text = self.answer(request)?;
            let usage = Usage { prompt_tokens: words(&request.prompt), completion_tokens: words(&text), usd: Some(0.0) };
            Ok(Completion { text, finish: FinishReason::Stop, usage, recorded: None })
        };
        requests.iter().map(complete).collect()
    }
}

#[cfg(test)]
mod tests {
    use stepsynth_datasets::lab::Part;
    use stepsynth_datasets::{Example, Target};

    use super::*;
    use crate::teacher::About;

    fn teacher(seed: u64) -> Simulated {
        Simulated::new(Params::ideal(), seed).unwrap()
    }

    fn request(task: &str, step: Step, sample: u64, parent: Option<Example>) -> Request {
        let label = parent.as_ref().map_or(Some(1), Example::label);
        let answer = parent.as_ref().and_then(|parent| match &parent.target {
            Target::Answers(answers) => answers.first().cloned(),
            Target::Label(_) => None,
        });
        let context = parent.as_ref().and_then(|parent| parent.input.context().map(str::to_owned));
        let about = About { label, answer, context, parent, rationale_count: 5, ..About::default() };
        Request { task: task.into(), step, prompt: "write one please".into(), prompt_id: "test@1".into(), sample, about }
    }

    fn text(teacher: &Simulated, request: Request) -> String {
        teacher.complete(&[request])[0].as_ref().unwrap().text.clone()
    }

    #[test]
    fn every_step_is_answered_in_every_world() {
        for world in lab::all() {
            for parent in world.gold(0, Part::Mine, 20).unwrap() {
                for step in [Step::Seed, Step::Extrapolate] {
                    let written = text(&teacher(0), request(world.name(), step, 0, Some(parent.clone())));
                    assert_eq!(world.truth(&parent.input.with_written(written)), Some(parent.target.clone()), "{step:?}");
                }
            }
        }
        let list = text(&teacher(0), request("lab-reviews", Step::Rationale, 0, None));
        assert!(list.starts_with("1. ") && list.lines().count() == 5, "{list}");
    }

    #[test]
    fn answers_depend_on_seed_and_request_alone() {
        let ask = |sample| request("lab-reviews", Step::Seed, sample, None);
        let together: Vec<_> = teacher(0).complete(&[ask(0), ask(1), ask(2)]).into_iter().map(|c| c.unwrap().text).collect();
        let alone: Vec<_> = [0, 1, 2].into_iter().map(|sample| text(&teacher(0), ask(sample))).collect();
        assert_eq!(together, alone);
        assert_ne!(alone[0], alone[1]);
        assert_ne!(alone[0], text(&teacher(1), ask(0)));
    }

    #[test]
    fn words_are_counted_and_nothing_is_paid() {
        let completion = teacher(0).complete(&[request("lab-reviews", Step::Seed, 0, None)]).remove(0).unwrap();
        let expected = completion.text.split(' ').count() as u64;
        assert_eq!(completion.usage, Usage { prompt_tokens: Some(3), completion_tokens: Some(expected), usd: Some(0.0) });
    }

    #[test]
    fn what_it_cannot_do_says_what_to_do() {
        let why = |request: Request| match teacher(0).complete(&[request]).remove(0) {
            Err(RequestError::Unsupported(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(request("imdb", Step::Seed, 0, None)).contains("lab-spans), not `imdb`; use one of them or another teacher"));
        assert!(why(request("lab-reviews", Step::Extrapolate, 0, None)).contains("no example to extrapolate"));
        assert!(why(request("lab-questions", Step::Rationale, 0, None)).contains("`rationales = false`"));
        assert!(Simulated::new(Params { fidelity: 2.0, ..Params::default() }, 0).is_err());
    }
}
