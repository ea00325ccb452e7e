//! `lab-reviews`, after IMDb: is the review positive?
//!
//! Every form exists for both labels: `K` is a word of the label's own polarity and `O` one of the other, so all forms but
//! `plain` and `both` name words of both polarities or turn one around.
//!
//! Unfamiliar forms hold 18% of the gold distribution: the released rounds imply that a student of seed data errs on 13.16% of
//! IMDb, and 13.16% / 0.75 = 17.5%, rounded up to 18% (see the module `lab` for the rule and its assumptions).

use super::template::Lexicon;
use super::world::{Choice, Form, Frame, FrameValue, Scene, World};
use crate::Kind;

const LABELS: &[&str] = &["negative", "positive"];

const FORMS: &[Form] = &[
    Form { name: "plain", weight: 0.45, familiar: true },
    Form { name: "both", weight: 0.17, familiar: true },
    Form { name: "negated", weight: 0.20, familiar: true },
    Form { name: "although", weight: 0.06, familiar: false },
    Form { name: "but", weight: 0.05, familiar: false },
    Form { name: "hearsay", weight: 0.04, familiar: false },
    Form { name: "double", weight: 0.03, familiar: false },
];

/// Wordings of `FORMS`, in order.
const WORDINGS: [&[&str]; 7] = [
    &["the A1 was K1", "i found the A1 K1"],
    &["the A1 was K1 and the A2 was K2", "the A1 and the A2 were K1"],
    &["the A1 was not O1", "i never found the A1 O1"],
    &["although the A1 was O1 , the A2 was K1", "the A2 was K1 although the A1 was O1"],
    &["the A1 was O1 but the A2 was K1", "i found the A1 O1 but the A2 K1"],
    &["they called the A1 O1 and they were wrong", "they called the A1 K1 and they were right"],
    &["it is false that the A1 was not K1", "i never said that the A1 was not K1"],
];

pub(super) fn world() -> World {
    let lexicon = Lexicon::new(&[
        ('A', "plot acting music ending script cast pace dialogue"),
        ('G', "great moving clever funny fresh warm sharp lovely"),
        ('B', "dull weak boring flat stale cold messy awful"),
        ('R', "drama romance tragedy"),
        ('C', "comedy farce satire"),
        ('D', "monday friday sunday"),
    ]);
    let value = |name, probability, before, after| FrameValue {
        name,
        probability,
        before: lexicon.compile(before),
        after: lexicon.compile(after),
    };
    let frames = vec![
        Frame { name: "topic", values: vec![value("serious", 0.5, "this R1 :", ""), value("light", 0.5, "this C1 :", "")] },
        Frame { name: "length", values: vec![value("short", 0.7, "", "."), value("long", 0.3, "", ", seen on D1 .")] },
    ];
    let mut choices = Vec::new();
    for (outcome, [own, other]) in [["B", "G"], ["G", "B"]].into_iter().enumerate() {
        for (form, wordings) in WORDINGS.iter().enumerate() {
            let wording = |line: &&str| lexicon.compile(&line.replace('K', own).replace('O', other));
            let wordings = wordings.iter().map(wording).collect();
            choices.push(Choice { outcome, form, answer: None, probability: 0.0, wordings });
        }
    }
    let scenes = vec![Scene { construction: 0, context: lexicon.compile(""), choices }];
    World {
        name: "lab-reviews",
        kind: Kind::Single,
        outcomes: LABELS,
        lexicon,
        constructions: &[("none", 1.0)],
        forms: FORMS,
        frames,
        scenes,
        cells: Vec::new(),
    }
    .finish()
}
