//! Fresh parameters.

use crate::config::{EncoderConfig, Kind, ParameterSpec};
use crate::random::Stream;

/// How fresh matrices and embeddings are drawn. Either way normal, with biases 0, gains 1 and the padding token's embedding
/// zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialisation {
    /// Standard deviation `initializer_range` everywhere, as transformers initialises: for heads on a pretrained encoder and
    /// for encoders of the usual sizes.
    Transformers,
    /// For small encoders trained from scratch: `1 / sqrt(C)` for matrices, so that activations keep order one; 1 for token
    /// embeddings (PyTorch's default), so that Adam's steps leave tokens far apart and attention can match them; half of that
    /// for positions and segments.
    Scratch,
}

impl Initialisation {
    /// Standard deviation of a matrix or embedding.
    fn deviation(self, config: &EncoderConfig, spec: &ParameterSpec) -> f64 {
        match (self, spec.kind) {
            (Self::Transformers, _) => config.initializer_range,
            (Self::Scratch, Kind::Embedding) if spec.name == "embeddings.word" => 1.0,
            (Self::Scratch, Kind::Embedding) => 0.5,
            (Self::Scratch, _) => 1.0 / (config.hidden as f64).sqrt(),
        }
    }

    /// Row-major values of one fresh parameter.
    pub(super) fn draw(self, config: &EncoderConfig, spec: &ParameterSpec, stream: Stream) -> Vec<f32> {
        let length = spec.rows * spec.columns;
        match spec.kind {
            Kind::NormGain => vec![1.0; length],
            Kind::NormBias | Kind::Bias => vec![0.0; length],
            Kind::Embedding | Kind::Matrix => {
                let (deviation, mut generator) = (self.deviation(config, spec), stream.generator());
                let mut values: Vec<f32> = (0..length).map(|_| (deviation * generator.normal()) as f32).collect();
                if spec.name == "embeddings.word" {
                    let pad = config.pad_token_id * spec.columns;
                    values[pad..pad + spec.columns].fill(0.0);
                }
                values
            }
        }
    }
}
