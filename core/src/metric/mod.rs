//! How good predictions are. All rates lie in `[0, 1]`.

mod answer;
mod classes;
mod span;

pub use answer::{exact_match, f1, normalize};
pub use classes::{accuracy, macro_f1};
pub use span::{MAX_ANSWER_TOKENS, N_BEST, Span, best_span};
