//! Gold data of a world: distinct examples in three parts that share no text.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::{Error, World};
use crate::{Example, Input, random};

/// The roles of gold data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Mined for errors, source of contexts, training data of the gold baseline: half of all texts.
    Mine,
    /// Chooses the best epoch: a quarter.
    Select,
    /// Scored once: a quarter.
    Test,
}

impl Part {
    /// The name in ids of examples.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mine => "mine",
            Self::Select => "select",
            Self::Test => "test",
        }
    }

    /// The part that `input` belongs to, in every world and under every seed: by a hash of its context, or of its text where
    /// there is no context.
    fn of(input: &Input) -> Self {
        let bytes = Sha256::digest(input.context().unwrap_or_else(|| input.written()));
        match bytes[0] % 4 {
            0 | 1 => Self::Mine,
            2 => Self::Select,
            _ => Self::Test,
        }
    }
}

/// Draws without a new example after which a part counts as exhausted.
const PATIENCE: usize = 2_000;

impl World {
    /// `count` distinct examples of `part`, drawn from the gold distribution. A shorter list is a prefix of a longer one.
    ///
    /// Repeats are drawn again, so a large part of a small world has slightly less than its share of the attribute
    /// combinations with few texts.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if the world does not have so many texts.
    pub fn gold(&self, seed: u64, part: Part, count: usize) -> Result<Vec<Example>, Error> {
        let mut rng = random::generator(seed, &format!("{}:{}", self.name, part.name()), 0);
        let (mut examples, mut seen, mut fruitless) = (Vec::new(), HashSet::new(), 0);
        while examples.len() < count {
            match self.draw(&mut rng) {
                Some((input, target)) if Part::of(&input) == part && seen.insert(input.clone()) => {
                    let id = format!("{}:{}:{}", self.name, part.name(), examples.len());
                    examples.push(Example { id, input, target });
                    fruitless = 0;
                }
                _ => fruitless += 1,
            }
            if fruitless == PATIENCE {
                let (world, part, found) = (self.name, part.name(), examples.len());
                return Err(Error::Exhausted { world, part, wanted: count, found });
            }
        }
        Ok(examples)
    }
}
