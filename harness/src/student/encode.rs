//! Examples to token sequences and back from logits to predictions.

use anyhow::{Result, bail};
use stepsynth_core::Sequence;
use stepsynth_core::metric::best_span;
use stepsynth_core::tokenize::{Tokenizer, Truncation, Window};
use stepsynth_core::train::{HostTargets, TrainSet};
use stepsynth_datasets::{Example, Input, Target};

use super::Prediction;

/// How long sequences may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// Tokens of a sequence.
    pub max_length: usize,
    /// Tokens shared by neighbouring windows of one context.
    pub stride: usize,
}

/// The texts of an input, for learning a vocabulary.
pub(super) fn texts(input: &Input) -> impl Iterator<Item = &str> {
    std::iter::once(input.written()).chain(input.context())
}

/// A training set. A question-answering example gives one row per window; windows without the answer point at `[CLS]`.
pub(super) fn train_set(tokenizer: &Tokenizer, lengths: Lengths, examples: &[Example]) -> Result<TrainSet> {
    let mut sequences = Vec::with_capacity(examples.len());
    let (mut labels, mut spans) = (Vec::new(), Vec::new());
    for example in examples {
        match (&example.input, &example.target) {
            (Input::Qa { question, context }, Target::Answers(answers)) => {
                let Some(answer) = answers.first() else { bail!("`{}` has no answer to train on", example.id) };
                for window in tokenizer.encode_question(question, context, lengths.max_length, lengths.stride)? {
                    let (start, end) = window.answer_span(answer.start, &answer.text).unwrap_or((0, 0));
                    spans.push((start as i32, end as i32));
                    sequences.push(window.sequence);
                }
            }
            (input @ (Input::Single { .. } | Input::Pair { .. }), Target::Label(label)) => {
                sequences.push(sequence(tokenizer, lengths, input)?);
                labels.push(*label as i32);
            }
            _ => bail!("`{}`: labels go with texts and pairs, answers with questions", example.id),
        }
    }
    let targets = if spans.is_empty() { HostTargets::Labels(labels) } else { HostTargets::Spans(spans) };
    Ok(TrainSet { sequences, targets })
}

/// The sequence of a single text or a pair.
pub(super) fn sequence(tokenizer: &Tokenizer, lengths: Lengths, input: &Input) -> Result<Sequence> {
    Ok(tokenizer.encode(input.written(), input.context(), lengths.max_length, Truncation::LongestFirst)?)
}

/// The windows of a question.
pub(super) fn windows(tokenizer: &Tokenizer, lengths: Lengths, input: &Input) -> Result<Vec<Window>> {
    let Input::Qa { question, context } = input else { bail!("a question-answering student needs a question and a context") };
    Ok(tokenizer.encode_question(question, context, lengths.max_length, lengths.stride)?)
}

/// The label with the largest logit, the first of equals.
pub(super) fn label(logits: Vec<f32>) -> Prediction {
    let best = (1..logits.len()).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
    Prediction::Label { label: best, logits }
}

/// The best non-empty span over all windows of a context; an empty answer if the context has no token.
pub(super) fn span(context: &str, windows: &[(&Window, &[f32])]) -> Result<Prediction> {
    Ok(match best_span(context, windows)? {
        Some(span) => Prediction::Span { answer: span.text, start: span.start, end: span.end, score: span.score as f32 },
        // Not minus infinity, which JSON, and so the journal, has no number for.
        None => Prediction::Span { answer: String::new(), start: 0, end: 0, score: f32::MIN },
    })
}
