//! What requests consumed, and the budgets that limit it.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::cancel::lock;
use crate::teacher::{Completion, Provenance, Recorded, Request, RequestError, Sources, Teacher, Usage};

/// Consumption of some requests. A sum with an unknown part is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consumed {
    /// Requests sent.
    pub requests: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: Option<u64>,
    /// Tokens written.
    pub completion_tokens: Option<u64>,
    /// Price in US dollars.
    pub usd: Option<f64>,
}

impl Default for Consumed {
    fn default() -> Self {
        Self { requests: 0, prompt_tokens: Some(0), completion_tokens: Some(0), usd: Some(0.0) }
    }
}

impl Consumed {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        Self {
            requests: self.requests + other.requests,
            prompt_tokens: sum(self.prompt_tokens, other.prompt_tokens),
            completion_tokens: sum(self.completion_tokens, other.completion_tokens),
            usd: self.usd.zip(other.usd).map(|(a, b)| a + b),
        }
    }

    fn of(usage: Usage) -> Self {
        Self { requests: 1, prompt_tokens: usage.prompt_tokens, completion_tokens: usage.completion_tokens, usd: usage.usd }
    }
}

/// Limits of a whole run, over all its resumptions. What a teacher does not report counts as nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// `--max-requests`.
    pub requests: Option<u64>,
    /// `--max-tokens`, prompt and completion together.
    pub tokens: Option<u64>,
    /// `--max-usd`. A teacher that has cost nothing is not held back, even by 0.
    pub usd: Option<f64>,
}

/// Known consumption of the run so far, against its limits.
pub struct Budget {
    limits: Limits,
    used: Mutex<Used>,
}

#[derive(Clone, Copy, Default)]
struct Used {
    requests: u64,
    tokens: u64,
    usd: f64,
}

impl Budget {
    /// With nothing used.
    pub fn new(limits: Limits) -> Self {
        Self { limits, used: Mutex::default() }
    }

    /// Counts what was consumed.
    pub fn count(&self, consumed: Consumed) {
        let mut used = lock(&self.used);
        used.requests += consumed.requests;
        used.tokens += consumed.prompt_tokens.unwrap_or(0) + consumed.completion_tokens.unwrap_or(0);
        used.usd += consumed.usd.unwrap_or(0.0);
    }

    /// Takes `requests` out of the budget; refuses, with the reason, if that is too many or another limit is used up.
    /// Tokens and price are known only afterwards, so the batch that crosses their limit is the last one sent.
    fn take(&self, requests: u64) -> Result<(), String> {
        let mut used = lock(&self.used);
        if let Some(limit) = self.limits.requests
            && used.requests + requests > limit
        {
            return Err(format!("--max-requests {limit}: {} sent, the next step asks for {requests}", used.requests));
        }
        if let Some(limit) = self.limits.tokens
            && used.tokens >= limit
        {
            return Err(format!("--max-tokens {limit}: {} used", used.tokens));
        }
        if let Some(limit) = self.limits.usd
            && used.usd >= limit
            && used.usd > 0.0
        {
            return Err(format!("--max-usd {limit}: {:.4} used", used.usd));
        }
        used.requests += requests;
        Ok(())
    }
}

/// A teacher whose consumption is counted for one cell and held to the run's budget.
pub struct Meter<'a> {
    inner: &'a dyn Teacher,
    budget: &'a Budget,
    state: Mutex<(Consumed, Option<String>)>,
}

impl<'a> Meter<'a> {
    /// Around `inner`.
    pub fn new(inner: &'a dyn Teacher, budget: &'a Budget) -> Self {
        Self { inner, budget, state: Mutex::default() }
    }

    /// What was consumed since the last call, or the budget that refused a batch since then.
    pub fn take(&self) -> Result<Consumed, String> {
        let (consumed, refused) = std::mem::take(&mut *lock(&self.state));
        refused.map_or(Ok(consumed), Err)
    }
}

impl Teacher for Meter<'_> {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn provenance(&self) -> Provenance {
        self.inner.provenance()
    }

    fn complete(&self, requests: &[Request]) -> Vec<Result<Completion, RequestError>> {
        if let Err(reason) = self.budget.take(requests.len() as u64) {
            lock(&self.state).1 = Some(reason.clone());
            return requests.iter().map(|_| Err(RequestError::Budget(reason.clone()))).collect();
        }
        let answers = self.inner.complete(requests);
        let mut consumed = Consumed { requests: 0, ..Consumed::default() };
        for answer in &answers {
            let one = match answer {
                Ok(completion) => Consumed::of(completion.usage),
                Err(_) => Consumed { requests: 1, ..Consumed::default() },
            };
            consumed = consumed.plus(one);
        }
        // The requests were taken out of the budget before they were sent.
        self.budget.count(Consumed { requests: 0, ..consumed });
        let mut state = lock(&self.state);
        state.0 = state.0.plus(consumed);
        answers
    }

    fn recording(&self) -> Option<&[Recorded]> {
        self.inner.recording()
    }

    fn sources(&self) -> Sources {
        self.inner.sources()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_limit_holds_back_only_what_costs() {
        let budget = Budget::new(Limits { usd: Some(0.0), ..Limits::default() });
        let spend = |usd| budget.count(Consumed { usd: Some(usd), ..Consumed::default() });
        spend(0.0);
        assert_eq!(budget.take(5), Ok(()));
        spend(0.25);
        assert_eq!(budget.take(5), Err("--max-usd 0: 0.2500 used".to_owned()));
    }
}
