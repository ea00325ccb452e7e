//! Which gold examples the next round extrapolates.

use anyhow::{Result, bail, ensure};
use rand::seq::index::sample;
use stepsynth_core::metric::{exact_match, f1};
use stepsynth_datasets::random::generator;
use stepsynth_datasets::{Example, Target};

use crate::experiment::cell::{Cell, Trained};
use crate::student::Prediction;

/// Indices of the gold examples that the student gets wrong: the paper's `D_mis`.
pub(super) fn errors(cell: &Cell<'_>, student: &Trained) -> Result<Vec<usize>> {
    let gold = &cell.gold.mine;
    ensure!(gold.len() == student.mine.len(), "{} predictions for {} gold examples", student.mine.len(), gold.len());
    let mut wrong = Vec::new();
    for (index, (example, prediction)) in gold.iter().zip(&student.mine).enumerate() {
        if is_wrong(example, prediction, cell.options.wrong_below_f1)? {
            wrong.push(index);
        }
    }
    Ok(wrong)
}

/// `count` gold examples at random: the control that learns nothing from the student.
pub(super) fn random(cell: &Cell<'_>, round: usize, count: usize) -> Vec<usize> {
    let gold = cell.gold.mine.len();
    let mut chosen = sample(&mut generator(cell.seed, "mine/random", round as u64), gold, count.min(gold)).into_vec();
    chosen.sort_unstable();
    chosen
}

fn is_wrong(example: &Example, prediction: &Prediction, below_f1: Option<f64>) -> Result<bool> {
    match (&example.target, prediction) {
        (Target::Label(label), Prediction::Label { label: predicted, .. }) => Ok(label != predicted),
        (Target::Answers(answers), Prediction::Span { answer, .. }) => {
            let accepted: Vec<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
            Ok(match below_f1 {
                None => exact_match(answer, &accepted) < 1.0,
                Some(threshold) => f1(answer, &accepted) < threshold,
            })
        }
        _ => bail!("gold example `{}` and the student's prediction are of different kinds", example.id),
    }
}

#[cfg(test)]
mod tests {
    use stepsynth_datasets::{Answer, Input};

    use super::*;

    #[test]
    fn a_question_is_wrong_by_exact_match_or_by_low_f1() {
        let example = Example {
            id: "q".into(),
            input: Input::Qa { question: "Who?".into(), context: "The old king of Spain".into() },
            target: Target::Answers(vec![Answer { text: "old king".into(), start: 4 }]),
        };
        let says = |answer: &str| Prediction::Span { answer: answer.into(), start: 0, end: 1, score: 0.0 };
        let wrong = |answer, below| is_wrong(&example, &says(answer), below).unwrap();
        assert!(!wrong("The old king", None), "articles do not count");
        assert!(wrong("king", None) && !wrong("king", Some(0.5)) && wrong("Spain", Some(0.5)));
        let label = Prediction::Label { label: 0, logits: vec![] };
        assert!(is_wrong(&example, &label, None).is_err());
    }
}
