//! `lab-questions`, after QNLI: is the answer to the question in the paragraph?
//!
//! A paragraph tells two facts about an animal and a vehicle: where it is, its colour, or who has it. Slot
//! presence is easy to see; that the fact belongs to the *other* thing (`crossed`), or is denied (`negated`), needs binding
//! and scope.
//!
//! Unfamiliar forms hold 38.5% of the gold distribution: ZeroGen's student errs on 29% of QNLI, which is 75% of 38.5%.

use super::template::Lexicon;
use super::world::{Choice, Form, Scene, World};
use crate::Kind;

const LABELS: &[&str] = &["in", "not_in"];
const IN: usize = 0;
const NOT_IN: usize = 1;

const FORMS: &[Form] = &[
    Form { name: "direct", weight: 0.50, familiar: true },
    Form { name: "pronoun", weight: 0.50, familiar: false },
    Form { name: "absent", weight: 0.38, familiar: true },
    Form { name: "crossed", weight: 0.62, familiar: false },
    Form { name: "negated", weight: 0.62, familiar: false },
];
const DIRECT: usize = 0;
const PRONOUN: usize = 1;
const ABSENT: usize = 2;
const CROSSED: usize = 3;
const NEGATED: usize = 4;

const PLAIN: usize = 0;
const COREFERENCE: usize = 1;
const DENIAL: usize = 2;

/// Something that can be said of a thing: the statement, and ways to ask for it with `_` for the thing.
const FACTS: [(&str, [&str; 2]); 3] = [
    ("is in P1", ["where is the _ ?", "in which place is the _ ?"]),
    ("is C1", ["what colour is the _ ?", "which colour has the _ ?"]),
    ("is with N1", ["who has the _ ?", "which person has the _ ?"]),
];

pub(super) fn world() -> World {
    let lexicon = Lexicon::new(&[
        ('E', "dog cat horse cow"),
        ('F', "bus car truck van"),
        ('P', "rome paris cairo lima"),
        ('N', "anna omar maria ivan"),
        ('C', "red blue green white"),
    ]);
    const ANIMAL: &str = "animal";
    const VEHICLE: &str = "vehicle";
    let ask = |pairs: &[(usize, &str)]| {
        let all = pairs.iter().flat_map(|&(fact, thing)| FACTS[fact].1.map(|question| question.replace('_', thing)));
        all.map(|line| lexicon.compile(&line)).collect::<Vec<_>>()
    };
    let choice = |outcome, form, asked: &[(usize, &str)]| {
        let wordings = ask(asked);
        Choice { outcome, form, answer: None, probability: 0.0, wordings }
    };
    let mut scenes = Vec::new();
    for (first, &(told_first, _)) in FACTS.iter().enumerate() {
        for (second, &(told_second, _)) in FACTS.iter().enumerate().filter(|&(second, _)| second != first) {
            let untold: Vec<(usize, &str)> = (0..FACTS.len())
                .filter(|fact| ![first, second].contains(fact))
                .flat_map(|fact| [(fact, ANIMAL), (fact, VEHICLE)])
                .collect();
            let mut scene = |construction, context: String, mut choices: Vec<Choice>| {
                choices.push(choice(NOT_IN, ABSENT, &untold));
                scenes.push(Scene { construction, context: lexicon.compile(&context), choices });
            };
            let direct = choice(IN, DIRECT, &[(first, ANIMAL), (second, VEHICLE)]);
            let crossed = choice(NOT_IN, CROSSED, &[(first, VEHICLE), (second, ANIMAL)]);
            scene(PLAIN, format!("the E1 {told_first} . the F1 {told_second} ."), vec![direct, crossed]);
            let direct = choice(IN, DIRECT, &[(first, ANIMAL)]);
            let pronoun = choice(IN, PRONOUN, &[(second, ANIMAL)]);
            let crossed = choice(NOT_IN, CROSSED, &[(first, VEHICLE), (second, VEHICLE)]);
            scene(
                COREFERENCE,
                format!("the E1 {told_first} and it {told_second} . the F1 is small ."),
                vec![direct, pronoun, crossed],
            );
            let direct = choice(IN, DIRECT, &[(second, VEHICLE)]);
            let negated = choice(NOT_IN, NEGATED, &[(first, ANIMAL)]);
            scene(DENIAL, format!("it is false that the E1 {told_first} . the F1 {told_second} ."), vec![direct, negated]);
        }
    }
    World {
        name: "lab-questions",
        kind: Kind::Pair,
        outcomes: LABELS,
        lexicon,
        constructions: &[("plain", 0.5), ("coreference", 0.3), ("denial", 0.2)],
        forms: FORMS,
        frames: Vec::new(),
        scenes,
        cells: Vec::new(),
    }
    .finish()
}
