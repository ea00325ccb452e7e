//! What the simulated teacher writes.

use std::collections::BTreeSet;

use rand::Rng;

use super::distribution::same_request;
use super::template::Binding;
use super::world::{Choice, pick};
use super::{Error, Params, World};
use crate::{Example, Kind, Target};

/// What a seed request asks for.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// An example with this label.
    Label(usize),
    /// A question with this answer.
    Answer(&'a str),
}

/// What a refusal reads like.
pub const REFUSAL: &str = "i am sorry, i cannot write that.";

/// Attempts at text that differs from the parent's.
const FRESH: usize = 40;

/// Attempts at a rationale not yet on the list, for every one asked for.
const DISTINCT: usize = 20;

/// A teacher for one world. All it knows of a request is text: it parses what it is shown.
pub struct Writer<'a> {
    world: &'a World,
    params: &'a Params,
}

/// What the text will say.
struct Plan {
    scene: usize,
    binding: Binding,
    choice: usize,
    frames: Vec<usize>,
}

impl World {
    /// A teacher with these parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] if one is out of range.
    pub fn writer<'a>(&'a self, params: &'a Params) -> Result<Writer<'a>, Error> {
        params.validate()?;
        Ok(Writer { world: self, params })
    }
}

impl Writer<'_> {
    /// Up to `count` distinct reasons for `label`: short statements such as "the plot was not dull", in the proportions of the
    /// gold distribution.
    ///
    /// # Errors
    /// [`Error::NoRationales`] outside single texts, [`Error::Outcome`] for an unknown label.
    pub fn rationales(&self, label: usize, count: usize, rng: &mut impl Rng) -> Result<Vec<String>, Error> {
        if self.world.kind != Kind::Single {
            return Err(Error::NoRationales { world: self.world.name });
        }
        let like = self.candidate(0, |choice| choice.outcome == label).ok_or_else(|| self.no_outcome(&label.to_string()))?;
        let (mut reasons, mut known) = (Vec::new(), BTreeSet::new());
        for _ in 0..count * DISTINCT {
            if reasons.len() == count {
                break;
            }
            let alike = self.alike(0, like);
            let Some(at) = pick(alike.iter().map(|&choice| self.choice(0, choice).probability), rng) else { break };
            let reason = self.world.write(0, alike[at], &[], &mut Vec::new(), rng);
            if known.insert(reason.clone()) {
                reasons.push(reason);
            }
        }
        Ok(reasons)
    }

    /// One seed example: the text, hypothesis or question that goes with `context` and `wanted`. `rationales`: whether the
    /// request names any.
    ///
    /// # Errors
    /// [`Error::Foreign`] if `context` is not of this world, [`Error::Outcome`] if it admits no such label or answer.
    pub fn seed(&self, context: Option<&str>, wanted: Wanted<'_>, rationales: bool, rng: &mut impl Rng) -> Result<String, Error> {
        let context = context.unwrap_or("");
        let (scene, binding) = self.world.read_context(context).into_iter().next().ok_or_else(|| self.world.foreign(context))?;
        let fits = |choice: &Choice| match wanted {
            Wanted::Label(label) => choice.answer.is_none() && choice.outcome == label,
            Wanted::Answer(answer) => choice.answer.and_then(|slot| self.world.lexicon.word(slot, &binding)) == Some(answer),
        };
        let like = self.candidate(scene, fits).ok_or_else(|| match wanted {
            Wanted::Label(label) => self.no_outcome(&label.to_string()),
            Wanted::Answer(answer) => self.no_outcome(answer),
        })?;
        let plan = self.seed_plan(scene, binding, like, rationales, rng);
        Ok(self.finish(plan, like, "", rng))
    }

    /// One example like `parent`, with its context and its label or answer.
    ///
    /// # Errors
    /// [`Error::Foreign`] if `parent` is not of this world, [`Error::Outcome`] if its target is not what its text says.
    pub fn extrapolate(&self, parent: &Example, rng: &mut impl Rng) -> Result<String, Error> {
        let parsed = self.world.parse(&parent.input).ok_or_else(|| self.world.foreign(parent.input.written()))?;
        let wanted = match &parent.target {
            Target::Label(label) => Wanted::Label(*label),
            Target::Answers(answers) => Wanted::Answer(answers.first().map_or("", |answer| &answer.text)),
        };
        let consistent = match wanted {
            Wanted::Label(label) => self.choice(parsed.scene, parsed.choice).outcome == label,
            Wanted::Answer(answer) => {
                let slot = self.choice(parsed.scene, parsed.choice).answer;
                slot.and_then(|slot| self.world.lexicon.word(slot, &parsed.binding)) == Some(answer)
            }
        };
        if !consistent || rng.random::<f64>() >= self.params.fidelity {
            return self.seed(parent.input.context(), wanted, false, rng);
        }
        let context = parent.input.context().unwrap_or("");
        let (scene, binding) = self.world.read_context(context).into_iter().next().ok_or_else(|| self.world.foreign(context))?;
        let plan = Plan { scene, binding, choice: parsed.choice, frames: parsed.frames };
        Ok(self.finish(plan, parsed.choice, parent.input.written(), rng))
    }

    /// A plan for seed text that answers the same request as choice `like` of `scene`.
    fn seed_plan(&self, scene: usize, binding: Binding, like: usize, rationales: bool, rng: &mut impl Rng) -> Plan {
        let alike = self.alike(scene, like);
        let choices: Vec<&Choice> = alike.iter().map(|&choice| self.choice(scene, choice)).collect();
        let at = pick(self.params.seed_weights(self.world, &choices, rationales).into_iter(), rng);
        Plan { scene, binding, choice: at.map_or(like, |at| alike[at]), frames: self.world.draw_frames(rng) }
    }

    /// Turns a plan into text, with the teacher's faults: refusals, text of another label or answer, quotes. `asked` is a
    /// choice that has the label or answer asked for; the text will differ from `known`.
    fn finish(&self, plan: Plan, asked: usize, known: &str, rng: &mut impl Rng) -> String {
        if rng.random::<f64>() < self.params.junk_rate {
            return REFUSAL.to_owned();
        }
        let mut plan = plan;
        if rng.random::<f64>() < self.params.label_noise {
            let choices = &self.world.scenes[plan.scene].choices;
            let other = |choice: &Choice| f64::from(!same_request(choice, &choices[asked])) * choice.probability;
            if let Some(wrong) = pick(choices.iter().map(other), rng) {
                plan = self.seed_plan(plan.scene, plan.binding, wrong, false, rng);
            }
        }
        let mut write = || self.world.write(plan.scene, plan.choice, &plan.frames, &mut plan.binding.clone(), rng);
        let mut text = write();
        for _ in 1..FRESH {
            if text != known {
                break;
            }
            text = write();
        }
        let cue = self.params.cue_rate(self.world, self.choice(plan.scene, asked).outcome);
        if rng.random::<f64>() < cue { format!("\"{text}\"") } else { text }
    }

    fn choice(&self, scene: usize, choice: usize) -> &Choice {
        &self.world.scenes[scene].choices[choice]
    }

    fn candidate(&self, scene: usize, fits: impl Fn(&Choice) -> bool) -> Option<usize> {
        self.world.scenes[scene].choices.iter().position(fits)
    }

    /// Indices of the choices of `scene` that answer the same request as `like`.
    fn alike(&self, scene: usize, like: usize) -> Vec<usize> {
        let same = |&choice: &usize| same_request(self.choice(scene, choice), self.choice(scene, like));
        (0..self.world.scenes[scene].choices.len()).filter(same).collect()
    }

    fn no_outcome(&self, wanted: &str) -> Error {
        Error::Outcome { world: self.world.name, wanted: wanted.to_owned() }
    }
}
