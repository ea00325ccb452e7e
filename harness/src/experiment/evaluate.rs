//! Scores of predictions, and the final evaluation: the only place that opens the sealed test data.

use anyhow::Result;
use stepsynth_core::train::Progress;
use stepsynth_datasets::{Example, FinalEvaluator, Kind, Metric, Sealed, TaskSpec};

use crate::student::{Predict, Prediction, score};

/// Name of a metric in results.
pub fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "accuracy",
        Metric::MacroF1 => "macro_f1",
        Metric::ExactMatch => "exact_match",
        Metric::F1 => "f1",
    }
}

/// Accuracy and macro F1, or exact match and F1, of `predictions` on `examples`: name and value in `[0, 1]`, the task's
/// headline metric first.
///
/// # Errors
/// If there are no examples, or predictions and targets do not go together.
pub fn measure(task: &TaskSpec, examples: &[Example], predictions: &[Prediction]) -> Result<Vec<(&'static str, f64)>> {
    let mut metrics = match task.kind {
        Kind::Single | Kind::Pair => [Metric::Accuracy, Metric::MacroF1],
        Kind::Qa => [Metric::ExactMatch, Metric::F1],
    };
    metrics.sort_by_key(|metric| *metric != task.metric);
    metrics.into_iter().map(|metric| Ok((metric_name(metric), score(metric, examples, predictions)?))).collect()
}

/// Has `student` predict the test data and scores it; also the number of test examples.
pub fn final_test(
    task: &TaskSpec,
    test: &Sealed<Vec<Example>>,
    student: &dyn Predict,
    progress: Progress<'_>,
) -> Result<(Vec<(&'static str, f64)>, usize)> {
    let examples = test.open(&FinalEvaluator::new());
    let inputs: Vec<_> = examples.iter().map(|example| example.input.clone()).collect();
    Ok((measure(task, examples, &student.predict(&inputs, progress)?)?, examples.len()))
}
