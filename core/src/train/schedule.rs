//! Learning-rate schedule.

/// Linear warm-up from zero, then linear decay to zero (`get_linear_schedule_with_warmup` of transformers).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearSchedule {
    /// Rate at the end of warm-up.
    pub learning_rate: f64,
    /// Steps of warm-up.
    pub warmup_steps: usize,
    /// Step at which the rate reaches zero; it stays there.
    pub total_steps: usize,
}

impl LinearSchedule {
    /// Rate of optimizer step `step`, counted from 0.
    pub fn at(&self, step: usize) -> f64 {
        let factor = if step < self.warmup_steps {
            step as f64 / self.warmup_steps as f64
        } else {
            let left = self.total_steps.saturating_sub(step) as f64;
            left / self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64
        };
        self.learning_rate * factor
    }
}

#[cfg(test)]
mod tests {
    use super::LinearSchedule;

    #[test]
    fn rises_then_falls_to_zero_and_stays() {
        let schedule = LinearSchedule { learning_rate: 2.0, warmup_steps: 4, total_steps: 12 };
        let rates: Vec<f64> = (0..14).map(|step| schedule.at(step)).collect();
        assert_eq!(rates, [0.0, 0.5, 1.0, 1.5, 2.0, 1.75, 1.5, 1.25, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
    }

    #[test]
    fn without_warmup_the_first_step_has_the_full_rate() {
        assert_eq!(LinearSchedule { learning_rate: 3.0, warmup_steps: 0, total_steps: 10 }.at(0), 3.0);
    }

    #[test]
    fn warmup_longer_than_the_run_never_divides_by_zero() {
        let schedule = LinearSchedule { learning_rate: 1.0, warmup_steps: 10, total_steps: 5 };
        assert!((0..20).all(|step| schedule.at(step).is_finite()));
    }
}
