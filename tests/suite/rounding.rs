//! How far f32 arithmetic may stray.

use stepsynth_core::config::EncoderConfig;

/// Bound of the relative rounding error of `passes` passes in f32 through an encoder of this shape, over sequences of at
/// most `length` tokens.
///
/// Rounding errors are independent and each at most one f32 epsilon of the value at hand, so over `n` operations one after
/// another they add up to about `sqrt(n)` of it; four times that is luck of one in ten thousand. `n` is the longest path to
/// one value: of each layer the sums of the projections (`C` for queries, keys and values, `C` for the output), scores
/// (`D`), softmax and mix (`2 S`), feed-forward (`C + F`) and two norms (`2 C` each), and of the head (`2 C`).
pub(crate) fn rounding(config: &EncoderConfig, length: usize, passes: usize) -> f64 {
    let layer = 7 * config.hidden + config.head_size() + 2 * length + config.feed_forward;
    let path = config.layers * layer + 2 * config.hidden;
    4.0 * f64::from(f32::EPSILON) * ((passes * path) as f64).sqrt()
}
