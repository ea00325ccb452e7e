//! A bag of words must not solve the tasks, or the student could do without reading.

use super::*;

const TRAIN: usize = 2000;
const TEST: usize = 600;
const STEPS: usize = 400;

/// Logistic regression on word counts (of either part), fitted by full-batch gradient descent.
struct Regression {
    words: BTreeMap<String, usize>,
    weights: Vec<f64>,
}

impl Regression {
    fn fit(rows: &[(Vec<String>, bool)]) -> Self {
        let mut words = BTreeMap::new();
        for word in rows.iter().flat_map(|row| &row.0) {
            let next = words.len();
            words.entry(word.clone()).or_insert(next);
        }
        let mut model = Self { weights: vec![0.0; words.len() + 1], words };
        for _ in 0..STEPS {
            let mut gradient = vec![0.0; model.weights.len()];
            for (text, label) in rows {
                let error = 1.0 / (1.0 + (-model.score(text)).exp()) - f64::from(*label);
                model.features(text).for_each(|feature| gradient[feature] += error);
            }
            for (weight, gradient) in model.weights.iter_mut().zip(gradient) {
                *weight -= 0.5 * gradient / rows.len() as f64;
            }
        }
        model
    }

    fn features(&self, text: &[String]) -> impl Iterator<Item = usize> {
        text.iter().filter_map(|word| self.words.get(word).copied()).chain([self.words.len()])
    }

    fn score(&self, text: &[String]) -> f64 {
        self.features(text).map(|feature| self.weights[feature]).sum()
    }
}

/// Words of the written part, marked, and of the context.
fn bag(input: &Input) -> Vec<String> {
    let written = template::split(input.written()).into_iter().map(|word| format!("w:{word}"));
    written.chain(template::split(input.context().unwrap_or("")).into_iter().map(str::to_owned)).collect()
}

#[test]
fn stays_clearly_below_the_oracle_on_labels() {
    for (name, bound) in [("lab-reviews", 0.85), ("lab-questions", 0.75), ("lab-entailment", 0.75)] {
        let world = task(name).unwrap();
        let rows = |part, count| {
            let gold = world.gold(0, part, count).unwrap();
            gold.iter().map(|row| (bag(&row.input), row.label() == Some(1))).collect::<Vec<_>>()
        };
        let model = Regression::fit(&rows(Part::Mine, TRAIN));
        let test = rows(Part::Test, TEST);
        let right = test.iter().filter(|(text, label)| (model.score(text) > 0.0) == *label).count() as f64 / TEST as f64;
        assert!(right < bound, "{name}: {right}");
        let oracle = world.gold(0, Part::Test, TEST).unwrap();
        assert!(oracle.iter().all(|row| world.truth(&row.input).as_ref() == Some(&row.target)));
    }
}

/// For spans: one regression per candidate, on the question's words and the words beside the name (its verbless bag), picks
/// the name with the highest score.
#[test]
fn stays_clearly_below_the_oracle_on_spans() {
    let world = task("lab-spans").unwrap();
    let candidates = |row: &Example| {
        let Target::Answers(answers) = &row.target else { unreachable!("a question") };
        let names = ["anna", "omar", "maria", "ivan", "lena"];
        let context = template::split(row.input.context().unwrap_or(""));
        let present = names.into_iter().filter(|name| context.contains(name)).collect::<Vec<_>>();
        let bag = bag(&row.input);
        present
            .into_iter()
            .map(|name| ([bag.clone(), vec![format!("n:{name}")]].concat(), name == answers[0].text))
            .collect::<Vec<_>>()
    };
    let gold = |part, count| world.gold(0, part, count).unwrap();
    let train: Vec<_> = gold(Part::Mine, TRAIN).iter().flat_map(candidates).collect();
    let model = Regression::fit(&train);
    let test = gold(Part::Test, TEST);
    let right = test.iter().filter(|row| {
        let scored = candidates(row);
        let best = scored.iter().max_by(|a, b| model.score(&a.0).total_cmp(&model.score(&b.0)));
        best.is_some_and(|best| best.1)
    });
    let right = right.count() as f64 / TEST as f64;
    assert!(right < 0.6, "{right}");
}
