//! Every zone of the time zone database, each of its shifts from 1970 to 2038: schedules meet exactly the times that somebody finds who
//! looks at the local clock again and again, and no local time twice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use model::cron::{Schedule, Zone};

const HOUR_MS: i64 = 3_600_000;
const QUARTER_MS: i64 = 900_000;

/// A zone as a list: from when on which offset holds, both in ms.
struct Shifts {
    first_offset_ms: i64,
    changes: Vec<(i64, i64)>,
}

impl Shifts {
    fn of(zone: &TimeZone) -> Self {
        let begin = Timestamp::UNIX_EPOCH;
        let end: Timestamp = "2038-01-01T00:00:00Z".parse().unwrap();
        let offset = |offset: jiff::tz::Offset| i64::from(offset.seconds()) * 1000;
        let changes = zone.following(begin).take_while(|change| change.timestamp() < end);
        let changes = changes.map(|change| (change.timestamp().as_millisecond(), offset(change.offset()))).collect();
        Self { first_offset_ms: offset(zone.to_offset(begin)), changes }
    }

    fn offset_ms(&self, at_ms: i64) -> i64 {
        let after = self.changes.partition_point(|(change_ms, _)| *change_ms <= at_ms);
        if after == 0 { self.first_offset_ms } else { self.changes[after - 1].1 }
    }

    fn before(&self, change: usize) -> i64 {
        if change == 0 { self.first_offset_ms } else { self.changes[change - 1].1 }
    }

    /// Whether clocks will show the same once more, after a shift back that is to come.
    fn is_shown_again(&self, at_ms: i64) -> bool {
        let next = self.changes.partition_point(|(change_ms, _)| *change_ms <= at_ms);
        self.changes.get(next).is_some_and(|(change_ms, after_ms)| at_ms + self.before(next) >= change_ms + after_ms)
    }
}

/// A schedule, and the same in words that need no parsing.
struct Rule {
    text: &'static str,
    minutes: &'static [i64],
    /// Empty: every hour, and then each hour that passes counts.
    hours: &'static [i64],
}

const RULES: [Rule; 3] = [
    Rule { text: "0,15,30,45 * * * *", minutes: &[0, 15, 30, 45], hours: &[] },
    Rule { text: "0,30,45 0-3,23 * * *", minutes: &[0, 30, 45], hours: &[0, 1, 2, 3, 23] },
    Rule { text: "30 2 * * *", minutes: &[30], hours: &[2] },
];

impl Rule {
    fn fires(&self, shifts: &Shifts, at_ms: i64) -> bool {
        let local_ms = at_ms + shifts.offset_ms(at_ms);
        let (minute, second) = (local_ms.div_euclid(60_000).rem_euclid(60), local_ms.rem_euclid(60_000));
        let hour = local_ms.div_euclid(HOUR_MS).rem_euclid(24);
        let hour_counts = self.hours.is_empty() || self.hours.contains(&hour) && !shifts.is_shown_again(at_ms);
        second == 0 && self.minutes.contains(&minute) && hour_counts
    }
}

#[test]
fn every_shift_of_every_zone_from_1970_to_2038_is_met_by_every_schedule_once() {
    let rules = RULES.map(|rule| (rule.text.parse::<Schedule>().unwrap(), rule));
    let mut looked_at: BTreeMap<(i64, Vec<(i64, i64)>), String> = BTreeMap::new();
    let (mut zones, mut changes) = (0, 0);
    for name in TimeZoneDatabase::bundled().available() {
        let shifts = Shifts::of(&TimeZoneDatabase::bundled().get(name.as_str()).unwrap());
        zones += 1;
        changes += shifts.changes.len();
        // Many zones are others under another name.
        let known = looked_at.insert((shifts.first_offset_ms, shifts.changes.clone()), name.as_str().to_owned());
        if known.is_some() {
            continue;
        }
        let zone = Zone::named(name.as_str()).unwrap();
        for change in 0..shifts.changes.len() {
            let (at_ms, after) = shifts.changes[change];
            let before = shifts.before(change);
            let margin_ms = (after - before).abs() + 2 * HOUR_MS;
            // Where clocks are whole quarters of an hour off, nothing lies between.
            let step_ms = if before % QUARTER_MS == 0 && after % QUARTER_MS == 0 { QUARTER_MS } else { 30_000 };
            let from_ms = (at_ms - margin_ms).div_euclid(step_ms) * step_ms;
            let until_ms = at_ms + margin_ms;
            for (schedule, rule) in &rules {
                let walked: Vec<i64> = (from_ms + step_ms..=until_ms)
                    .step_by(step_ms as usize)
                    .filter(|at| rule.fires(&shifts, *at))
                    .collect();
                let times =
                    std::iter::successors(schedule.next_after(from_ms, &zone), |at| schedule.next_after(*at, &zone));
                let met: Vec<i64> = times.take_while(|at| *at <= until_ms).collect();
                assert_eq!(met, walked, "{} in {} at {at_ms}", rule.text, name.as_str());
                if !rule.hours.is_empty() {
                    let local: BTreeSet<i64> = met.iter().map(|at| at + shifts.offset_ms(*at)).collect();
                    assert_eq!(local.len(), met.len(), "{} in {} at {at_ms}", rule.text, name.as_str());
                }
            }
        }
    }
    println!("{zones} zones, {} of them different, {changes} shifts", looked_at.len());
    assert!(zones > 550 && looked_at.len() > 200 && changes > 30_000, "{zones} {} {changes}", looked_at.len());
}
