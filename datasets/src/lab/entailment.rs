//! `lab-entailment`, after RTE: does the hypothesis follow from the premise?
//!
//! A premise tells who did what to whom: an adult to a child, the other way round in the passive, or never. A hypothesis
//! says who gave or got something. That the event differs (`event`) shows in the words; that the roles are exchanged
//! (`swap`) does not.
//!
//! Unfamiliar forms hold 47% of the gold distribution: the released rounds imply that a student of seed data errs on 35% of
//! RTE, which is 75% of 47%.

use super::template::Lexicon;
use super::world::{Choice, Form, Scene, World};
use crate::Kind;

const LABELS: &[&str] = &["entailment", "not_entailment"];
const RIGHT: usize = 0;
const WRONG: usize = 1;

const FORMS: &[Form] = &[
    Form { name: "giver", weight: 0.53, familiar: true },
    Form { name: "receiver", weight: 0.47, familiar: false },
    Form { name: "event", weight: 0.53, familiar: true },
    Form { name: "swap", weight: 0.33, familiar: false },
    Form { name: "polarity", weight: 0.14, familiar: false },
];
const GIVER: usize = 0;
const RECEIVER: usize = 1;
const EVENT: usize = 2;
const SWAP: usize = 3;
const POLARITY: usize = 4;

/// Events: the class of verbs that tell one, and the noun that names it.
const EVENTS: [(char, &str); 3] = [('H', "help"), ('T', "thanks"), ('B', "blame")];

const ADULT: &str = "X1";
const CHILD: &str = "Y1";

pub(super) fn world() -> World {
    let lexicon = Lexicon::new(&[
        ('A', "nurse teacher doctor baker"),
        ('C', "boy girl toddler pupil"),
        ('H', "helped assisted supported"),
        ('T', "thanked credited acknowledged"),
        ('B', "blamed accused scolded"),
        ('D', "today yesterday again"),
        ('X', "adult grownup"),
        ('Y', "child kid"),
    ]);
    let mut scenes = Vec::new();
    for (verb, noun) in EVENTS {
        let others: Vec<&str> = EVENTS.iter().map(|event| event.1).filter(|other| *other != noun).collect();
        let contexts = [
            format!("the A1 {verb}1 the C1 D1 ."),
            format!("the A1 was {verb}1 by the C1 D1 ."),
            format!("the A1 never {verb}1 the C1 D1 ."),
        ];
        for (construction, context) in contexts.into_iter().enumerate() {
            let (giver, receiver) = if construction == 1 { (CHILD, ADULT) } else { (ADULT, CHILD) };
            let denied = construction == 2;
            let gave = |who: &str, what: &str, denied: bool| claim(who, ["gave", "offered"], what, denied);
            let got = |who: &str, what: &str, denied: bool| claim(who, ["got", "received"], what, denied);
            let choice = |outcome, form, lines: Vec<[String; 2]>| {
                let wordings = lines.as_flattened().iter().map(|line| lexicon.compile(line)).collect();
                Choice { outcome, form, answer: None, probability: 0.0, wordings }
            };
            let other_events = others.iter().flat_map(|other| [gave(giver, other, denied), got(receiver, other, denied)]);
            let choices = vec![
                choice(RIGHT, GIVER, vec![gave(giver, noun, denied)]),
                choice(RIGHT, RECEIVER, vec![got(receiver, noun, denied)]),
                choice(WRONG, EVENT, other_events.collect()),
                choice(WRONG, SWAP, vec![gave(receiver, noun, denied)]),
                choice(WRONG, POLARITY, vec![gave(giver, noun, !denied), got(receiver, noun, !denied)]),
            ];
            scenes.push(Scene { construction, context: lexicon.compile(&context), choices });
        }
    }
    World {
        name: "lab-entailment",
        kind: Kind::Pair,
        outcomes: LABELS,
        lexicon,
        constructions: &[("active", 0.6), ("passive", 0.2), ("denied", 0.2)],
        forms: FORMS,
        frames: Vec::new(),
        scenes,
        cells: Vec::new(),
    }
    .finish()
}

fn claim(who: &str, verbs: [&str; 2], what: &str, denied: bool) -> [String; 2] {
    verbs.map(|verb| format!("the {who} {}{verb} {what} .", if denied { "never " } else { "" }))
}
