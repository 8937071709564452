//! What the results of health probes mean for a task (spec executor 2.6), and how the views of several watchers are combined (2.5).
//! Pure: probing itself is elsewhere.
//!
//! Attempts are counted, not seconds: the first `forgiving` probes may fail, and a task that has not had its successes in a row by the last
//! attempt that could have brought them is given up.

use super::schema::HealthCheckConfig;

/// Said of a task that no check applies to.
pub const ASSUMED_HEALTHY: &str = "No health-check defined, task is assumed healthy.";
/// Said of a task whose probes succeed.
pub const HEALTHY: &str = "Task is healthy.";
/// Said when the successes did not come.
pub const NOT_IN_TIME: &str = "Not enough successful health checks in time.";
/// Shortest pause between two probes, milliseconds: a job that asks for none would keep its executor busy with nothing else.
pub const INTERVAL_MS_MIN: u64 = 50;

/// What a watcher of a task holds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It is not to be called running yet.
    Starting,
    /// It is running; the message says why.
    Running(String),
    /// It must end; the message says why.
    Failed(String),
}

/// The opinion that counts (spec executor 2.5): the first that is against the task, else that it is starting, else the first that it
/// runs, else none.
pub fn combine(opinions: impl IntoIterator<Item = Option<Opinion>>) -> Option<Opinion> {
    let mut combined = None;
    for opinion in opinions.into_iter().flatten() {
        match (&opinion, &combined) {
            (Opinion::Failed(_), _) => return Some(opinion),
            (Opinion::Starting, _) | (Opinion::Running(_), None) => combined = Some(opinion),
            (Opinion::Running(_), Some(_)) => {}
        }
    }
    combined
}

/// Why a probe failed, or that it did not.
pub type ProbeResult = Result<(), String>;

/// The account of a task's probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    forgiving: u64,
    attempts_max: u64,
    failures_max: u64,
    successes_min: u64,
    attempts: u64,
    successes: u64,
    failures: u64,
    running: bool,
    unhealthy: Option<String>,
}

impl Health {
    /// Nothing probed yet.
    pub fn new(config: &HealthCheckConfig) -> Self {
        let interval_secs = interval_ms(config) as f64 / 1000.0;
        let forgiving = (config.initial_interval_secs.max(0.0) / interval_secs).ceil() as u64;
        let failures_max = u64::try_from(config.max_consecutive_failures).unwrap_or(0);
        let successes_min = u64::try_from(config.min_consecutive_successes).unwrap_or(0).max(1);
        Self {
            forgiving,
            attempts_max: forgiving.saturating_add(failures_max).saturating_add(successes_min),
            failures_max,
            successes_min,
            attempts: 0,
            successes: 0,
            failures: 0,
            running: false,
            unhealthy: None,
        }
    }

    /// Whether another probe is to be made now. Without one the task may have become unhealthy: too many were made in vain.
    pub fn may_probe(&mut self) -> bool {
        if self.unhealthy.is_none() && !self.running && self.attempts > self.attempts_max {
            self.unhealthy = Some(NOT_IN_TIME.to_owned());
        }
        self.unhealthy.is_none()
    }

    /// Takes in the result of a probe.
    pub fn account(&mut self, result: ProbeResult) {
        if self.unhealthy.is_some() {
            return;
        }
        self.attempts = (self.attempts + 1).min(self.attempts_max.saturating_add(1));
        let reason = match result {
            Ok(()) => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                self.running |= self.successes >= self.successes_min;
                return;
            }
            Err(reason) => reason,
        };
        self.successes = 0;
        if self.attempts <= self.forgiving {
            return;
        }
        let left = self.attempts_max.saturating_sub(self.attempts);
        let hopeless = !self.running && left > 1 && left < self.successes_min;
        self.failures += 1;
        if hopeless || self.failures > self.failures_max {
            self.unhealthy = Some(reason);
        }
    }

    /// What follows for the task.
    pub fn opinion(&self) -> Opinion {
        match &self.unhealthy {
            Some(reason) => Opinion::Failed(format!("Failed health check! {reason}")),
            None if self.running => Opinion::Running(HEALTHY.to_owned()),
            None => Opinion::Starting,
        }
    }

    /// Failures in a row that counted.
    pub fn consecutive_failures(&self) -> u64 {
        self.failures
    }
}

/// Pause between the end of a probe and the next one, milliseconds.
pub fn interval_ms(config: &HealthCheckConfig) -> u64 {
    milliseconds(config.interval_secs).max(INTERVAL_MS_MIN)
}

/// Time a probe may take, milliseconds. Unset or senseless times count as one second.
pub fn timeout_ms(config: &HealthCheckConfig) -> u64 {
    if config.timeout_secs > 0.0 { milliseconds(config.timeout_secs).max(1) } else { 1000 }
}

fn milliseconds(secs: f64) -> u64 {
    // A negative or senseless number becomes 0, an absurd one the largest there is.
    (secs * 1000.0).round() as u64
}

/// What the answer to an HTTP probe means. `body` is what came, `code` its status; an answer that tells of an error has an empty body.
pub fn judge_answer(expected_response: &str, expected_code: i64, body: &str, code: u16) -> ProbeResult {
    let body = body.trim().to_lowercase();
    let expected = expected_response.trim();
    if !expected.is_empty() && expected.to_lowercase() != body {
        return Err(format!(
            "Response differs from expected response (expected \"{}\", got \"{}\")",
            shortened(expected),
            shortened(&body)
        ));
    }
    if expected_code != 0 && expected_code != i64::from(code) {
        return Err(format!("Response code differs from expected response (expected {expected_code}, got {code})"));
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    if text.chars().count() < 10 { text.to_owned() } else { text.chars().take(7).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(initial: f64, interval: f64, failures: i64, successes: i64) -> HealthCheckConfig {
        HealthCheckConfig {
            initial_interval_secs: initial,
            interval_secs: interval,
            max_consecutive_failures: failures,
            min_consecutive_successes: successes,
            ..HealthCheckConfig::default()
        }
    }

    /// Plays probes (`+` good, `-` bad) and writes the opinion after each: s starting, R running, F failed, and T once no more probe is
    /// made for want of successes.
    fn play(config: &HealthCheckConfig, probes: &str) -> String {
        let mut health = Health::new(config);
        let mut seen = String::new();
        for probe in probes.chars() {
            if !health.may_probe() {
                let Opinion::Failed(message) = health.opinion() else { panic!("no probe and no failure") };
                seen.push(if message.ends_with(NOT_IN_TIME) { 'T' } else { 'F' });
                continue;
            }
            health.account(if probe == '+' { Ok(()) } else { Err("bad".into()) });
            seen.push(match health.opinion() {
                Opinion::Starting => 's',
                Opinion::Running(_) => 'R',
                Opinion::Failed(_) => 'F',
            });
        }
        seen
    }

    #[test]
    fn probes_lead_to_the_opinions_of_the_table() {
        for (initial, interval, failures, successes, probes, opinions) in [
            // Success on the first probe.
            (15.0, 10.0, 0, 1, "+", "R"),
            // Two are forgiven, and forgiven also once the task runs.
            (15.0, 10.0, 0, 1, "--+", "ssR"),
            (15.0, 10.0, 0, 1, "+-+", "RRR"),
            (15.0, 10.0, 0, 1, "---+", "ssFF"),
            (15.0, 10.0, 0, 1, "+--", "RRF"),
            // Two forgiven, four allowed, then one success, then five failures: twelve probes.
            (15.0, 10.0, 4, 1, "------+-----", "ssssssRRRRRF"),
            // No grace: the first failure counts.
            (0.0, 10.0, 0, 1, "-", "F"),
            (0.0, 10.0, 2, 1, "---", "ssF"),
            (0.0, 10.0, 2, 1, "+--+--+---", "RRRRRRRRRF"),
            // Four successes are needed: with fewer attempts left than that it is given up early, unless one attempt or none is left.
            (0.0, 10.0, 4, 4, "++++", "sssR"),
            (0.0, 10.0, 5, 4, "------", "sssssF"),
            (0.0, 10.0, 4, 4, "-+-+--", "ssssFF"),
            (0.0, 10.0, 9, 2, "-+-+-+-+-+-+", "ssssssssssss"),
            (0.0, 10.0, 9, 2, "-+-+-+-+-+-+-", "ssssssssssssT"),
            // Senseless numbers are taken for the nearest sensible ones.
            (-1.0, 0.0, -5, 0, "+-", "RF"),
            (0.0, f64::NAN, 0, -3, "+", "R"),
        ] {
            let config = config(initial, interval, failures, successes);
            assert_eq!(play(&config, probes), opinions, "{initial} {interval} {failures} {successes} {probes}");
        }
    }

    #[test]
    fn an_unhealthy_task_never_recovers_and_keeps_its_reason() {
        let mut health = Health::new(&config(0.0, 1.0, 0, 1));
        health.account(Err("first".into()));
        health.account(Ok(()));
        assert!(!health.may_probe());
        assert_eq!(health.opinion(), Opinion::Failed("Failed health check! first".into()));
    }

    #[test]
    fn opinions_are_combined_as_specified() {
        let text = |text: &str| -> Option<Opinion> {
            match text.split_at(1) {
                ("s", _) => Some(Opinion::Starting),
                ("R", why) => Some(Opinion::Running(why.into())),
                ("F", why) => Some(Opinion::Failed(why.into())),
                _ => None,
            }
        };
        for (opinions, combined) in [
            (vec![], "-"),
            (vec!["-", "-"], "-"),
            (vec!["-", "R1", "R2"], "R1"),
            (vec!["R1", "s"], "s"),
            (vec!["s", "R1"], "s"),
            (vec!["s", "R1", "F1", "F2"], "F1"),
        ] {
            assert_eq!(combine(opinions.iter().map(|each| text(each))), text(combined), "{opinions:?}");
        }
    }

    #[test]
    fn answers_are_judged_with_the_texts_of_the_reference() {
        for (response, code, body, got, reason) in [
            ("ok", 0, " OK\n", 200, ""),
            ("ok", 0, "ok", 500, ""),
            ("", 0, "anything", 500, ""),
            ("", 200, "anything", 200, ""),
            ("OK", 200, "ok", 201, "Response code differs from expected response (expected 200, got 201)"),
            ("ok", 0, "", 503, "Response differs from expected response (expected \"ok\", got \"\")"),
            (
                "0123456789",
                0,
                "ABCDEFGHIJ",
                200,
                "Response differs from expected response (expected \"0123456...\", got \"abcdefg...\")",
            ),
            ("012345678", 0, "no", 200, "Response differs from expected response (expected \"012345678\", got \"no\")"),
        ] {
            let judged = judge_answer(response, code, body, got);
            assert_eq!(judged.err().unwrap_or_default(), reason);
        }
    }

    #[test]
    fn times_of_a_configuration() {
        assert_eq!((interval_ms(&config(0.0, 0.25, 0, 1)), interval_ms(&config(0.0, 0.0, 0, 1))), (250, 50));
        assert_eq!(timeout_ms(&HealthCheckConfig { timeout_secs: 0.5, ..HealthCheckConfig::default() }), 500);
        assert_eq!(timeout_ms(&HealthCheckConfig { timeout_secs: 0.0, ..HealthCheckConfig::default() }), 1000);
    }
}
