//! How long to wait before another attempt: doubling with jitter, up to a bound (spec mesos 1.8).

use std::time::Duration;

/// Waits that double.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        let min = min.max(Duration::from_millis(1));
        Self { min, max: max.max(min), next: min }
    }

    /// The next wait: a random share between a half and the whole, so that many schedulers do not come back at once.
    pub(crate) fn wait(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.max);
        bound.mul_f64(0.5 + 0.5 * fastrand::f64())
    }

    /// Starts again from the shortest wait.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_again() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(15));
        let mut backoff = Backoff::new(min, max);
        let mut bound = min;
        for _ in 0..20 {
            let wait = backoff.wait();
            assert!(wait >= bound / 2 && wait <= bound, "{wait:?} within {bound:?}");
            bound = (bound * 2).min(max);
        }
        assert_eq!(bound, max);
        backoff.reset();
        assert!(backoff.wait() <= min);
    }
}
