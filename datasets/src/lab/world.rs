//! A world: its attributes, their gold probabilities, and the templates that realise them.

use rand::Rng;

use super::Error;
use super::template::{Binding, Lexicon, Slot, Template, join, read, split};
use crate::{Answer, Input, Kind, Target};

/// The probability of an unfamiliar form in seed data, relative to a familiar one, at narrowness 1 (see
/// [`Params`](super::Params)). An assumption: nothing measured says how rare they are.
pub const UNFAMILIAR: f64 = 0.05;

/// One lab task.
pub struct World {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Label names, or the roles an answer can have (question answering).
    pub(super) outcomes: &'static [&'static str],
    pub(super) lexicon: Lexicon,
    /// Constructions of the context with their gold probabilities; one unnamed construction for a single text.
    pub(super) constructions: &'static [(&'static str, f64)],
    /// Forms of the written part.
    pub(super) forms: &'static [Form],
    /// Independent attributes that surround the written part.
    pub(super) frames: Vec<Frame>,
    pub(super) scenes: Vec<Scene>,
    /// Every attribute combination of positive gold probability.
    pub(super) cells: Vec<Cell>,
}

/// How the written part makes its point.
pub(super) struct Form {
    pub(super) name: &'static str,
    /// Gold weight against the other forms that fit the same context and outcome.
    pub(super) weight: f64,
    /// Whether seed data has its fair share of it.
    pub(super) familiar: bool,
}

/// An attribute that adds words before or after the written part.
pub(super) struct Frame {
    pub(super) name: &'static str,
    pub(super) values: Vec<FrameValue>,
}

/// One value of a [`Frame`].
pub(super) struct FrameValue {
    pub(super) name: &'static str,
    pub(super) probability: f64,
    pub(super) before: Template,
    pub(super) after: Template,
}

/// A context template with everything that can be written about it. The scenes of one construction are equally likely and
/// offer the same (outcome, form) pairs, so which of them was drawn is a nuisance variable.
pub(super) struct Scene {
    pub(super) construction: usize,
    pub(super) context: Template,
    pub(super) choices: Vec<Choice>,
}

/// One thing to write.
pub(super) struct Choice {
    pub(super) outcome: usize,
    pub(super) form: usize,
    /// The slot of the context that holds the answer (question answering).
    pub(super) answer: Option<Slot>,
    /// Gold probability given the scene.
    pub(super) probability: f64,
    /// Equally likely wordings.
    pub(super) wordings: Vec<Template>,
}

/// One point of the attribute space.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) construction: usize,
    pub(super) outcome: usize,
    pub(super) form: usize,
    pub(super) frames: Vec<usize>,
    pub(super) probability: f64,
}

/// What [`World::parse`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// Index of the attribute combination.
    pub cell: usize,
    pub(super) scene: usize,
    pub(super) choice: usize,
    pub(super) frames: Vec<usize>,
    pub(super) binding: Binding,
}

impl World {
    /// Task name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Kind of task.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Number of attribute combinations.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Names and values of the attributes of combination `cell` (below [`cells`](Self::cells)), the outcome among them.
    pub fn attributes(&self, cell: usize) -> Vec<(&'static str, &'static str)> {
        let cell = &self.cells[cell];
        let mut attributes = Vec::new();
        if self.kind != Kind::Single {
            attributes.push(("context", self.constructions[cell.construction].0));
        }
        attributes.push(("form", self.forms[cell.form].name));
        attributes.push((if self.kind == Kind::Qa { "role" } else { "label" }, self.outcomes[cell.outcome]));
        attributes.extend(self.frames.iter().zip(&cell.frames).map(|(frame, &value)| (frame.name, frame.values[value].name)));
        attributes
    }

    /// Whether seed data lacks the form of combination `cell`.
    pub fn unfamiliar(&self, cell: usize) -> bool {
        !self.forms[self.cells[cell].form].familiar
    }

    /// The inverse of realisation: attributes and surface choices of an input, or `None` if the world cannot say it.
    pub fn parse(&self, input: &Input) -> Option<Parsed> {
        self.readings(input).next()
    }

    /// What the world says about `input`: its label, or the answer's words and place. `None` if it does not parse.
    pub fn truth(&self, input: &Input) -> Option<Target> {
        let parsed = self.parse(input)?;
        self.target(&self.scenes[parsed.scene].choices[parsed.choice], &parsed.binding, input.context().unwrap_or(""))
    }

    /// Every parse of an input; a property test holds that there is at most one.
    pub(super) fn readings(&self, input: &Input) -> impl Iterator<Item = Parsed> {
        let fits = matches!(
            (self.kind, input),
            (Kind::Single, Input::Single { .. }) | (Kind::Pair, Input::Pair { .. }) | (Kind::Qa, Input::Qa { .. })
        );
        let words = split(input.written());
        let scenes = if fits { self.read_context(input.context().unwrap_or("")) } else { Vec::new() };
        scenes.into_iter().flat_map(move |(scene, binding)| self.read_written(scene, &binding, &words))
    }

    /// Scenes whose context reads as `context`.
    pub(super) fn read_context(&self, context: &str) -> Vec<(usize, Binding)> {
        let words = split(context);
        let fit = |(index, scene): (usize, &Scene)| Some((index, read(&[&scene.context], &self.lexicon, &words, &Vec::new())?));
        self.scenes.iter().enumerate().filter_map(fit).collect()
    }

    fn read_written(&self, scene: usize, binding: &Binding, words: &[&str]) -> Vec<Parsed> {
        let (mut found, all_frames) = (Vec::new(), self.frame_values());
        for (index, choice) in self.scenes[scene].choices.iter().enumerate() {
            for frames in &all_frames {
                for wording in &choice.wordings {
                    if let Some(binding) = read(&self.framed(wording, frames), &self.lexicon, words, binding) {
                        let cell = self.cell(self.scenes[scene].construction, choice, frames);
                        let frames = frames.clone();
                        found.extend(cell.map(|cell| Parsed { cell, scene, choice: index, frames, binding }));
                    }
                }
            }
        }
        found
    }

    /// Words for choice `choice` of scene `scene`; slots of the context are in `binding` already.
    pub(super) fn write(
        &self,
        scene: usize,
        choice: usize,
        frames: &[usize],
        binding: &mut Binding,
        rng: &mut impl Rng,
    ) -> String {
        let wordings = &self.scenes[scene].choices[choice].wordings;
        let wording = &wordings[rng.random_range(0..wordings.len())];
        let mut words = Vec::new();
        for part in self.framed(wording, frames) {
            part.realise(&self.lexicon, binding, rng, &mut words);
        }
        join(&words)
    }

    /// One example from the gold distribution.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Option<(Input, Target)> {
        let construction = pick(self.constructions.iter().map(|c| c.1), rng)?;
        let of_construction = |scene: &Scene| f64::from(scene.construction == construction);
        let scene = pick(self.scenes.iter().map(of_construction), rng)?;
        let choice = pick(self.scenes[scene].choices.iter().map(|c| c.probability), rng)?;
        let frames = self.draw_frames(rng);
        let (mut binding, mut words) = (Vec::new(), Vec::new());
        self.scenes[scene].context.realise(&self.lexicon, &mut binding, rng, &mut words);
        let context = join(&words);
        let target = self.target(&self.scenes[scene].choices[choice], &binding, &context)?;
        let text = self.write(scene, choice, &frames, &mut binding, rng);
        let input = match self.kind {
            Kind::Single => Input::Single { text },
            Kind::Pair => Input::Pair { text, text_pair: context },
            Kind::Qa => Input::Qa { question: text, context },
        };
        Some((input, target))
    }

    /// Values of the frames from their gold probabilities.
    pub(super) fn draw_frames(&self, rng: &mut impl Rng) -> Vec<usize> {
        self.frames.iter().filter_map(|frame| pick(frame.values.iter().map(|value| value.probability), rng)).collect()
    }

    /// The target of `choice` in `context`.
    fn target(&self, choice: &Choice, binding: &Binding, context: &str) -> Option<Target> {
        let Some(slot) = choice.answer else { return Some(Target::Label(choice.outcome)) };
        let text = self.lexicon.word(slot, binding)?;
        let mut start = 0;
        for word in context.split(' ') {
            if word.trim_end_matches(|c: char| !c.is_alphanumeric()) == text {
                return Some(Target::Answers(vec![Answer { text: text.to_owned(), start }]));
            }
            start += word.chars().count() + 1;
        }
        None
    }

    /// The combination of (construction, choice, frames), if it has one.
    pub(super) fn cell(&self, construction: usize, choice: &Choice, frames: &[usize]) -> Option<usize> {
        let same = |cell: &Cell| {
            (cell.construction, cell.outcome, cell.form) == (construction, choice.outcome, choice.form) && cell.frames == frames
        };
        self.cells.iter().position(same)
    }

    /// Every combination of frame values.
    fn frame_values(&self) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new()];
        for frame in &self.frames {
            let extend =
                |head: &Vec<usize>| (0..frame.values.len()).map(|v| [head.as_slice(), &[v]].concat()).collect::<Vec<_>>();
            all = all.iter().flat_map(extend).collect();
        }
        all
    }

    /// A wording with what the frames put around it: the first frame stands closest.
    fn framed<'a>(&'a self, wording: &'a Template, frames: &[usize]) -> Vec<&'a Template> {
        let values = || self.frames.iter().zip(frames).map(|(frame, &value)| &frame.values[value]);
        let before = values().rev().map(|value| &value.before);
        before.chain([wording]).chain(values().map(|value| &value.after)).collect()
    }

    /// Fills in what follows from the tables: probabilities of the choices, and the cells.
    pub(super) fn finish(mut self) -> Self {
        for scene in &mut self.scenes {
            let of = |outcome: usize| scene.choices.iter().filter(move |c| c.outcome == outcome);
            let present = (0..self.outcomes.len()).filter(|&outcome| of(outcome).next().is_some()).count() as f64;
            let weight = |choice: &Choice| self.forms[choice.form].weight;
            let totals: Vec<f64> = (0..self.outcomes.len()).map(|outcome| of(outcome).map(weight).sum()).collect();
            for choice in &mut scene.choices {
                choice.probability = self.forms[choice.form].weight / totals[choice.outcome] / present;
            }
        }
        for (construction, &(_, probability)) in self.constructions.iter().enumerate() {
            let Some(scene) = self.scenes.iter().find(|scene| scene.construction == construction) else { continue };
            for choice in &scene.choices {
                for frames in self.frame_values() {
                    let values = self.frames.iter().zip(&frames).map(|(frame, &value)| frame.values[value].probability);
                    let probability = probability * choice.probability * values.product::<f64>();
                    let (outcome, form) = (choice.outcome, choice.form);
                    self.cells.push(Cell { construction, outcome, form, frames, probability });
                }
            }
        }
        self
    }

    /// The error for a request that the world cannot serve.
    pub(super) fn foreign(&self, text: &str) -> Error {
        Error::Foreign { world: self.name, text: text.to_owned() }
    }
}

/// An index with probability proportional to its weight; `None` if all weights are zero.
pub(super) fn pick(weights: impl Iterator<Item = f64>, rng: &mut impl Rng) -> Option<usize> {
    let weights: Vec<f64> = weights.collect();
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    let mut last = None;
    for (index, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = Some(index);
        if left < weight {
            break;
        }
        left -= weight;
    }
    last
}
