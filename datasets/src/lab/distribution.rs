//! Distributions over attributes and the distance between them.
//!
//! Text is a function of the attributes and of nuisance choices that are uniform given them, and it parses back. So the
//! total variation between two distributions of (text, label) that share this channel equals that between their
//! distributions of (attributes, label), and is a finite sum.

use super::world::Choice;
use super::{Params, World};
use crate::{Input, Kind, Target};

/// A distribution over attribute combinations with their true label.
///
/// Whatever the gold distribution never says (text that does not parse, or that parses but carries another label) is one
/// lump: as the gold distribution has no mass there, the lump's inner structure does not change any distance to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Mass of every combination, in the order of [`World::attributes`].
    pub cells: Vec<f64>,
    /// Mass of everything else.
    pub outside: f64,
}

impl Measure {
    fn zero(cells: usize) -> Self {
        Self { cells: vec![0.0; cells], outside: 0.0 }
    }

    /// Total mass.
    pub fn total(&self) -> f64 {
        self.cells.iter().sum::<f64>() + self.outside
    }

    /// Total variation, `1/2 sum |p - q|`, of two distributions over one world.
    pub fn tv(&self, other: &Self) -> f64 {
        let cells: f64 = self.cells.iter().zip(&other.cells).map(|(p, q)| (p - q).abs()).sum();
        (cells + (self.outside - other.outside).abs()) / 2.0
    }

    /// `(1 - weight) self + weight other`.
    #[must_use]
    pub fn mix(&self, weight: f64, other: &Self) -> Self {
        let mix = |p: f64, q: f64| (1.0 - weight) * p + weight * q;
        let cells = self.cells.iter().zip(&other.cells).map(|(&p, &q)| mix(p, q)).collect();
        Self { cells, outside: mix(self.outside, other.outside) }
    }

    /// The part of `goal` that this distribution lacks, `max(goal - self, 0)`, as a distribution: where an ideal student of
    /// this distribution errs. `None` if nothing is lacking.
    pub fn lacking(&self, goal: &Self) -> Option<Self> {
        let cells: Vec<f64> = self.cells.iter().zip(&goal.cells).map(|(p, q)| (q - p).max(0.0)).collect();
        let total: f64 = cells.iter().sum();
        (total > 0.0).then(|| Self { cells: cells.iter().map(|mass| mass / total).collect(), outside: 0.0 })
    }
}

impl World {
    /// The gold distribution `P_D`.
    pub fn gold_distribution(&self) -> Measure {
        Measure { cells: self.cells.iter().map(|cell| cell.probability).collect(), outside: 0.0 }
    }

    /// The empirical distribution of `rows`; all zero if there are none.
    pub fn empirical<'a>(&self, rows: impl IntoIterator<Item = (&'a Input, &'a Target)>) -> Measure {
        let (mut measure, mut count) = (Measure::zero(self.cells.len()), 0.0);
        for (input, target) in rows {
            match self.parse(input).filter(|_| self.agrees(input, target)) {
                Some(parsed) => measure.cells[parsed.cell] += 1.0,
                None => measure.outside += 1.0,
            }
            count += 1.0;
        }
        if count > 0.0 {
            measure.cells.iter_mut().for_each(|mass| *mass /= count);
            measure.outside /= count;
        }
        measure
    }

    /// Total variation between the empirical distribution of `rows` and `P_D`, in [0, 1]; 1 if there are no rows.
    ///
    /// It is about `sum_a sqrt(p_a (1 - p_a) / (2 pi n))` for `n` rows from `P_D` itself: see [`noise_floor`](Self::noise_floor).
    pub fn tv<'a>(&self, rows: impl IntoIterator<Item = (&'a Input, &'a Target)>) -> f64 {
        let empirical = self.empirical(rows);
        if empirical.total() == 0.0 { 1.0 } else { empirical.tv(&self.gold_distribution()) }
    }

    /// What [`tv`](Self::tv) is expected to be for `rows` independent rows from `P_D`, by the normal approximation of the
    /// counts.
    pub fn noise_floor(&self, rows: usize) -> f64 {
        let deviation = |cell: &super::world::Cell| {
            let p = cell.probability;
            (p * (1.0 - p) / (2.0 * std::f64::consts::PI * rows.max(1) as f64)).sqrt()
        };
        self.cells.iter().map(deviation).sum::<f64>().min(1.0)
    }

    fn agrees(&self, input: &Input, target: &Target) -> bool {
        match (self.truth(input), target) {
            (Some(Target::Answers(truth)), Target::Answers(given)) => given.first() == truth.first(),
            (Some(Target::Label(truth)), Target::Label(given)) => truth == *given,
            _ => false,
        }
    }

    /// Distribution of seed data, `P_LLM(0)`: contexts and labels (or answers) from the gold distribution, what is written
    /// from the teacher's. `rationales`: whether the requests name rationales.
    pub fn seed_distribution(&self, params: &Params, rationales: bool) -> Measure {
        self.written(params, &self.gold_distribution(), 0.0, rationales)
    }

    /// Distribution of additional data when the student errs on `errors`.
    pub fn additional_distribution(&self, params: &Params, errors: &Measure) -> Measure {
        self.written(params, errors, params.fidelity, false)
    }

    /// What the teacher writes when it is shown `shown`: with probability `fidelity` the same attributes, else seed text for
    /// the same context and label or answer.
    fn written(&self, params: &Params, shown: &Measure, fidelity: f64, rationales: bool) -> Measure {
        let mut measure = Measure::zero(self.cells.len());
        for (cell, &mass) in shown.cells.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
            measure.cells[cell] += mass * fidelity;
            self.spread_seed(params, cell, mass * (1.0 - fidelity), rationales, &mut measure);
        }
        let kept = (1.0 - params.junk_rate) * (1.0 - params.label_noise);
        for (cell, mass) in self.cells.iter().zip(&mut measure.cells) {
            *mass *= kept * (1.0 - params.cue_rate(self, cell.outcome));
        }
        measure.outside = shown.total() - measure.total();
        measure
    }

    /// Spreads `mass` as seed text over what has the context and the label or answer of `cell`.
    fn spread_seed(&self, params: &Params, cell: usize, mass: f64, rationales: bool, measure: &mut Measure) {
        let shown = &self.cells[cell];
        let Some(scene) = self.scenes.iter().find(|scene| scene.construction == shown.construction) else { return };
        let Some(like) = scene.choices.iter().find(|c| (c.outcome, c.form) == (shown.outcome, shown.form)) else { return };
        let alike: Vec<&Choice> = scene.choices.iter().filter(|choice| same_request(choice, like)).collect();
        let weights = params.seed_weights(self, &alike, rationales);
        for (target, to) in self.cells.iter().zip(&mut measure.cells).filter(|(c, _)| c.construction == shown.construction) {
            for (choice, weight) in alike.iter().zip(&weights) {
                if (choice.outcome, choice.form) == (target.outcome, target.form) {
                    let frames = self.frames.iter().zip(&target.frames).map(|(frame, &value)| frame.values[value].probability);
                    *to += mass * weight * frames.product::<f64>();
                }
            }
        }
    }

    /// Total variation between `P_train` and `P_D` before round 0 and after each of `rounds` rounds, for an ideal student,
    /// which errs exactly where `P_train` lacks mass: every round adds one row for each error of `mine_per_row` gold rows
    /// per seed row (the paper's algorithm 2 in the limit of many rows).
    pub fn ideal_rounds(&self, params: &Params, mine_per_row: f64, rounds: usize) -> Vec<f64> {
        let gold = self.gold_distribution();
        let mut train = self.seed_distribution(params, self.kind == Kind::Single);
        let (mut rows, mut distances) = (1.0, vec![train.tv(&gold)]);
        for _ in 0..rounds {
            if let Some(errors) = train.lacking(&gold) {
                let additional = mine_per_row * train.tv(&gold);
                train = train.mix(additional / (rows + additional), &self.additional_distribution(params, &errors));
                rows += additional;
            }
            distances.push(train.tv(&gold));
        }
        distances
    }
}

/// Whether two choices of one scene answer the same request: the same label, or the same answer.
pub(super) fn same_request(one: &Choice, other: &Choice) -> bool {
    match (one.answer, other.answer) {
        (Some(one), Some(other)) => one == other,
        _ => one.outcome == other.outcome,
    }
}
