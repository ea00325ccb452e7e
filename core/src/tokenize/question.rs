//! Windows over a long context for extractive question answering.

use tokenizers::utils::truncation::TruncationDirection;

use super::{Tokenizer, library_error};
use crate::{Error, Result, Sequence};

/// A question with a part of its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// `[CLS] question [SEP] context part [SEP]`.
    pub sequence: Sequence,
    /// For each token its characters `start..end` in the context, `None` outside the context.
    pub offsets: Vec<Option<(usize, usize)>>,
}

impl Window {
    /// First and last token (inclusive) of the answer that begins at character `start` of the context; `None` if the
    /// answer is empty or not fully inside this window (training then points at `[CLS]`, token 0).
    ///
    /// The rule of transformers' question-answering example: the last token that begins at or before the answer, and the
    /// first one that ends at or after its end.
    pub fn answer_span(&self, start: usize, text: &str) -> Option<(usize, usize)> {
        let end = start.checked_add(text.chars().count()).filter(|&end| end > start)?;
        let context = || self.offsets.iter().enumerate().filter_map(|(token, offset)| offset.map(|(from, to)| (token, from, to)));
        let first = context().take_while(|&(_, from, _)| from <= start).last()?;
        let last = context().find(|&(_, _, to)| to >= end)?;
        (first.0 <= last.0).then_some((first.0, last.0))
    }
}

impl Tokenizer {
    /// Windows of at most `max_length` tokens over `context`, neighbours sharing `stride` context tokens; at least one.
    ///
    /// Equal to transformers' `truncation="only_second"` with `return_overflowing_tokens` and `return_offsets_mapping`.
    /// Where the question leaves the context no more than `stride` tokens (transformers refuses), the question is cut to
    /// half of the window and the stride to half of the rest.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if `max_length` is below 5: three special tokens and one of each text.
    pub fn encode_question(&self, question: &str, context: &str, max_length: usize, stride: usize) -> Result<Vec<Window>> {
        let room = max_length.checked_sub(3).filter(|&room| room >= 2).ok_or_else(|| {
            Error::Tokenizer(format!("max_length is {max_length}, must be at least 5 for a question and its context"))
        })?;
        let mut question = self.library.encode_fast(question, false).map_err(library_error)?;
        let mut context = self.library.encode_char_offsets(context, false).map_err(library_error)?;
        if question.len() + context.len() > room {
            let mut stride = stride;
            if room.saturating_sub(question.len()) <= stride {
                question.truncate(room / 2, 0, TruncationDirection::Right);
                stride = stride.min((room - question.len()) / 2);
            }
            // A share of at least one token, and always more than the stride, so that windows move on.
            let share = room - question.len();
            context.truncate(share, stride.min(share - 1), TruncationDirection::Right);
        }
        let overflow = context.take_overflowing();
        std::iter::once(&context)
            .chain(&overflow)
            .map(|part| {
                let sequence = self.join(&question, Some(part))?;
                let mut offsets = vec![None; question.len() + 2];
                offsets.extend(part.get_offsets().iter().copied().map(Some));
                offsets.push(None);
                Ok(Window { sequence, offsets })
            })
            .collect()
    }
}
