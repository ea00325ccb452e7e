//! Scores: predictions against targets, and the final evaluation, the only place that opens the sealed test data.

use anyhow::{Result, bail, ensure};
use stepsynth_core::metric;
use stepsynth_datasets::{Example, FinalEvaluator, Kind, Metric, Sealed, Target, TaskSpec};

use crate::student::{Fitted, Prediction};

/// A measured rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// Name in results.
    pub metric: &'static str,
    /// In `[0, 1]`.
    pub value: f64,
}

/// Name of a metric in results.
pub fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "accuracy",
        Metric::MacroF1 => "macro_f1",
        Metric::ExactMatch => "exact_match",
        Metric::F1 => "f1",
    }
}

/// Scores `predictions` on `examples`: accuracy and macro F1, or exact match and F1; the task's headline metric first.
///
/// # Errors
/// If there are no examples, or predictions and targets do not go together.
pub fn measure(task: &TaskSpec, examples: &[Example], predictions: &[Prediction]) -> Result<Vec<Measure>> {
    ensure!(
        examples.len() == predictions.len() && !examples.is_empty(),
        "{}: {} predictions for {} examples",
        task.name,
        predictions.len(),
        examples.len()
    );
    let mut measures = match task.kind {
        Kind::Single | Kind::Pair => classification(examples, predictions)?,
        Kind::Qa => answers(examples, predictions)?,
    };
    measures.sort_by_key(|measure| measure.metric != metric_name(task.metric));
    Ok(measures)
}

/// Has `student` predict the test data and scores it; also the number of test examples.
pub fn final_test(task: &TaskSpec, test: &Sealed<Vec<Example>>, student: &dyn Fitted) -> Result<(Vec<Measure>, usize)> {
    let examples = test.open(&FinalEvaluator::new());
    let inputs: Vec<_> = examples.iter().map(|example| example.input.clone()).collect();
    Ok((measure(task, examples, &student.predict(&inputs)?)?, examples.len()))
}

fn classification(examples: &[Example], predictions: &[Prediction]) -> Result<Vec<Measure>> {
    let mut truth = Vec::with_capacity(examples.len());
    let mut predicted = Vec::with_capacity(examples.len());
    for (example, prediction) in examples.iter().zip(predictions) {
        match (&example.target, prediction) {
            (Target::Label(label), Prediction::Label { label: said, .. }) => {
                truth.push(*label);
                predicted.push(*said);
            }
            _ => bail!("{}: a classification example and its prediction are both labels", example.id),
        }
    }
    Ok(vec![
        Measure { metric: "accuracy", value: metric::accuracy(&truth, &predicted)? },
        Measure { metric: "macro_f1", value: metric::macro_f1(&truth, &predicted)? },
    ])
}

fn answers(examples: &[Example], predictions: &[Prediction]) -> Result<Vec<Measure>> {
    let (mut exact, mut overlap) = (0.0, 0.0);
    for (example, prediction) in examples.iter().zip(predictions) {
        match (&example.target, prediction) {
            (Target::Answers(accepted), Prediction::Span { answer, .. }) => {
                let accepted: Vec<&str> = accepted.iter().map(|answer| answer.text.as_str()).collect();
                exact += metric::exact_match(answer, &accepted);
                overlap += metric::f1(answer, &accepted);
            }
            _ => bail!("{}: a question and its prediction are both answers", example.id),
        }
    }
    let n = examples.len() as f64;
    Ok(vec![Measure { metric: "exact_match", value: exact / n }, Measure { metric: "f1", value: overlap / n }])
}
