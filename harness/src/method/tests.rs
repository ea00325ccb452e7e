//! The methods over a teacher that writes numbered texts, a student with scripted errors and a journal in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use stepsynth_datasets::{Answer, Example, Input, Target, TaskSpec};

use super::{Row, run};
use crate::experiment::cell::{Backing, Cell, Gold, Trained};
use crate::experiment::method_options::{MethodKind, MethodOptions, Mine, Size};
use crate::student::Prediction;
use crate::teacher::{Completion, FinishReason, Provenance, Recorded, Replay, Request, RequestError, Step, Teacher, Usage};

/// Answers with a text that names the request; `junk` says which answers are refusals.
struct Writer {
    junk: fn(&Request) -> bool,
}

impl Teacher for Writer {
    fn name(&self) -> String {
        "writer".into()
    }

    fn provenance(&self) -> Provenance {
        Provenance::Simulated
    }

    fn complete(&self, requests: &[Request]) -> Vec<Result<Completion, RequestError>> {
        let write = |request: &Request| {
            let text = match request.step {
                Step::Rationale => (1..=request.about.rationale_count).map(|n| format!("{n}. reason {n}\n")).collect(),
                _ if (self.junk)(request) => "I'm sorry, I cannot write that.".to_owned(),
                _ => format!("\"text {}\"", &request.identity("writer")[..16]),
            };
            Ok(Completion { text, finish: FinishReason::Stop, usage: Usage::default(), recorded: None })
        };
        requests.iter().map(write).collect()
    }
}

const WRITER: Writer = Writer { junk: |_| false };

/// A journal in memory, and a student that is wrong on the first `wrong[round]` gold examples.
#[derive(Default)]
struct Fake {
    wrong: Vec<usize>,
    gold: Vec<Example>,
    journal: RefCell<BTreeMap<String, String>>,
    /// Steps that may still run before the process "dies".
    lives: RefCell<Option<usize>>,
    trained: RefCell<Vec<(usize, Vec<Row>, bool)>>,
    recorded: RefCell<BTreeMap<(usize, String), f64>>,
}

impl Fake {
    fn counted(&self, round: usize, metric: &str) -> f64 {
        self.recorded.borrow().get(&(round, metric.to_owned())).copied().unwrap_or(0.0)
    }

    fn last_rows(&self) -> Vec<Row> {
        self.trained.borrow().last().unwrap().1.clone()
    }
}

impl Backing for Fake {
    fn step(&self, name: &str, work: &mut dyn FnMut() -> Result<String>) -> Result<String> {
        if let Some(kept) = self.journal.borrow().get(name) {
            return Ok(kept.clone());
        }
        match &mut *self.lives.borrow_mut() {
            Some(0) => bail!("killed"),
            Some(lives) => *lives -= 1,
            None => {}
        }
        let result = work()?;
        self.journal.borrow_mut().insert(name.to_owned(), result.clone());
        Ok(result)
    }

    fn train(&self, round: usize, rows: &[Row], last: bool) -> Result<Trained> {
        self.trained.borrow_mut().push((round, rows.to_vec(), last));
        let wrong = self.wrong.get(round).copied().unwrap_or(0);
        let predict = |(index, example): (usize, &Example)| match &example.target {
            Target::Label(label) => Prediction::Label { label: if index < wrong { 1 - label } else { *label }, logits: vec![] },
            Target::Answers(answers) => {
                let answer = if index < wrong { "nothing".to_owned() } else { answers[0].text.clone() };
                Prediction::Span { answer, start: 0, end: 0, score: 0.0 }
            }
        };
        Ok(Trained { mine: self.gold.iter().enumerate().map(predict).collect() })
    }

    fn record(&self, round: usize, metric: &str, value: f64) -> Result<()> {
        self.recorded.borrow_mut().insert((round, metric.to_owned()), value);
        Ok(())
    }
}

fn gold(task: &str) -> Vec<Example> {
    let example = |n: usize| match task {
        "imdb" => (Input::Single { text: format!("film {n}") }, Target::Label(n % 2)),
        "rte" => {
            // Two neighbours share a premise.
            (Input::Pair { text: format!("hypothesis {n}"), text_pair: format!("premise {}", n / 2) }, Target::Label(n % 2))
        }
        _ => (
            Input::Qa { question: format!("question {n}"), context: format!("name {n} is here") },
            Target::Answers(vec![Answer { text: format!("name {n}"), start: 0 }]),
        ),
    };
    (0..20).map(example).enumerate().map(|(n, (input, target))| Example { id: format!("g{n}"), input, target }).collect()
}

fn options(kind: MethodKind) -> MethodOptions {
    MethodOptions { seed_rows: 12, ..MethodOptions::new(kind) }
}

/// Runs a method on a task whose student is wrong on 5, then 3 of 20 gold examples.
fn run_with(task: &str, options: &MethodOptions, teacher: &dyn Teacher, fake: &Fake) -> Result<()> {
    let gold = Gold { train: gold(task), mine: gold(task), select: Vec::new() };
    let sizes = BTreeMap::from([("s3".to_owned(), 20)]);
    run(&Cell { task: &TaskSpec::find(task)?, gold: &gold, options, teacher, seed: 7, sizes, backing: fake })
}

fn fake(task: &str) -> Fake {
    Fake { wrong: vec![5, 3], gold: gold(task), ..Fake::default() }
}

fn rows_of(task: &str, options: &MethodOptions) -> Vec<Row> {
    let fake = fake(task);
    run_with(task, options, &WRITER, &fake).unwrap();
    fake.last_rows()
}

fn parents(rows: &[Row], round: usize) -> Vec<&str> {
    rows.iter().filter(|row| row.round == round).map(|row| row.parent.as_deref().unwrap()).collect()
}

#[test]
fn s3_trains_on_seed_and_all_additions_and_scores_once() {
    for task in ["imdb", "rte", "adqa"] {
        let fake = fake(task);
        run_with(task, &options(MethodKind::S3), &WRITER, &fake).unwrap();
        let shape: Vec<_> = fake.trained.borrow().iter().map(|(round, rows, last)| (*round, rows.len(), *last)).collect();
        assert_eq!(shape, [(0, 12, false), (1, 17, false), (2, 20, true)], "{task}");
        let rows = fake.last_rows();
        assert_eq!(parents(&rows, 1), ["g0", "g1", "g2", "g3", "g4"]);
        assert_eq!(parents(&rows, 2), ["g0", "g1", "g2"]);
        for row in rows.iter().filter(|row| row.round > 0) {
            let parent = &fake.gold.iter().find(|example| Some(&example.id) == row.parent.as_ref()).unwrap();
            assert_eq!(row.example.target, parent.target, "the error's label is kept");
            assert_eq!(row.example.input.context(), parent.input.context(), "and its context");
            assert_ne!(row.example.input.written(), parent.input.written());
        }
        let distinct = |of: fn(&Row) -> String| rows.iter().map(of).collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(|row| row.request_hash.clone()), 20, "no request is made twice");
        assert_eq!(distinct(|row| row.example.id.clone()), 20);
        assert_eq!(distinct(|row| row.example.input.written().to_owned()), 20);
        assert!(rows.iter().all(|row| row.filters == ["wrapping_quotes"] && row.teacher == "writer"));
        assert_eq!((fake.counted(0, "requests"), fake.counted(1, "requests")), (12.0, 5.0));
    }
}

#[test]
fn rationales_are_named_in_single_sentence_seeds_alone() {
    let imdb = rows_of("imdb", &options(MethodKind::S3));
    let seeds = || imdb.iter().filter(|row| row.round == 0);
    assert!(seeds().all(|row| row.rationales.len() == 2 && row.rationales[0] != row.rationales[1]));
    assert!(seeds().all(|row| row.prompt_id == "imdb-seed-from-rationales@1" && row.parent.is_none()));
    let plain = rows_of("imdb", &MethodOptions { rationales: false, ..options(MethodKind::S3) });
    assert!(plain.iter().filter(|row| row.round == 0).all(|row| row.rationales.is_empty() && row.prompt_id == "imdb-seed@1"));
    let rte = rows_of("rte", &options(MethodKind::S3));
    assert!(rte.iter().filter(|row| row.round == 0).all(|row| row.parent.is_some() && row.rationales.is_empty()));
    let labels: BTreeSet<_> = rte.iter().filter(|row| row.round == 0).map(|row| row.example.label()).collect();
    assert_eq!(labels.len(), 2, "both labels are drawn");
}

#[test]
fn switches_change_what_they_name_and_nothing_else() {
    let s3 = rows_of("rte", &options(MethodKind::S3));
    let random = rows_of("rte", &MethodOptions { mine: Mine::Random, ..options(MethodKind::S3) });
    assert_eq!((random.len(), parents(&random, 1).len()), (20, 5), "as many as there were errors");
    assert_ne!(parents(&random, 1), parents(&s3, 1));
    assert_eq!(random[..12], s3[..12], "the same seed data");

    let size = Some(Size::As("s3".into()));
    let seed_only = rows_of("rte", &MethodOptions { extrapolate: false, size: size.clone(), ..options(MethodKind::S3) });
    assert!(seed_only.len() == 20 && seed_only.iter().all(|row| row.round == 0));
    let two_each = rows_of("rte", &MethodOptions { per_error: 2, ..options(MethodKind::S3) });
    assert_eq!(parents(&two_each, 2), ["g0", "g0", "g1", "g1", "g2", "g2"]);

    let goldgen = rows_of("rte", &MethodOptions { size: size.clone(), ..options(MethodKind::GoldGen) });
    assert_eq!((goldgen.len(), parents(&goldgen, 1).len()), (20, 8), "held to S3's size");
    assert_eq!(
        goldgen[..12].iter().map(|r| &r.request_hash).collect::<Vec<_>>(),
        s3[..12].iter().map(|r| &r.request_hash).collect::<Vec<_>>()
    );
    let zerogen = rows_of("imdb", &MethodOptions { size, ..options(MethodKind::ZeroGen) });
    assert!(zerogen.len() == 20 && zerogen.iter().all(|row| row.rationales.is_empty()));
}

#[test]
fn gold_trains_on_gold_rows() {
    let all = rows_of("rte", &options(MethodKind::Gold));
    assert_eq!(all.iter().map(|row| &row.example).collect::<Vec<_>>(), gold("rte").iter().collect::<Vec<_>>());
    assert!(all.iter().all(|row| row.provenance == Provenance::None));
    assert_eq!(rows_of("rte", &MethodOptions { size: Some(Size::Rows(6)), ..options(MethodKind::Gold) }).len(), 6);
}

#[test]
fn rejected_answers_are_asked_for_again_then_counted() {
    let first_is_junk = Writer { junk: |request| request.step == Step::Extrapolate && request.sample == 0 };
    let fake = fake("rte");
    run_with("rte", &options(MethodKind::S3), &first_is_junk, &fake).unwrap();
    assert_eq!(fake.last_rows().len(), 20, "every second try passes");
    assert_eq!(
        (fake.counted(1, "requests"), fake.counted(1, "rejected_refusal"), fake.counted(1, "abandoned")),
        (10.0, 5.0, 0.0)
    );
    assert_eq!((fake.counted(2, "requests"), fake.counted(2, "rejected_refusal")), (3.0, 0.0), "numbering goes on over rounds");

    let always_junk = Writer { junk: |request| request.step == Step::Extrapolate };
    let fake = self::fake("rte");
    run_with("rte", &options(MethodKind::S3), &always_junk, &fake).unwrap();
    assert_eq!(fake.last_rows().len(), 12, "the size is of rows really obtained");
    assert_eq!(
        (fake.counted(1, "requests"), fake.counted(1, "rejected_refusal"), fake.counted(1, "abandoned")),
        (15.0, 15.0, 5.0)
    );
}

#[test]
fn a_run_killed_at_any_step_ends_with_the_same_rows() {
    let sometimes = Writer { junk: |request| request.identity("writer").as_bytes()[0] % 3 == 0 };
    let whole = fake("imdb");
    run_with("imdb", &options(MethodKind::S3), &sometimes, &whole).unwrap();
    let steps = whole.journal.borrow().len();
    assert_eq!(steps, 4, "rationales, seed, two rounds");
    for lives in 0..steps {
        let fake = fake("imdb");
        *fake.lives.borrow_mut() = Some(lives);
        assert!(run_with("imdb", &options(MethodKind::S3), &sometimes, &fake).is_err());
        *fake.lives.borrow_mut() = None;
        run_with("imdb", &options(MethodKind::S3), &sometimes, &fake).unwrap();
        assert_eq!(fake.last_rows(), whole.last_rows(), "killed after {lives} steps");
        assert_eq!(*fake.recorded.borrow(), *whole.recorded.borrow());
    }
}

#[test]
fn methods_held_to_a_size_replace_what_they_abandon() {
    // Some prompts are refused at every try of one draft.
    let picky = Writer { junk: |request| request.prompt.len() % 2 == 1 && request.sample % 6 < 3 };
    let retries = 2;
    let size = Some(Size::Rows(40));
    for kind in [MethodKind::ZeroGen, MethodKind::GoldGen] {
        let options = MethodOptions { size: size.clone(), retries, ..options(kind) };
        let fake = fake("rte");
        run_with("rte", &options, &picky, &fake).unwrap();
        let abandoned = fake.counted(0, "abandoned") + fake.counted(1, "abandoned");
        assert!(abandoned > 0.0, "{kind:?}");
        let rows = fake.last_rows();
        assert_eq!(rows.len(), 40, "{kind:?}: {abandoned} abandoned");
        assert_eq!(rows.iter().map(|row| &row.example.id).collect::<BTreeSet<_>>().len(), 40);
    }
    let never = Writer { junk: |_| true };
    let fake = fake("rte");
    let options = MethodOptions { size, retries: 0, rationales: false, ..options(MethodKind::ZeroGen) };
    run_with("rte", &options, &never, &fake).unwrap();
    assert_eq!((fake.last_rows().len(), fake.counted(0, "requests")), (0, 54.0), "40, then a tenth and ten more");
    let small = MethodOptions { size: Some(Size::Rows(5)), ..self::options(MethodKind::GoldGen) };
    let error = run_with("rte", &small, &WRITER, &self::fake("rte")).unwrap_err();
    assert_eq!(error.to_string(), "goldgen: 12 seed rows are more than its size, 5; lower `seed_rows`");
}

fn recorded(step: Step, id: String, text: &str, context: &str, label: usize) -> Recorded {
    let input = Input::Pair { text: text.into(), text_pair: context.into() };
    let example = Example { id, input, target: Target::Label(label) };
    Recorded { example, parent: None, round: usize::from(step == Step::Extrapolate), step, provenance: Provenance::Replayed }
}

#[test]
fn s3_replays_a_recording_without_inventing_or_repeating() {
    let mut rows: Vec<_> = (0..40).map(|n| recorded(Step::Seed, format!("s{n}"), "seed", &format!("own {n}"), n % 2)).collect();
    // Premise 0 goes with g0 (label 0) and g1 (label 1), premise 1 with g2 and g3; nothing is recorded for g4.
    for (id, context, label) in [("a", "premise  0", 0), ("b", "premise 0", 0), ("c", "premise 0", 1), ("d", "premise 1", 0)] {
        rows.push(recorded(Step::Extrapolate, id.into(), id, context, label));
    }
    let fake = fake("rte");
    run_with("rte", &options(MethodKind::S3), &Replay::new("rte", rows), &fake).unwrap();
    let got = fake.last_rows();
    let ids = |round: usize| got.iter().filter(|r| r.round == round).map(|r| r.example.id.as_str()).collect::<Vec<_>>();
    assert_eq!((ids(0).len(), ids(1), ids(2)), (12, vec!["a", "c", "d"], vec!["b"]));
    assert_eq!((fake.counted(1, "not_recorded"), fake.counted(2, "not_recorded")), (2.0, 2.0), "g3 and g4, then g1 and g2");
    assert!(
        got.iter().filter(|r| r.round == 0).all(|r| r.example.input.context().unwrap().starts_with("own") && r.parent.is_none())
    );
    assert!(got.iter().all(|row| row.teacher == "replay:rte" && row.provenance == Provenance::Replayed));
}

#[test]
fn zerogen_takes_recorded_additions_at_equal_total_size() {
    let mut rows: Vec<_> = (0..60).map(|n| recorded(Step::Seed, format!("s{n}"), "seed", "own", n % 2)).collect();
    rows.extend((0..5).map(|n| recorded(Step::Extrapolate, format!("a{n}"), &format!("added {n}"), "premise", n % 2)));
    rows.push(recorded(Step::Extrapolate, "junk".into(), "As an AI I have no opinion.", "premise", 0));
    let with = MethodOptions { additional: true, size: Some(Size::Rows(20)), ..options(MethodKind::ZeroGen) };
    let fake = fake("rte");
    run_with("rte", &with, &Replay::new("x", rows), &fake).unwrap();
    let got = fake.last_rows();
    assert_eq!((got.len(), got.iter().filter(|row| row.round == 1).count()), (20, 5));
    assert_eq!(fake.counted(1, "rejected_boilerplate"), 1.0);

    let error = run_with("rte", &with, &WRITER, &self::fake("rte")).unwrap_err();
    assert_eq!(error.to_string(), "`additional = true` needs a replay teacher, not `writer`: the rows come from its recording");
}

#[test]
fn rationales_that_no_one_has_end_the_cell_with_the_remedy() {
    let error = run_with("imdb", &options(MethodKind::S3), &Replay::new("x", Vec::new()), &fake("imdb")).unwrap_err();
    assert_eq!(error.to_string(), "teacher `replay:x` has no rationales for task `imdb`: set `rationales = false`");
}
