//! Numbers of the machine and of this process, under Aurora's names (spec scheduler 7.6), from `/proc`.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use api::statistics::Number;

/// Remembers how much processor time had been used at the last look.
#[derive(Debug, Default)]
pub struct ProcessFigures(Mutex<Option<(Instant, f64)>>);

impl ProcessFigures {
    /// The load of the machine, and the cores this process used since the last look; nothing where `/proc` does not say.
    pub fn numbers(&self) -> Vec<(String, Number)> {
        let load = std::fs::read_to_string("/proc/loadavg").ok().as_deref().and_then(load_average);
        let used = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(processor_ticks);
        let seconds = used.map(|ticks| ticks as f64 / TICKS_PER_SECOND);
        let mut numbers = Vec::new();
        numbers.extend(load.map(|load| ("system_load_avg".to_owned(), Number::Real(load))));
        numbers.extend(
            seconds.map(|seconds| ("process_cpu_cores_utilized".to_owned(), Number::Real(self.cores(seconds)))),
        );
        numbers
    }

    fn cores(&self, used_seconds: f64) -> f64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let before = last.replace((now, used_seconds));
        match before {
            Some((then, used)) if now > then => (used_seconds - used).max(0.0) / (now - then).as_secs_f64(),
            _ => 0.0,
        }
    }
}

/// What `/proc` counts processor time in, on every machine that Linux still runs on.
const TICKS_PER_SECOND: f64 = 100.0;

fn load_average(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// User and system time. The name in parentheses may hold anything.
fn processor_ticks(text: &str) -> Option<u64> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_it_is_written() {
        assert_eq!(load_average("0.52 0.58 0.59 1/971 12345\n"), Some(0.52));
        let stat = "42 (a (strange) name) S 1 42 42 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 9 0 12345 0 0";
        assert_eq!(processor_ticks(stat), Some(200));
        assert_eq!((load_average(""), processor_ticks("42 (x) S 1")), (None, None));
    }

    #[test]
    fn cores_are_what_was_used_since_the_last_look() {
        let figures = ProcessFigures::default();
        assert_eq!(figures.numbers().len(), 2);
        assert_eq!(
            figures.numbers().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["system_load_avg", "process_cpu_cores_utilized"]
        );
        let then = Instant::now() - std::time::Duration::from_secs(10);
        *figures.0.lock().unwrap() = Some((then, 100.0));
        let cores = figures.cores(115.0);
        assert!(cores > 1.4 && cores < 1.51, "{cores}");
    }
}
