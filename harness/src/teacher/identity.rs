//! What makes two requests the same.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Request, Step};

/// Raised when the fields or their meaning change, so that no old identity is taken for a new one.
const VERSION: u32 = 1;

impl Request {
    /// SHA-256 (hex) of the request as `teacher` gets it: a JSON object with a fixed order of keys. The facts in `about` are
    /// not part of it: the prompt was rendered from them, and `sample` tells repeats apart.
    pub fn identity(&self, teacher: &str) -> String {
        #[derive(Serialize)]
        struct Canonical<'a> {
            version: u32,
            teacher: &'a str,
            task: &'a str,
            step: Step,
            prompt_id: &'a str,
            prompt: &'a str,
            sample: u64,
        }
        let Self { task, step, prompt, prompt_id, sample, about: _ } = self;
        let canonical = Canonical { version: VERSION, teacher, task, step: *step, prompt_id, prompt, sample: *sample };
        let json = serde_json::to_vec(&canonical).expect("strings and numbers always serialise");
        Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn request() -> Request {
        Request {
            task: "rte".into(),
            step: Step::Seed,
            prompt: "Write \"one\".".into(),
            prompt_id: "rte-seed@1".into(),
            sample: 0,
            about: super::super::About::default(),
        }
    }

    #[test]
    fn identity_is_the_hash_of_the_documented_json() {
        let json = r#"{"version":1,"teacher":"t","task":"rte","step":"seed","prompt_id":"rte-seed@1","prompt":"Write \"one\".","sample":0}"#;
        let expected: String = Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(request().identity("t"), expected);
    }

    #[test]
    fn every_field_counts() {
        let mut seen = BTreeSet::from([request().identity("t"), request().identity("u")]);
        seen.insert(Request { task: "qnli".into(), ..request() }.identity("t"));
        seen.insert(Request { step: Step::Extrapolate, ..request() }.identity("t"));
        seen.insert(Request { prompt: "Write.".into(), ..request() }.identity("t"));
        seen.insert(Request { prompt_id: "rte-seed@2".into(), ..request() }.identity("t"));
        seen.insert(Request { sample: 1, ..request() }.identity("t"));
        assert_eq!(seen.len(), 7);
    }
}
