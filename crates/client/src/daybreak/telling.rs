//! How `plan` and `explain` put things: times, spans, amounts, ranges of instances. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::update::{InstanceRange, to_ranges};

use crate::paint::{Mark, Paint};

/// What things are said in: the present, and the reader's time zone.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Now, in ms since the epoch.
    pub now_ms: i64,
    /// Where the reader is.
    pub zone: TimeZone,
}

/// A span within which the time of day says enough.
const SAME_DAY_MS: i64 = 12 * 3_600_000;

impl Clock {
    /// A time: of the day when it is near, with its date when it is not.
    pub fn at(&self, ms: i64) -> String {
        let pattern = if (self.now_ms - ms).abs() < SAME_DAY_MS { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        self.stamp(ms, pattern)
    }

    /// A time with its date.
    pub fn date(&self, ms: i64) -> String {
        self.stamp(ms, "%Y-%m-%d %H:%M:%S")
    }

    fn stamp(&self, ms: i64, pattern: &str) -> String {
        match Timestamp::from_millisecond(ms) {
            Ok(time) => time.to_zoned(self.zone.clone()).strftime(pattern).to_string(),
            Err(_) => format!("{ms} ms"),
        }
    }

    /// How long ago a time is: `3 min`.
    pub fn since(&self, ms: i64) -> String {
        span(self.now_ms - ms)
    }

    /// `in 20 s`, or `now` for what is due.
    pub fn until(&self, ms: i64) -> String {
        if ms <= self.now_ms { "now".to_owned() } else { format!("in {}", span(ms - self.now_ms)) }
    }
}

/// A span of time in its two largest units.
pub fn span(ms: i64) -> String {
    let secs = ms.max(0) / 1000;
    let two = |first: i64, one: &str, second: i64, other: &str| match second {
        0 => format!("{first} {one}"),
        _ => format!("{first} {one} {second} {other}"),
    };
    match secs {
        0 => "less than a second".to_owned(),
        1..=119 => format!("{secs} s"),
        120..=7199 => two(secs / 60, "min", secs % 60, "s"),
        7200..=172_799 => two(secs / 3600, "h", secs % 3600 / 60, "min"),
        _ => two(secs / 86_400, "days", secs % 86_400 / 3600, "h"),
    }
}

/// `1 task`, `2 tasks`.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `0-4,7`.
pub fn ranges(instances: impl IntoIterator<Item = u32>) -> String {
    let shown = to_ranges(instances).into_iter().map(|InstanceRange { first, last }| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

/// `a, b and 3 more`.
pub fn listed(items: &[String], most: usize) -> String {
    let shown = items.iter().take(most).map(String::as_str).collect::<Vec<_>>();
    match items.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `0.5 cpu`, `16 MB of memory`, by the names of the API.
pub fn amount(kind: &str, amount: f64) -> String {
    match kind {
        "cpus" => format!("{} cpu", number(amount)),
        "ramMb" => format!("{} MB of memory", number(amount)),
        "diskMb" => format!("{} MB of disk", number(amount)),
        "ports" => plural(amount as u64, "port", "ports"),
        "gpus" => plural(amount as u64, "gpu", "gpus"),
        other => format!("{} {other}", number(amount)),
    }
}

/// Without digits that say nothing; amounts are exact to a thousandth.
pub fn number(amount: f64) -> String {
    let text = format!("{amount:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reasons of Aurora's in plain words: `Insufficient: CPU` becomes `not enough cpu free`.
pub fn plain_reason(text: &str) -> String {
    let text = text.trim();
    if let Some(kind) = text.strip_prefix("Insufficient: ") {
        let kind = match kind {
            "CPU" => "cpu",
            "RAM" => "memory",
            "GPU" => "gpu",
            other => other,
        };
        return format!("not enough {kind} free");
    }
    if let Some(name) = text.strip_prefix("Constraint not satisfied: ") {
        return format!("does not satisfy the constraint {name}");
    }
    if let Some(name) = text.strip_prefix("Limit not satisfied: ") {
        return format!("already has as many of the job's tasks as the limit on {name} allows");
    }
    match text {
        "Host is dedicated" => "is dedicated to other jobs".to_owned(),
        "Host draining for maintenance" => "is being drained for maintenance".to_owned(),
        "Host drained for maintenance" => "is drained for maintenance".to_owned(),
        other => other.to_owned(),
    }
}

/// What colours mean here.
pub trait Tones {
    /// What appears or is well.
    fn good(self, text: &str) -> String;
    /// What goes or is wrong.
    fn bad(self, text: &str) -> String;
    /// What changes or waits.
    fn notable(self, text: &str) -> String;
    /// A title.
    fn title(self, text: &str) -> String;
}

impl Tones for Paint {
    fn good(self, text: &str) -> String {
        self.mark(Mark::Added, text)
    }

    fn bad(self, text: &str) -> String {
        self.mark(Mark::Removed, text)
    }

    fn notable(self, text: &str) -> String {
        self.mark(Mark::Notice, text)
    }

    fn title(self, text: &str) -> String {
        self.mark(Mark::Heading, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_their_two_largest_units() {
        for (ms, expected) in [
            (-5, "less than a second"),
            (999, "less than a second"),
            (1000, "1 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (135_000, "2 min 15 s"),
            (7_200_000, "2 h"),
            (9_000_000, "2 h 30 min"),
            (2 * 86_400_000 + 3_600_000, "2 days 1 h"),
        ] {
            assert_eq!(span(ms), expected, "{ms}");
        }
    }

    #[test]
    fn times_have_a_date_when_they_are_far() {
        let clock = Clock { now_ms: 1_600_000_000_000, zone: TimeZone::UTC };
        assert_eq!(clock.at(1_600_000_000_000 - 60_000), "12:25:40");
        assert_eq!(clock.at(1_600_000_000_000 - 86_400_000), "2020-09-12 12:26:40");
        assert_eq!(clock.until(1_600_000_005_000), "in 5 s");
        assert_eq!(clock.until(0), "now");
    }

    #[test]
    fn instances_collapse_into_ranges_and_lists_are_cut() {
        assert_eq!(ranges([4, 0, 1, 2, 3, 7]), "0-4,7");
        assert_eq!(ranges([]), "");
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(listed(&names, 3), "a, b, c");
        assert_eq!(listed(&names, 1), "a and 2 more");
    }

    #[test]
    fn reasons_of_the_scheduler_are_put_in_plain_words() {
        for (text, expected) in [
            ("Insufficient: CPU", "not enough cpu free"),
            ("Insufficient: RAM", "not enough memory free"),
            ("Insufficient: disk", "not enough disk free"),
            ("Insufficient: ports", "not enough ports free"),
            ("Constraint not satisfied: rack", "does not satisfy the constraint rack"),
            ("Limit not satisfied: host", "already has as many of the job's tasks as the limit on host allows"),
            ("Host is dedicated", "is dedicated to other jobs"),
            ("Host drained for maintenance", "is drained for maintenance"),
            ("Something new", "Something new"),
        ] {
            assert_eq!(plain_reason(text), expected);
        }
    }

    #[test]
    fn amounts_have_their_units() {
        assert_eq!((amount("cpus", 0.5), amount("ports", 1.0)), ("0.5 cpu".to_owned(), "1 port".to_owned()));
    }
}
