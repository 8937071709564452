//! The figures about levels of service among the statistics, computed every interval from the latest view on a thread of their own
//! (spec scheduler 5.1). What they mean is in [`scheduler::sla::metrics`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use api::statistics::Number;
use gateway::Gateway;
use scheduler::sla::metrics::{MetricSettings, MetricValue, metrics};

use crate::host::wall_clock_ms;

/// Which figures, and how often.
#[derive(Clone, Debug)]
pub struct SlaFigureOptions {
    /// Time between two computations, and the time that each looks back on.
    pub refresh_interval: Duration,
    /// Which.
    pub metrics: MetricSettings,
}

impl Default for SlaFigureOptions {
    fn default() -> Self {
        Self { refresh_interval: Duration::from_secs(60), metrics: MetricSettings::default() }
    }
}

/// The latest figures. The thread ends when this is dropped.
pub struct SlaFigures {
    latest: Arc<Mutex<Arc<BTreeMap<String, MetricValue>>>>,
    _running: mpsc::Sender<()>,
}

impl SlaFigures {
    /// Begins to compute.
    pub fn start(options: SlaFigureOptions, gateway: Arc<Gateway>) -> std::io::Result<Self> {
        let latest = Arc::default();
        let (running, stopped) = mpsc::channel();
        let figures = Self { latest: Arc::clone(&latest), _running: running };
        std::thread::Builder::new().name("sla".into()).spawn(move || {
            let interval = options.refresh_interval.max(Duration::from_millis(1));
            while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
                let window_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
                let found = Arc::new(metrics(&gateway.view(), &options.metrics, wall_clock_ms(), window_ms));
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = found;
            }
        })?;
        Ok(figures)
    }

    /// The figures as they were computed last; none before the first interval is over.
    pub fn numbers(&self) -> Vec<(String, Number)> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let number = |value: &MetricValue| match value {
            MetricValue::Whole(value) => Number::Whole(*value),
            MetricValue::Percent(value) => Number::Real(*value),
        };
        latest.iter().map(|(name, value)| (name.clone(), number(value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use gateway::Policy;

    use super::*;
    use crate::test_support::NoDoor;

    #[test]
    fn figures_appear_after_the_first_interval() {
        let gateway = Arc::new(Gateway::new(Box::new(NoDoor), Policy::default()));
        let options = SlaFigureOptions { refresh_interval: Duration::from_millis(20), ..SlaFigureOptions::default() };
        let figures = SlaFigures::start(options, gateway).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let expected = ("sla_cluster_platform_uptime_percent".to_owned(), Number::Real(100.0));
        while !figures.numbers().contains(&expected) {
            assert!(Instant::now() < deadline, "no figures came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
