//! Predictions against targets.

use anyhow::{Context, Result, bail};
use stepsynth_core::metric;
use stepsynth_datasets::{Example, Metric, Target};

use super::Prediction;

/// The metric of `predictions` on `examples`, in `[0, 1]`.
///
/// # Errors
/// If there are no examples, the numbers differ, or a prediction is not of its example's kind.
pub fn score(metric: Metric, examples: &[Example], predictions: &[Prediction]) -> Result<f64> {
    if examples.is_empty() || examples.len() != predictions.len() {
        bail!("{} predictions for {} examples", predictions.len(), examples.len());
    }
    match metric {
        Metric::Accuracy => with_labels(examples, predictions, metric::accuracy),
        Metric::MacroF1 => with_labels(examples, predictions, metric::macro_f1),
        Metric::ExactMatch => with_answers(examples, predictions, |answer, accepted| metric::exact_match(answer, accepted)),
        Metric::F1 => with_answers(examples, predictions, |answer, accepted| metric::f1(answer, accepted)),
    }
}

fn with_labels(
    examples: &[Example],
    predictions: &[Prediction],
    measure: fn(&[usize], &[usize]) -> stepsynth_core::Result<f64>,
) -> Result<f64> {
    let truth: Option<Vec<usize>> = examples.iter().map(Example::label).collect();
    let predicted: Option<Vec<usize>> = predictions
        .iter()
        .map(|prediction| match prediction {
            Prediction::Label { label, .. } => Some(*label),
            Prediction::Span { .. } => None,
        })
        .collect();
    let truth = truth.context("the metric needs labels, the examples have answers")?;
    Ok(measure(&truth, &predicted.context("the metric needs labels, the predictions are answers")?)?)
}

fn with_answers(examples: &[Example], predictions: &[Prediction], measure: impl Fn(&str, &[&str]) -> f64) -> Result<f64> {
    let mut sum = 0.0;
    for (example, prediction) in examples.iter().zip(predictions) {
        let (Target::Answers(answers), Prediction::Span { answer, .. }) = (&example.target, prediction) else {
            bail!("the metric needs answers, `{}` or its prediction has a label", example.id);
        };
        let accepted: Vec<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
        sum += measure(answer, &accepted);
    }
    Ok(sum / examples.len() as f64)
}
