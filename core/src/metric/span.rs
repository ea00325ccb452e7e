//! From start and end scores to the answer's text.

use crate::backend::Real;
use crate::tokenize::Window;
use crate::{Error, Result};

/// How many of a window's best starts and best ends are combined.
pub const N_BEST: usize = 20;

/// Longest answer in tokens.
pub const MAX_ANSWER_TOKENS: usize = 30;

/// A predicted answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The characters `start..end` of the context.
    pub text: String,
    /// First character in the context.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// Start logit plus end logit.
    pub score: f64,
}

/// Best non-empty span over all windows of one question, by the rule of transformers' question-answering example.
///
/// `windows` pairs each window with its logits `(tokens, 2)`, row-major, start before end. In each window the [`N_BEST`]
/// highest starts meet the [`N_BEST`] highest ends; a pair counts if both lie in the context, the end is not before the
/// start and the span has at most [`MAX_ANSWER_TOKENS`] tokens. Where no window has such a pair, all pairs are tried. The
/// earlier window, start and end win ties. `None` if the context has no token or no score is a number.
///
/// # Errors
/// [`Error::Shape`] if a window's logits are not two for each token.
pub fn best_span<T: Real>(context: &str, windows: &[(&Window, &[T])]) -> Result<Option<Span>> {
    for (window, logits) in windows {
        let tokens = window.sequence.ids.len();
        if logits.len() != 2 * tokens {
            let (expected, got) = ((tokens, 2), (logits.len() / 2, 2));
            return Err(Error::Shape { op: "best_span", what: "logits", expected, got });
        }
    }
    let best = best_pair(windows, N_BEST).or_else(|| best_pair(windows, usize::MAX));
    Ok(best.map(|(start, end, score)| {
        let text = context.chars().skip(start).take(end - start).collect();
        Span { text, start, end, score }
    }))
}

/// First character, one past the last, score.
fn best_pair<T: Real>(windows: &[(&Window, &[T])], n_best: usize) -> Option<(usize, usize, f64)> {
    let mut best: Option<(usize, usize, f64)> = None;
    for (window, logits) in windows {
        let starts = highest(logits, 0, n_best);
        let ends = highest(logits, 1, n_best);
        for &start in &starts {
            let Some((first, _)) = window.offsets[start] else { continue };
            for &end in &ends {
                let Some((_, last)) = window.offsets[end] else { continue };
                if end < start || end - start >= MAX_ANSWER_TOKENS || last <= first {
                    continue;
                }
                let score = logits[2 * start].f64() + logits[2 * end + 1].f64();
                if score.is_finite() && best.is_none_or(|(.., highest)| score > highest) {
                    best = Some((first, last, score));
                }
            }
        }
    }
    best
}

/// Tokens with the highest scores of `column`, in order of position. Scores that are not numbers are left out.
fn highest<T: Real>(logits: &[T], column: usize, count: usize) -> Vec<usize> {
    let score = |token: &usize| logits[2 * token + column].f64();
    let mut tokens: Vec<usize> = (0..logits.len() / 2).filter(|token| !score(token).is_nan()).collect();
    tokens.sort_by(|a, b| score(b).total_cmp(&score(a)));
    tokens.truncate(count);
    tokens.sort_unstable();
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sequence;
    use crate::random::Stream;

    /// A window `[CLS] q [SEP] <words of one character> [SEP]` over `characters` of a context of one-character words.
    fn window(characters: std::ops::Range<usize>) -> Window {
        let mut offsets = vec![None; 3];
        offsets.extend(characters.map(|at| Some((2 * at, 2 * at + 1))));
        offsets.push(None);
        let ids = vec![1; offsets.len()];
        Window { sequence: Sequence { token_types: vec![0; ids.len()], ids }, offsets }
    }

    fn logits(tokens: usize, set: &[(usize, f64, f64)]) -> Vec<f64> {
        let mut logits = vec![-9.0; 2 * tokens];
        for &(token, start, end) in set {
            logits[2 * token] = start;
            logits[2 * token + 1] = end;
        }
        logits
    }

    const CONTEXT: &str = "é b c d e f g h";

    #[test]
    fn the_best_span_lies_in_the_context_of_any_window() {
        let (first, second) = (window(0..4), window(2..8));
        // High scores on [CLS] and on an end before its start must not win.
        let a = logits(8, &[(0, 9.0, 9.0), (4, 2.0, 3.0), (3, 1.0, 0.0)]);
        let b = logits(10, &[(5, 4.0, 0.0), (6, 0.0, 2.0), (3, 0.0, 8.0)]);
        let span = best_span(CONTEXT, &[(&first, &a), (&second, &b)]).unwrap().unwrap();
        assert_eq!(span, Span { text: "c".into(), start: 4, end: 5, score: 8.0 });
        let span = best_span(CONTEXT, &[(&first, &a[..])]).unwrap().unwrap();
        assert_eq!((span.text.as_str(), span.score), ("b", 5.0));
    }

    #[test]
    fn answers_are_at_most_thirty_tokens() {
        let context = "x ".repeat(60);
        let window = window(0..60);
        let far = logits(64, &[(3, 5.0, 0.0), (33, 0.0, 5.0), (32, 0.0, 4.0)]);
        let span = best_span(&context, &[(&window, &far[..])]).unwrap().unwrap();
        assert_eq!((span.start, span.end, span.score), (0, 59, 9.0));
    }

    #[test]
    fn a_span_is_found_where_the_n_best_do_not_meet() {
        // The twenty best starts all lie after the twenty best ends.
        let context = "x ".repeat(50);
        let window = window(0..50);
        let set: Vec<_> = (3..53).map(|at| if at < 28 { (at, 0.0, 5.0) } else { (at, 5.0, 0.0) }).collect();
        let span = best_span(&context, &[(&window, &logits(54, &set)[..])]).unwrap().unwrap();
        assert_eq!(span.score, 5.0);
    }

    #[test]
    fn no_answer_without_tokens_or_numbers() {
        let empty = window(0..0);
        assert_eq!(best_span("", &[(&empty, &[1.0_f32; 8][..])]).unwrap(), None);
        assert_eq!(best_span("a b", &[(&window(0..2), &[f32::NAN; 12][..])]).unwrap(), None);
        assert!(best_span("a b", &[(&window(0..2), &[0.0_f32; 11][..])]).is_err());
    }

    /// With few tokens the n-best cut does nothing, so the best of all pairs must be found.
    #[test]
    fn agrees_with_exhaustive_search() {
        for seed in 0..50 {
            let mut generator = Stream::new(seed, "spans").generator();
            let window = window(0..8);
            let logits: Vec<f64> = (0..24).map(|_| generator.normal()).collect();
            let pairs = (3..11).flat_map(|start| (start..11).map(move |end| (start, end)));
            let best = pairs.map(|(start, end)| logits[2 * start] + logits[2 * end + 1]).fold(f64::MIN, f64::max);
            assert_eq!(best_span(CONTEXT, &[(&window, &logits[..])]).unwrap().unwrap().score, best);
        }
    }
}
