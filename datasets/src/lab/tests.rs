use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::random::generator;
use crate::{Example, Input, Kind, Target, TaskSpec};

mod bag_of_words;

fn pairs(rows: &[Example]) -> impl Iterator<Item = (&Input, &Target)> {
    rows.iter().map(|row| (&row.input, &row.target))
}

/// What a teacher is asked for, given a gold example.
fn wanted(example: &Example) -> Wanted<'_> {
    match &example.target {
        Target::Label(label) => Wanted::Label(*label),
        Target::Answers(answers) => Wanted::Answer(&answers[0].text),
    }
}

fn seed_rows(world: &World, params: &Params, gold: &[Example], rationales: bool) -> Vec<Example> {
    let (writer, mut rng) = (world.writer(params).unwrap(), generator(5, "seed rows", 0));
    let write = |parent: &Example| {
        let text = writer.seed(parent.input.context(), wanted(parent), rationales, &mut rng).unwrap();
        Example { input: parent.input.with_written(text), ..parent.clone() }
    };
    gold.iter().map(write).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_text_parses_back_to_its_attributes(seed in any::<u64>(), world in 0..4_usize) {
        let world = all().nth(world).unwrap();
        for example in world.gold(seed, Part::Mine, 20).unwrap() {
            let readings: Vec<Parsed> = world.readings(&example.input).collect();
            prop_assert_eq!(readings.len(), 1, "{:?}", example.input);
            prop_assert_eq!(world.truth(&example.input), Some(example.target));
        }
    }

    #[test]
    fn every_combination_can_be_written_and_read(seed in any::<u64>(), world in 0..4_usize) {
        let world = all().nth(world).unwrap();
        let mut rng = generator(seed, "combinations", 0);
        for (index, scene) in world.scenes.iter().enumerate() {
            for (number, choice) in scene.choices.iter().enumerate() {
                let frames = world.draw_frames(&mut rng);
                let (mut binding, mut words) = (Vec::new(), Vec::new());
                scene.context.realise(&world.lexicon, &mut binding, &mut rng, &mut words);
                let context = template::join(&words);
                let text = world.write(index, number, &frames, &mut binding, &mut rng);
                let input = match world.kind {
                    Kind::Single => Input::Single { text },
                    Kind::Pair => Input::Pair { text, text_pair: context },
                    Kind::Qa => Input::Qa { question: text, context },
                };
                let parsed = world.parse(&input).unwrap();
                prop_assert_eq!(Some(parsed.cell), world.cell(scene.construction, choice, &frames), "{:?}", input);
                prop_assert_eq!((parsed.scene, parsed.choice, parsed.frames), (index, number, frames));
            }
        }
    }

    #[test]
    fn an_extrapolation_keeps_context_target_and_attributes(seed in any::<u64>(), world in 0..4_usize) {
        let (world, params) = (all().nth(world).unwrap(), Params::ideal());
        let writer = world.writer(&params).unwrap();
        let mut rng = generator(seed, "extrapolate", 0);
        for parent in world.gold(seed, Part::Mine, 10).unwrap() {
            let input = parent.input.with_written(writer.extrapolate(&parent, &mut rng).unwrap());
            prop_assert_ne!(&input, &parent.input);
            prop_assert_eq!(world.truth(&input), Some(parent.target));
            prop_assert_eq!(world.parse(&input).unwrap().cell, world.parse(&parent.input).unwrap().cell);
        }
    }

    #[test]
    fn total_variation_is_a_metric(masses in proptest::collection::vec((0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64), 2..20)) {
        let measure = |of: fn(&(f64, f64, f64)) -> f64| {
            let total: f64 = masses.iter().map(of).sum::<f64>() + 1e-9;
            Measure { cells: masses[1..].iter().map(|m| of(m) / total).collect(), outside: (of(&masses[0]) + 1e-9) / total }
        };
        let (p, q, r) = (measure(|m| m.0), measure(|m| m.1), measure(|m| m.2));
        prop_assert_eq!(p.tv(&p), 0.0);
        prop_assert_eq!(p.tv(&q), q.tv(&p));
        prop_assert!((0.0..=1.0 + 1e-12).contains(&p.tv(&q)));
        prop_assert!(p.tv(&r) <= p.tv(&q) + q.tv(&r) + 1e-12);
    }

    #[test]
    fn distributions_have_mass_one(
        rates in (0.0..=1.0_f64, 0.0..=1.0_f64, 0.0..=1.0_f64, 0.0..=1.0_f64), narrowness in 0.0..5.0_f64, world in 0..4_usize,
    ) {
        let (rationale_width, fidelity, label_noise, junk_rate) = rates;
        let world = all().nth(world).unwrap();
        let params = Params { rationale_width, fidelity, label_noise, junk_rate, narrowness, ..Params::default() };
        let gold = world.gold_distribution();
        let seed = world.seed_distribution(&params, true);
        let additional = seed.lacking(&gold).map(|errors| world.additional_distribution(&params, &errors));
        for measure in [Some(gold), Some(seed), additional].into_iter().flatten() {
            prop_assert!((measure.total() - 1.0).abs() < 1e-9, "{}", measure.total());
            prop_assert!(measure.cells.iter().chain([&measure.outside]).all(|&mass| mass >= -1e-12));
        }
    }
}

#[test]
fn the_label_is_a_function_of_the_attributes() {
    for world in all() {
        let mut distinct = HashSet::new();
        for cell in 0..world.cells() {
            assert!(distinct.insert(world.attributes(cell)), "{}: {:?} twice", world.name(), world.attributes(cell));
        }
    }
}

#[test]
fn scenes_of_one_construction_differ_in_nuisance_alone() {
    let shape = |scene: &world::Scene| {
        let of = |choice: &world::Choice| (choice.outcome, choice.form, choice.probability.to_bits());
        let alike =
            |choice: &world::Choice| scene.choices.iter().map(|c| distribution::same_request(c, choice)).collect::<Vec<_>>();
        scene.choices.iter().map(|choice| (of(choice), alike(choice))).collect::<Vec<_>>()
    };
    for world in all() {
        for (construction, _) in world.constructions.iter().enumerate() {
            let mut shapes = world.scenes.iter().filter(|scene| scene.construction == construction).map(shape);
            let first = shapes.next().expect("every construction has a scene");
            assert!(shapes.all(|shape| shape == first), "{}: {construction}", world.name());
        }
    }
}

#[test]
fn unfamiliar_shares_are_as_documented() {
    for (name, expected) in [("lab-reviews", 0.18), ("lab-questions", 0.385), ("lab-entailment", 0.47), ("lab-spans", 0.66)] {
        let world = task(name).unwrap();
        let share: f64 = (0..world.cells()).filter(|&c| world.unfamiliar(c)).map(|c| world.cells[c].probability).sum();
        assert!((share - expected).abs() < 1e-9, "{name}: {share}");
    }
}

#[test]
fn gold_data_follow_the_gold_distribution_and_are_balanced() {
    const ROWS: usize = 1000;
    for world in all() {
        let rows = world.gold(1, Part::Mine, ROWS).unwrap();
        // The expectation for independent rows, and half as much again for its own spread and for repeats drawn again.
        let (tv, bound) = (world.tv(pairs(&rows)), 1.5 * world.noise_floor(ROWS));
        assert!(tv < bound, "{}: {tv} >= {bound}", world.name());
        if world.kind() != Kind::Qa {
            let positive = rows.iter().filter(|row| row.label() == Some(1)).count() as f64 / ROWS as f64;
            assert!((positive - 0.5).abs() < 4.0 * (0.25 / ROWS as f64).sqrt(), "{}: {positive}", world.name());
        }
    }
}

#[test]
fn parts_are_distinct_disjoint_and_reproducible() {
    for world in all() {
        let part = |part, count| world.gold(3, part, count).unwrap();
        let (mine, select, test) = (part(Part::Mine, 300), part(Part::Select, 200), part(Part::Test, 200));
        let every = || mine.iter().chain(&select).chain(&test);
        assert_eq!(every().map(|row| &row.input).collect::<HashSet<_>>().len(), 700);
        let key = |row: &Example| row.input.context().unwrap_or(row.input.written()).to_owned();
        let keys = |rows: &[Example]| rows.iter().map(key).collect::<HashSet<_>>();
        assert!(keys(&mine).is_disjoint(&keys(&test)) && keys(&mine).is_disjoint(&keys(&select)));
        assert!(keys(&select).is_disjoint(&keys(&test)));
        assert_eq!(part(Part::Mine, 20), mine[..20]);
        assert_ne!(world.gold(4, Part::Mine, 20).unwrap(), mine[..20]);
    }
}

#[test]
fn more_gold_than_there_is_is_an_error() {
    let error = task("lab-entailment").unwrap().gold(0, Part::Select, 1_000_000).unwrap_err();
    let Error::Exhausted { wanted: 1_000_000, found, .. } = error else { panic!("{error}") };
    assert!(found > 1_000, "{found}");
    // A count that no memory holds costs no more than any other.
    const ABSURD: usize = usize::MAX / 2;
    let again = task("lab-spans").unwrap().gold(0, Part::Test, ABSURD).unwrap_err();
    assert!(matches!(again, Error::Exhausted { wanted: ABSURD, .. }), "{again}");
}

#[test]
fn texts_are_short_and_of_few_words() {
    for world in all() {
        let rows = world.gold(2, Part::Mine, 500).unwrap();
        let mut words = HashSet::new();
        for row in &rows {
            let text = format!("{} {}", row.input.written(), row.input.context().unwrap_or(""));
            let tokens = template::split(text.trim());
            assert!((6..=30).contains(&tokens.len()), "{}: {text}", world.name());
            words.extend(tokens.into_iter().map(str::to_owned));
        }
        words.extend(world.lexicon.words().map(str::to_owned));
        assert!(words.len() < 120, "{}: {}", world.name(), words.len());
        assert!(words.iter().all(|word| !word.contains(char::is_uppercase)));
    }
}

#[test]
fn written_rows_follow_the_exact_distributions() {
    const ROWS: usize = 1500;
    for world in all() {
        for params in
            [Params::default(), Params { cue_rates: [0.0; 2], rationale_width: 0.7, label_noise: 0.3, ..Params::default() }]
        {
            let gold = world.gold(7, Part::Mine, ROWS).unwrap();
            let shown = world.empirical(pairs(&gold));
            let seed = world.empirical(pairs(&seed_rows(world, &params, &gold, true)));
            let (writer, mut rng) = (world.writer(&params).unwrap(), generator(6, "additional rows", 0));
            let write = |parent: &Example| {
                let text = writer.extrapolate(parent, &mut rng).unwrap();
                Example { input: parent.input.with_written(text), ..parent.clone() }
            };
            let additional = world.empirical(pairs(&gold.iter().map(write).collect::<Vec<_>>()));
            // `shown` has sampling noise too, hence twice the floor, which is that of the (wider) gold distribution.
            let bound = 2.0 * world.noise_floor(ROWS);
            let far = seed.tv(&world.seed_distribution(&params, true));
            assert!(far < bound, "{} seed: {far} >= {bound}", world.name());
            let far = additional.tv(&world.additional_distribution(&params, &shown));
            assert!(far < bound, "{} additional: {far} >= {bound}", world.name());
        }
    }
}

#[test]
fn an_ideal_teacher_drives_the_distance_to_zero_and_one_without_fidelity_leaves_the_gap() {
    for world in all() {
        let ideal = world.ideal_rounds(&Params::ideal(), 1.0, 200);
        assert!(ideal.windows(2).all(|pair| pair[1] <= pair[0] + 1e-12), "{}: {ideal:?}", world.name());
        assert!(ideal[0] > 0.15 && ideal[200] < 0.05 * ideal[0], "{}: {} to {}", world.name(), ideal[0], ideal[200]);

        let blind = world.ideal_rounds(&Params { fidelity: 0.0, ..Params::ideal() }, 1.0, 200);
        // Without contexts nothing can change; with them the share of contexts and labels shifts, the form does not.
        let least = if world.kind() == Kind::Single { 1.0 - 1e-9 } else { 0.9 };
        assert!(blind.iter().all(|&tv| tv >= least * blind[0]), "{}: {blind:?}", world.name());
    }
}

#[test]
fn narrowness_zero_is_the_gold_distribution() {
    for world in all() {
        let params = Params { narrowness: 0.0, ..Params::ideal() };
        assert!(world.seed_distribution(&params, false).tv(&world.gold_distribution()) < 1e-12);
    }
}

#[test]
fn rationales_widen_seed_data_and_are_short_reasons() {
    let (world, params) = (task("lab-reviews").unwrap(), Params::default());
    let gold = world.gold_distribution();
    assert!(world.seed_distribution(&params, true).tv(&gold) < world.seed_distribution(&params, false).tv(&gold));
    let writer = world.writer(&params).unwrap();
    for label in 0..2 {
        let reasons = writer.rationales(label, 12, &mut generator(0, "reasons", 0)).unwrap();
        assert_eq!(reasons.iter().collect::<HashSet<_>>().len(), 12);
        assert!(reasons.iter().all(|reason| reason.split(' ').count() >= 4), "{reasons:?}");
    }
}

#[test]
fn quotes_and_refusals_come_at_their_rates() {
    const ROWS: usize = 2000;
    let (world, params) = (task("lab-entailment").unwrap(), Params { junk_rate: 0.1, ..Params::default() });
    let rows = seed_rows(world, &params, &world.gold(0, Part::Mine, ROWS).unwrap(), false);
    let mut counts = BTreeMap::<usize, (f64, f64)>::new();
    let mut refusals = 0.0;
    for row in &rows {
        let count = counts.entry(row.label().unwrap()).or_default();
        let text = row.input.written();
        if text == REFUSAL {
            refusals += 1.0;
        } else {
            *count = (count.0 + f64::from(text.starts_with('"') && text.ends_with('"')), count.1 + 1.0);
        }
    }
    let near = |part: f64, whole: f64, rate: f64| (part / whole - rate).abs() < 4.0 * (rate * (1.0 - rate) / whole).sqrt();
    assert!(near(counts[&0].0, counts[&0].1, 0.43) && near(counts[&1].0, counts[&1].1, 0.95), "{counts:?}");
    assert!(near(refusals, ROWS as f64, 0.1), "{refusals}");
}

#[test]
fn bad_requests_have_messages() {
    let params = Params::default();
    let mut rng = generator(0, "bad", 0);
    let (reviews, spans) = (task("lab-reviews").unwrap(), task("lab-spans").unwrap());
    let bad = Params { fidelity: f64::NAN, ..Params::default() };
    let message = |error: Error| error.to_string();
    assert_eq!(message(reviews.writer(&bad).err().unwrap()), "teacher.simulated.fidelity: NaN is not a number from 0 to 1");
    let writer = spans.writer(&params).unwrap();
    assert!(message(writer.seed(Some("hello."), Wanted::Answer("anna"), false, &mut rng).unwrap_err()).contains("`hello.`"));
    let context = spans.gold(0, Part::Mine, 1).unwrap()[0].input.context().unwrap().to_owned();
    assert!(message(writer.seed(Some(&context), Wanted::Answer("nobody"), false, &mut rng).unwrap_err()).contains("`nobody`"));
    assert!(message(writer.rationales(0, 1, &mut rng).unwrap_err()).contains("rationales = false"));
    let writer = reviews.writer(&params).unwrap();
    assert!(message(writer.seed(None, Wanted::Label(2), false, &mut rng).unwrap_err()).contains("`2`"));
    assert!(reviews.parse(&Input::Pair { text: "a".into(), text_pair: String::new() }).is_none());
    assert_eq!(reviews.tv([]), 1.0);
}

#[test]
fn worlds_agree_with_their_task_files() {
    for world in all() {
        let spec = TaskSpec::find(world.name()).unwrap();
        assert_eq!(spec.kind, world.kind());
        if spec.kind != Kind::Qa {
            assert_eq!(spec.labels, world.outcomes);
        }
    }
}
