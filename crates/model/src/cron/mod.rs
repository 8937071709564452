//! Schedules of cron jobs: the five-field text as Aurora reads it, and the time zone it is meant in (spec scheduler 4.1).
//!
//! [`Schedule`] is the text taken apart; [`Schedule::next_after`] is when it fires next; [`Zone`] is a time zone from data that
//! are part of the program, so that the same build gives the same times on every machine. No clock, and no decision whether a
//! job is run.

mod field;
mod next;
#[cfg(test)]
mod tests;
mod zone;

use std::fmt;
use std::str::FromStr;

use field::Field;

pub use zone::{UnknownZone, Zone};

/// A cron schedule, taken apart. Fires at second 0 of each minute that matches all five fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: Field,
    hours: Field,
    days_of_month: Field,
    months: Field,
    days_of_week: Field,
}

/// Why a text is no schedule; for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(pub(crate) String);

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let error = |what: String| ScheduleError(format!("Cron schedule '{text}' is not valid: {what}."));
        if text.starts_with('@') {
            return Err(error("nicknames are not known, write the five fields, as in 0 0 * * * for midnight".into()));
        }
        if text != text.trim() {
            return Err(error("it begins or ends with a space".into()));
        }
        let parts: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = parts[..] else {
            return Err(error(format!(
                "it has {} fields and needs five: minute, hour, day of month, month, day of week",
                parts.len()
            )));
        };
        let read = |kind: &'static field::Kind, text: &str| Field::read(kind, text).map_err(error);
        let schedule = Self {
            minutes: read(&field::MINUTE, minute)?,
            hours: read(&field::HOUR, hour)?,
            days_of_month: read(&field::DAY_OF_MONTH, day_of_month)?,
            months: read(&field::MONTH, month)?,
            days_of_week: read(&field::DAY_OF_WEEK, day_of_week)?,
        };
        if !schedule.days_of_month.is_whole() && !schedule.days_of_week.is_whole() {
            return Err(error("day of month and day of week cannot both be restricted, one of them must be *".into()));
        }
        Ok(schedule)
    }
}

impl fmt::Display for Schedule {
    /// The canonical text: `*` for a whole range, otherwise the values with neighbours drawn together.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { minutes, hours, days_of_month, months, days_of_week } = self;
        write!(formatter, "{minutes} {hours} {days_of_month} {months} {days_of_week}")
    }
}
