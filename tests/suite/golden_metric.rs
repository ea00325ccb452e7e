//! Metrics against scikit-learn and the rules of the official SQuAD evaluation.

use serde::Deserialize;
use stepsynth_core::metric;

use crate::golden;

#[derive(Deserialize)]
struct Expected {
    classification: Vec<Classification>,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Classification {
    truth: Vec<usize>,
    predicted: Vec<usize>,
    accuracy: f64,
    macro_f1: f64,
}

#[derive(Deserialize)]
struct Answer {
    prediction: String,
    accepted: Vec<String>,
    exact_match: f64,
    f1: f64,
}

#[test]
fn classification_metrics_are_those_of_scikit_learn() {
    let expected: Expected = golden::read("metric/expected.json");
    assert!(expected.classification.len() >= 8);
    for case in expected.classification {
        let accuracy = metric::accuracy(&case.truth, &case.predicted).unwrap();
        let macro_f1 = metric::macro_f1(&case.truth, &case.predicted).unwrap();
        // A few dozen additions in f64 in another order.
        assert!((accuracy - case.accuracy).abs() <= 1e-14, "{accuracy} is not {}", case.accuracy);
        assert!((macro_f1 - case.macro_f1).abs() <= 1e-14, "{macro_f1} is not {}: {:?}", case.macro_f1, case.truth);
    }
}

#[test]
fn answer_metrics_are_those_of_squad() {
    let expected: Expected = golden::read("metric/expected.json");
    assert!(expected.answers.len() >= 15);
    for case in expected.answers {
        let place = format!("{:?} for {:?}", case.prediction, case.accepted);
        assert_eq!(metric::exact_match(&case.prediction, &case.accepted), case.exact_match, "{place}");
        let f1 = metric::f1(&case.prediction, &case.accepted);
        // The expected value went through f32: a few roundings of 2^-24.
        assert!((f1 - case.f1).abs() <= 4.0 * f64::from(f32::EPSILON), "{place}: {f1} is not {}", case.f1);
    }
}
