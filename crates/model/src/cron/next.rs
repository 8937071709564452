//! When a schedule fires.
//!
//! What happens when clocks are changed (spec scheduler 4.1; the calendar that Aurora's triggers use does the same except where
//! said):
//!
//! - A local time that is left out does not exist, and nothing fires for it that day.
//! - Of a local time that comes twice, a schedule that names its hours fires the second time only: once.
//! - A schedule of every hour fires in both: an hour passes each time. (Aurora's leaves the first of the two out.)

use jiff::Timestamp;
use jiff::tz::Offset;

use super::{Schedule, Zone};

const MINUTE_MS: i64 = 60_000;
const MINUTES_PER_DAY: i64 = 24 * 60;
const DAY_MS: i64 = MINUTES_PER_DAY * MINUTE_MS;
/// Between two 29ths of February there may be eight years, when a century between them has none.
const HORIZON_MS: i64 = 9 * 366 * DAY_MS;

fn offset_ms(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1000
}

/// The smallest whole number of minutes that is not below.
fn ceil_minutes(ms: i64) -> i64 {
    -(-ms).div_euclid(MINUTE_MS)
}

impl Schedule {
    /// The first time it fires strictly after `after_ms`, both in ms since the epoch; `None` when it never does, as on a 30th of
    /// February.
    pub fn next_after(&self, after_ms: i64, zone: &Zone) -> Option<i64> {
        let after = Timestamp::from_millisecond(after_ms).ok()?;
        let mut offset = offset_ms(zone.zone.to_offset(after));
        let mut from_minute = (after_ms + offset).div_euclid(MINUTE_MS) + 1;
        let end_ms = after_ms.saturating_add(HORIZON_MS);
        // Between two changes of the zone its clocks run evenly, and all is arithmetic.
        for change in zone.zone.following(after) {
            let at_ms = change.timestamp().as_millisecond();
            if at_ms > end_ms {
                break;
            }
            let next_offset = offset_ms(change.offset());
            // What is shown once more after the change is left to the second time.
            let shown_again = !self.hours.is_whole() && next_offset < offset;
            let until_ms = at_ms + if shown_again { next_offset } else { offset };
            if let Some(minute) = self.next_local(from_minute, ceil_minutes(until_ms)) {
                return Some(minute * MINUTE_MS - offset);
            }
            offset = next_offset;
            from_minute = from_minute_after(at_ms, after_ms, offset);
        }
        self.next_local(from_minute, ceil_minutes(end_ms + offset)).map(|minute| minute * MINUTE_MS - offset)
    }

    /// The last time it fired, not after `until_ms` and strictly after `after_ms`, both in ms since the epoch.
    pub fn last_between(&self, after_ms: i64, until_ms: i64, zone: &Zone) -> Option<i64> {
        // Looks back further and further; most schedules fire often.
        let windows = [MINUTE_MS * 60, DAY_MS, 32 * DAY_MS, 367 * DAY_MS, HORIZON_MS];
        for window_ms in windows {
            let begin_ms = until_ms.saturating_sub(window_ms).max(after_ms);
            let first = self.next_after(begin_ms, zone).filter(|first| *first <= until_ms);
            let times = std::iter::successors(first, |time| self.next_after(*time, zone));
            if let Some(last) = times.take_while(|time| *time <= until_ms).last() {
                return Some(last);
            }
            if begin_ms == after_ms {
                return None;
            }
        }
        None
    }

    /// How often it fires strictly after `after_ms` and not after `until_ms`; counting ends at `most`.
    pub fn count_between(&self, after_ms: i64, until_ms: i64, zone: &Zone, most: u32) -> u32 {
        let times = std::iter::successors(self.next_after(after_ms, zone), |time| self.next_after(*time, zone));
        times.take_while(|time| *time <= until_ms).take(most as usize).count() as u32
    }

    /// The first matching local minute in `from..until`, in minutes since the local epoch.
    fn next_local(&self, from: i64, until: i64) -> Option<i64> {
        let mut day = from.div_euclid(MINUTES_PER_DAY);
        let mut minute_of_day = from.rem_euclid(MINUTES_PER_DAY);
        while day * MINUTES_PER_DAY + minute_of_day < until {
            let date = Offset::UTC.to_datetime(Timestamp::from_millisecond(day * DAY_MS).ok()?).date();
            // The epoch was a Thursday.
            let weekday = (day + 4).rem_euclid(7) as u8;
            let is_month = self.months.has(date.month() as u8);
            if is_month && self.days_of_month.has(date.day() as u8) && self.days_of_week.has(weekday) {
                let (hour, minute) = ((minute_of_day / 60) as u8, (minute_of_day % 60) as u8);
                if let Some(found) = self.next_in_day(hour, minute) {
                    let found = day * MINUTES_PER_DAY + found;
                    return (found < until).then_some(found);
                }
            }
            day += if is_month { 1 } else { i64::from(date.days_in_month() - date.day()) + 1 };
            minute_of_day = 0;
        }
        None
    }

    /// The first matching minute of a day from that one on.
    fn next_in_day(&self, hour: u8, minute: u8) -> Option<i64> {
        let this_hour = self.hours.has(hour).then(|| self.minutes.first_from(minute)).flatten();
        let (hour, minute) = match this_hour {
            Some(minute) => (hour, minute),
            None => (self.hours.first_from(hour + 1)?, self.minutes.first_from(0)?),
        };
        Some(i64::from(hour) * 60 + i64::from(minute))
    }
}

/// The first local minute that begins at a change of the zone or later, and after the time that is asked about.
fn from_minute_after(change_ms: i64, after_ms: i64, offset: i64) -> i64 {
    ceil_minutes(change_ms + offset).max((after_ms + offset).div_euclid(MINUTE_MS) + 1)
}
