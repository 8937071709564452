//! How things are put for people: times, durations, amounts, exit codes, states with their shapes. Pure functions.

use std::fmt;

use askama::filters::HtmlSafe;
use engine::files::ProcessState;
use model::resource::Resources;
use model::update::UpdateStatus;
use model::{MaintenanceMode, TaskConfig, TaskStatus};
use scheduler::cron::CronOutcome;

/// Markup made here from our own text and numbers, or escaped before; templates print it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(pub String);

impl fmt::Display for Markup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// How a state looks: its word, its colour and its shape, so that no one has to rely on colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The word.
    pub name: &'static str,
    /// Class of its colour.
    pub tone: &'static str,
    /// Inside of a 16 by 16 drawing.
    shape: &'static str,
}

const DISC: &str = r#"<circle cx="8" cy="8" r="5.2"/>"#;
const RING_DASHED: &str = r#"<circle class="o" cx="8" cy="8" r="5" stroke-dasharray="2.6 2.64"/>"#;
const RING_QUARTER: &str = r#"<circle class="o" cx="8" cy="8" r="5"/><path d="M8 3a5 5 0 0 1 5 5H8z"/>"#;
const RING_HALF: &str = r#"<circle class="o" cx="8" cy="8" r="5"/><path d="M8 3a5 5 0 0 1 0 10z"/>"#;
const HOURGLASS: &str = r#"<path d="M3.5 2.5h9L9.2 8l3.3 5.5h-9L6.8 8z"/>"#;
const CHECK: &str = r#"<path class="o" d="M3 8.6l3.4 3.4L13 4.6"/>"#;
const CROSS: &str = r#"<path class="o" d="M4 4l8 8M12 4l-8 8"/>"#;
const SQUARE: &str = r#"<rect x="3.5" y="3.5" width="9" height="9" rx="1"/>"#;
const SQUARE_HOLLOW: &str = r#"<rect class="o" x="4" y="4" width="8" height="8" rx="1"/>"#;
const DIAMOND: &str = r#"<path d="M8 2l6 6-6 6-6-6z"/>"#;
const DIAMOND_HOLLOW: &str = r#"<path class="o" d="M8 2.8L13.2 8 8 13.2 2.8 8z"/>"#;
const CIRCLING: &str = r#"<path class="o" d="M12.6 9.2A5 5 0 1 1 12 5"/><path d="M13.9 2.2v5H9z"/>"#;
const DOWN: &str = r#"<path class="o" d="M8 2.5v10M3.8 8.4L8 12.6l4.2-4.2"/>"#;
const CHEVRONS: &str = r#"<path class="o" d="M4 3.5L8.5 8 4 12.5M8.5 3.5L13 8l-4.5 4.5"/>"#;
const RIGHT: &str = r#"<path class="o" d="M2.5 8h10M8.4 3.8L12.6 8l-4.2 4.2"/>"#;
const LEFT: &str = r#"<path class="o" d="M13.5 8h-10M7.6 3.8L3.4 8l4.2 4.2"/>"#;
const PAUSE: &str = r#"<path d="M4 3h3v10H4zM9 3h3v10H9z"/>"#;
const PULSE: &str = r#"<path class="o" d="M1.5 8.5h3l2-5 3 9 2-4h3"/>"#;

/// Look of a task's status.
pub fn task_look(status: TaskStatus) -> Look {
    let (tone, shape) = match status {
        TaskStatus::Init => ("wait", RING_DASHED),
        TaskStatus::Throttled => ("flap", HOURGLASS),
        TaskStatus::Pending => ("wait", RING_DASHED),
        TaskStatus::Assigned => ("move", RING_QUARTER),
        TaskStatus::Starting => ("move", RING_HALF),
        TaskStatus::Running => ("good", DISC),
        TaskStatus::Preempting => ("stop", CHEVRONS),
        TaskStatus::Restarting => ("move", CIRCLING),
        TaskStatus::Draining => ("stop", DOWN),
        TaskStatus::Killing => ("stop", SQUARE_HOLLOW),
        TaskStatus::Partitioned => ("odd", DIAMOND_HOLLOW),
        TaskStatus::Finished => ("done", CHECK),
        TaskStatus::Failed => ("bad", CROSS),
        TaskStatus::Killed => ("stop", SQUARE),
        TaskStatus::Lost => ("odd", DIAMOND),
    };
    Look { name: status.name(), tone, shape }
}

/// Look of a maintenance mode.
pub fn mode_look(mode: MaintenanceMode) -> Look {
    let (tone, shape) = match mode {
        MaintenanceMode::None => ("good", DISC),
        MaintenanceMode::Scheduled => ("wait", HOURGLASS),
        MaintenanceMode::Draining => ("move", DOWN),
        MaintenanceMode::Drained => ("stop", SQUARE_HOLLOW),
    };
    Look { name: mode.name(), tone, shape }
}

/// Look of an update's status.
pub fn update_look(status: UpdateStatus) -> Look {
    let (tone, shape) = match status {
        UpdateStatus::RollingForward => ("move", RIGHT),
        UpdateStatus::RollingBack => ("flap", LEFT),
        UpdateStatus::RollForwardPaused | UpdateStatus::RollBackPaused => ("wait", PAUSE),
        UpdateStatus::RollForwardAwaitingPulse | UpdateStatus::RollBackAwaitingPulse => ("wait", PULSE),
        UpdateStatus::RolledForward => ("done", CHECK),
        UpdateStatus::RolledBack => ("flap", CIRCLING),
        UpdateStatus::Aborted => ("stop", SQUARE),
        UpdateStatus::Error | UpdateStatus::Failed => ("bad", CROSS),
    };
    Look { name: status.name(), tone, shape }
}

/// Look of what became of a run of a cron job.
pub fn cron_look(outcome: &CronOutcome) -> Look {
    let (tone, shape) = match outcome {
        CronOutcome::Started => ("good", RIGHT),
        CronOutcome::Waiting(_) => ("wait", HOURGLASS),
        CronOutcome::Cancelled => ("stop", SQUARE_HOLLOW),
        CronOutcome::Ignored => ("stop", CHEVRONS),
        CronOutcome::Missed => ("odd", DIAMOND_HOLLOW),
    };
    Look { name: outcome.name(), tone, shape }
}

/// Look of a run of a process.
pub fn process_look(state: ProcessState) -> Look {
    let (tone, shape) = match state {
        ProcessState::Waiting => ("wait", RING_DASHED),
        ProcessState::Forked => ("move", RING_HALF),
        ProcessState::Running => ("good", DISC),
        ProcessState::Success => ("done", CHECK),
        ProcessState::Killed => ("stop", SQUARE),
        ProcessState::Failed => ("bad", CROSS),
        ProcessState::Lost => ("odd", DIAMOND),
    };
    Look { name: state.name(), tone, shape }
}

impl Look {
    fn icon(&self) -> String {
        format!(r#"<svg class="i" viewBox="0 0 16 16" aria-hidden="true">{}</svg>"#, self.shape)
    }

    /// The state as a word with its shape.
    pub fn badge(&self) -> Markup {
        Markup(format!(r#"<span class="state {}">{}{}</span>"#, self.tone, self.icon(), self.name))
    }

    /// The state with a count, e.g. `3 RUNNING`.
    pub fn count(&self, count: u64) -> Markup {
        Markup(format!(
            r#"<span class="state {}">{}<b>{}</b> {}</span>"#,
            self.tone,
            self.icon(),
            grouped(count),
            self.name
        ))
    }
}

/// A number with its thousands apart: `100,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 task`, `2 tasks`.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

fn at(ms: i64, pattern: &str) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| "?".into(), |time| time.strftime(pattern).to_string())
}

/// A time of day and date in UTC; scripts turn it into the reader's zone.
pub fn moment(ms: i64) -> Markup {
    let iso = at(ms, "%Y-%m-%dT%H:%M:%S%.3fZ");
    let utc = at(ms, "%Y-%m-%d %H:%M:%S UTC");
    Markup(format!(r#"<time datetime="{iso}" title="{utc}" data-at>{utc}</time>"#))
}

/// An age such as `3 min ago`, kept current by scripts, with the time itself on hover.
pub fn ago(ms: i64, now_ms: i64) -> Markup {
    let iso = at(ms, "%Y-%m-%dT%H:%M:%S%.3fZ");
    let utc = at(ms, "%Y-%m-%d %H:%M:%S UTC");
    let text = match now_ms.saturating_sub(ms) {
        age if age < 2_000 => "just now".into(),
        age => format!("{} ago", rough(age)),
    };
    Markup(format!(r#"<time datetime="{iso}" title="{utc}" data-ago>{text}</time>"#))
}

/// Time left until a moment, counted down by scripts.
pub fn left(until_ms: i64, now_ms: i64) -> Markup {
    let iso = at(until_ms, "%Y-%m-%dT%H:%M:%S%.3fZ");
    let text = exact(until_ms.saturating_sub(now_ms).max(0));
    Markup(format!(r#"<time datetime="{iso}" data-left>{text}</time>"#))
}

/// A duration in its largest unit: `5 s`, `3 min`, `2 h`, `4 days`.
pub fn rough(ms: i64) -> String {
    let secs = ms.max(0) / 1000;
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs / 60),
        3_600..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// A duration in its two largest units: `0.2 s`, `27 s`, `3 min 12 s`, `2 h 5 min`, `4 days 3 h`.
pub fn exact(ms: i64) -> String {
    let ms = ms.max(0);
    let secs = ms / 1000;
    let both = |first: String, rest: i64, unit: &str| if rest > 0 { format!("{first} {rest} {unit}") } else { first };
    match secs {
        0..10 if ms % 1000 >= 100 => format!("{}.{} s", secs, ms % 1000 / 100),
        0..60 => format!("{secs} s"),
        60..3_600 => both(format!("{} min", secs / 60), secs % 60, "s"),
        3_600..86_400 => both(format!("{} h", secs / 3_600), secs % 3_600 / 60, "min"),
        _ => both(plural((secs / 86_400) as u64, "day", "days"), secs % 86_400 / 3_600, "h"),
    }
}

/// An amount of bytes: `512 B`, `4.0 KiB`, `15.5 GiB`.
pub fn bytes(amount: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if amount < 1024 {
        return format!("{amount} B");
    }
    let mut value = amount as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// An amount of MB: `512 MB`, `2 GB`, `15.5 GB` (in steps of 1024, as Aurora counts).
pub fn megabytes(amount: i64) -> String {
    if amount < 10_240 && (amount == 0 || amount % 1024 != 0) { format!("{amount} MB") } else { gigabytes(amount) }
}

fn gigabytes(amount: i64) -> String {
    let tenths = (amount as f64 / 102.4).round();
    if tenths >= 100_000.0 { format!("{:.1} TB", tenths / 10_240.0) } else { format!("{} GB", tenths / 10.0) }
}

/// Part of an amount of MB, in one unit where that is readable: `1.6 of 15.5 GB`.
pub fn part_of_megabytes(part: i64, whole: i64) -> String {
    let whole = megabytes(whole);
    match whole.split_once(' ') {
        Some((_, "GB")) => format!("{} of {whole}", (part as f64 / 102.4).round() / 10.0),
        Some((_, "MB")) => format!("{part} of {whole}"),
        _ => format!("{} of {whole}", megabytes(part)),
    }
}

/// What a task asks for: `1 cpu, 128 MB memory, 8 MB disk`.
pub fn resources(amounts: &Resources) -> String {
    let mut text =
        format!("{} cpu, {} memory, {} disk", amounts.cpu, megabytes(amounts.ram_mb), megabytes(amounts.disk_mb));
    if amounts.gpus > 0 {
        text.push_str(&format!(", {} GPU", amounts.gpus));
    }
    if amounts.ports > 0 {
        text.push_str(&format!(", {}", plural(amounts.ports as u64, "port", "ports")));
    }
    text
}

/// `service`, `batch job`.
pub fn kind(config: &TaskConfig) -> &'static str {
    if config.is_service { "service" } else { "batch" }
}

/// An exit status for people: `exit 1`, `killed by SIGKILL (9)`.
pub fn exit(code: i32) -> String {
    if code >= 0 {
        return match code {
            126 => "exit 126 (not executable)".into(),
            127 => "exit 127 (command not found)".into(),
            _ => format!("exit {code}"),
        };
    }
    let number = code.unsigned_abs();
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        _ => return format!("killed by signal {number}"),
    };
    format!("killed by {name} ({number})")
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole * 100.0).clamp(0.0, 100.0) } else { 0.0 }
}

/// A bar of `used` out of `total`; its words stand beside it.
pub fn meter(used: f64, total: f64) -> Markup {
    let share = share(used, total);
    bar(share, if share >= 90.0 { " full" } else { "" })
}

/// A bar of `done` out of `total`; `is_success` colours it as such.
pub fn progress(done: f64, total: f64, is_success: bool) -> Markup {
    bar(share(done, total), if is_success { " whole" } else { "" })
}

fn bar(share: f64, tone: &str) -> Markup {
    Markup(format!(
        r#"<svg class="meter{tone}" aria-hidden="true" preserveAspectRatio="none" viewBox="0 0 100 1"><rect width="{share:.1}" height="1"/></svg>"#
    ))
}

/// Counts of states as one bar, in the order given; the words stand beside it.
pub fn spread(counts: &[(Look, u64)]) -> Markup {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let mut bars = String::new();
    let mut x = 0.0;
    for (look, count) in counts.iter().filter(|(_, count)| *count > 0) {
        let width = *count as f64 * 100.0 / total as f64;
        bars.push_str(&format!(r#"<rect class="{}" x="{x:.2}" width="{width:.2}" height="1"/>"#, look.tone));
        x += width;
    }
    Markup(format!(
        r#"<svg class="spread" aria-hidden="true" preserveAspectRatio="none" viewBox="0 0 100 1">{bars}</svg>"#
    ))
}

/// Instances as ranges: `0-4, 7`.
pub fn ranges(ids: impl IntoIterator<Item = u32>) -> String {
    let parts: Vec<String> = model::update::to_ranges(ids)
        .into_iter()
        .map(|range| {
            if range.first == range.last {
                range.first.to_string()
            } else {
                format!("{}–{}", range.first, range.last)
            }
        })
        .collect();
    match parts.len() {
        0..=12 => parts.join(", "),
        more => format!("{} and {} more ranges", parts[..12].join(", "), more - 12),
    }
}

/// A text for a shell: quoted when it needs to be.
pub fn shell(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~' | b'=' | b':');
    if !text.is_empty() && text.bytes().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_name_their_units() {
        assert_eq!([exact(0), exact(240), exact(27_000)], ["0 s", "0.2 s", "27 s"]);
        assert_eq!(
            [exact(192_000), exact(7_500_000), exact(356_400_000), exact(86_410_000)],
            ["3 min 12 s", "2 h 5 min", "4 days 3 h", "1 day"]
        );
        assert_eq!([rough(59_000), rough(61_000), rough(7_200_000)], ["59 s", "1 min", "2 h"]);
    }

    #[test]
    fn amounts_are_short() {
        assert_eq!([bytes(512), bytes(4096), bytes(16_642_998_272)], ["512 B", "4.0 KiB", "15.5 GiB"]);
        assert_eq!([megabytes(8), megabytes(15_872), megabytes(10_240)], ["8 MB", "15.5 GB", "10 GB"]);
        assert_eq!([part_of_megabytes(1_672, 15_872), part_of_megabytes(3, 8)], ["1.6 of 15.5 GB", "3 of 8 MB"]);
        assert_eq!([grouped(7), grouped(1_000), grouped(1_234_567)], ["7", "1,000", "1,234,567"]);
    }

    #[test]
    fn exits_are_in_words() {
        assert_eq!([exit(1), exit(-9), exit(-64)], ["exit 1", "killed by SIGKILL (9)", "killed by signal 64"]);
    }

    #[test]
    fn every_status_differs_from_every_other_in_word_and_shape_or_tone() {
        let looks: Vec<Look> = TaskStatus::ALL.into_iter().map(task_look).collect();
        for (index, one) in looks.iter().enumerate() {
            for other in &looks[index + 1..] {
                let both_waiting = matches!((one.name, other.name), ("INIT", "PENDING"));
                assert!(one.name != other.name && (one.shape != other.shape || both_waiting), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn shell_words_are_quoted_when_needed() {
        assert_eq!(shell("/usr/bin/daybreak"), "/usr/bin/daybreak");
        assert_eq!(shell("/my dir/it's"), r"'/my dir/it'\''s'");
    }
}
