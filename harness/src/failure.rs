//! Failures that decide the exit code; every other error is exit code 1.

/// Why a command ended early. The text is one line without the leading `error: `.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Bad usage, configuration or input: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A budget was reached and all state is saved: exit code 3.
    #[error("{0}")]
    Budget(String),
    /// Interrupted, state saved: exit code 130.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    /// A usage failure as an `anyhow` error.
    pub fn usage(message: impl Into<String>) -> anyhow::Error {
        Self::Usage(message.into()).into()
    }

    /// The exit code of `error`.
    pub fn exit_code(error: &anyhow::Error) -> u8 {
        for cause in error.chain() {
            match cause.downcast_ref::<Self>() {
                Some(Self::Usage(_)) => return 2,
                Some(Self::Budget(_)) => return 3,
                Some(Self::Interrupted(_)) => return 130,
                None => {}
            }
            match cause.downcast_ref::<stepsynth_core::Error>() {
                Some(stepsynth_core::Error::Interrupted) => return 130,
                Some(stepsynth_core::Error::Config { .. }) => return 2,
                _ => {}
            }
            // The spec asks a teacher for what it does not do.
            if let Some(crate::teacher::RequestError::Unsupported(_)) = cause.downcast_ref() {
                return 2;
            }
        }
        1
    }
}
