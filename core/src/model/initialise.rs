//! Fresh parameters.

use crate::config::{EncoderConfig, Kind, ParameterSpec};
use crate::random::Stream;

/// Row-major values of one fresh parameter.
pub(super) fn parameter(config: &EncoderConfig, spec: &ParameterSpec, stream: Stream) -> Vec<f32> {
    let length = spec.rows * spec.columns;
    match spec.kind {
        Kind::NormGain => vec![1.0; length],
        Kind::NormBias | Kind::Bias => vec![0.0; length],
        Kind::Embedding | Kind::Matrix => {
            let mut generator = stream.generator();
            let mut values: Vec<f32> = (0..length).map(|_| (config.initializer_range * generator.normal()) as f32).collect();
            if spec.name == "embeddings.word" {
                let pad = config.pad_token_id * spec.columns;
                values[pad..pad + spec.columns].fill(0.0);
            }
            values
        }
    }
}
