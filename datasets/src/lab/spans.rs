//! `lab-spans`, after AdversarialQA: who gave, got or kept the thing?
//!
//! A context tells who handed what to whom and who kept something else. A question names a kind of thing and a role. The
//! roles depend on the verb, on elided subjects and on which thing is meant.
//!
//! Unfamiliar forms hold 66% of the gold distribution: on AdversarialQA the student of ZeroGen reaches an exact match of
//! 6.33 where gold data reaches 18.6, so it loses 66% of what a student can learn there.

use super::template::{Lexicon, Slot};
use super::world::{Choice, Form, Scene, World};
use crate::Kind;

const ROLES: &[&str] = &["giver", "receiver", "second receiver", "keeper"];
const GIVER: usize = 0;
const RECEIVER: usize = 1;
const SECOND: usize = 2;
const KEEPER: usize = 3;

const FORMS: &[Form] = &[
    Form { name: "action", weight: 0.34, familiar: true },
    Form { name: "converse", weight: 0.33, familiar: false },
    Form { name: "state", weight: 0.33, familiar: false },
];

/// Questions for the giver, the receiver and the keeper, by form; `_` stands for the kind of thing.
const QUESTIONS: [[[&str; 2]; 3]; 3] = [
    [
        ["who gave the _ away ?", "who passed the _ on ?"],
        ["by whom was the _ given ?", "from whom did the _ come ?"],
        ["who had the _ first ?", "who had the _ before ?"],
    ],
    [
        ["who got the _ ?", "who received the _ ?"],
        ["to whom was the _ given ?", "to whom did the _ go ?"],
        ["who has the _ now ?", "who holds the _ now ?"],
    ],
    [
        ["who kept the _ ?", "who held on to the _ ?"],
        ["with whom did the _ stay ?", "by whom was the _ kept ?"],
        ["who always had the _ ?", "who still has the _ ?"],
    ],
];

/// Kinds of thing: class and name. A context tells of two kinds, in this order.
const KINDS: [(char, &str); 3] = [('E', "food"), ('F', "vehicle"), ('G', "garment")];

/// A role in a scene: which, whose slot, and of which of the two things (0 or 1).
type Part = (usize, &'static str, usize);

/// Constructions: context with `_` for the first thing and `~` for the second, and its roles.
const CONTEXTS: [(&str, &[Part]); 4] = [
    ("N1 gave the _ to N2 . N3 kept the ~ .", &[(GIVER, "N1", 0), (RECEIVER, "N2", 0), (KEEPER, "N3", 1)]),
    ("N1 got the _ from N2 . N3 kept the ~ .", &[(GIVER, "N2", 0), (RECEIVER, "N1", 0), (KEEPER, "N3", 1)]),
    ("N1 gave the _ to N2 but kept the ~ .", &[(GIVER, "N1", 0), (RECEIVER, "N2", 0), (KEEPER, "N1", 1)]),
    ("N1 gave the _ to N2 and the ~ to N3 .", &[(GIVER, "N1", 0), (RECEIVER, "N2", 0), (SECOND, "N3", 1)]),
];

pub(super) fn world() -> World {
    let lexicon = Lexicon::new(&[
        ('E', "soup bread rice cake"),
        ('F', "bus car truck van"),
        ('G', "coat hat shirt scarf"),
        ('N', "anna omar maria ivan lena"),
    ]);
    let slot = |name: &str| -> Option<Slot> { lexicon.slot(name) };
    let mut scenes = Vec::new();
    for (construction, (context, parts)) in CONTEXTS.into_iter().enumerate() {
        for (first, &one) in KINDS.iter().enumerate() {
            for &two in &KINDS[first + 1..] {
                let context = context.replace('_', &format!("{}1", one.0)).replace('~', &format!("{}1", two.0));
                let mut choices = Vec::new();
                for &(outcome, who, thing) in parts {
                    let questions = &QUESTIONS[[0, 1, 1, 2][outcome]];
                    let kind = [one, two][thing].1;
                    for (form, lines) in questions.iter().enumerate() {
                        let wordings = lines.iter().map(|line| lexicon.compile(&line.replace('_', kind))).collect();
                        choices.push(Choice { outcome, form, answer: slot(who), probability: 0.0, wordings });
                    }
                }
                scenes.push(Scene { construction, context: lexicon.compile(&context), choices });
            }
        }
    }
    World {
        name: "lab-spans",
        kind: Kind::Qa,
        outcomes: ROLES,
        lexicon,
        constructions: &[("handover", 0.35), ("converse", 0.25), ("elided subject", 0.2), ("two things", 0.2)],
        forms: FORMS,
        frames: Vec::new(),
        scenes,
        cells: Vec::new(),
    }
    .finish()
}
