//! The texts, and the times against a walk from minute to minute.

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, TimeZoneDatabase};
use proptest::prelude::*;

use super::{Schedule, Zone};

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str) -> String {
    text.parse::<Schedule>().expect_err(text).to_string()
}

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

/// The times a schedule fires after one time, as the zone shows them.
fn times(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let (schedule, zone) = (schedule(text), Zone::named(zone).unwrap());
    let mut at = ms(after);
    let mut times = Vec::new();
    for _ in 0..count {
        at = schedule.next_after(at, &zone).expect("fires");
        times.push(zone.show(at));
    }
    times
}

#[test]
fn what_is_accepted_has_one_canonical_text() {
    for (text, canonical) in [
        ("* * * * *", "* * * * *"),
        ("0 0 1 1 *", "0 0 1 1 *"),
        ("*/15 0-23 * jan-DEC *", "0,15,30,45 * * * *"),
        ("0-59/20 1,2,3,5 * * mon-fri", "0,20,40 1-3,5 * * 1-5"),
        ("5\t5  * *\tSun,Sat", "5 5 * * 0,6"),
        ("0 0 */10 * *", "0 0 1,11,21,31 * *"),
        ("0 0 * */5 *", "0 0 * 1,6,11 *"),
        (",1,,2, 0 * * *", "1-2 0 * * *"),
        ("*/100 * * * *", "0 * * * *"),
        ("007 0 * * *", "7 0 * * *"),
        // A list that happens to cover the range is as good as a star.
        ("0 0 13 * 0,1-3,4-6", "0 0 13 * *"),
        ("0 0 1-31 * 5", "0 0 * * 5"),
        ("5-5 5-5 * * *", "5 5 * * *"),
    ] {
        assert_eq!(schedule(text).to_string(), canonical, "{text}");
        assert_eq!(schedule(canonical), schedule(text));
    }
}

#[test]
fn what_is_refused_says_what_is_wrong_with_which_field() {
    for (text, said) in [
        ("", "has 0 fields"),
        ("* * * *", "has 4 fields"),
        ("0 * * * * *", "has 6 fields"),
        (" * * * * *", "begins or ends with a space"),
        ("* * * * * ", "begins or ends with a space"),
        ("@daily", "nicknames"),
        ("60 * * * *", "minute '60' is out of range, which is 0 to 59"),
        ("* 24 * * *", "hour '24' is out of range"),
        ("* * 0 * *", "day of month '0' is out of range, which is 1 to 31"),
        ("* * 32 * *", "day of month '32'"),
        ("* * * 13 *", "month '13'"),
        ("* * * * 7", "day of week '7' is out of range, which is 0 to 6 (Sunday is 0)"),
        ("* * * * FRI-MON", "day of week 'FRI-MON' goes backwards"),
        ("30-10 * * * *", "goes backwards"),
        ("5/10 * * * *", "has a step and no range"),
        ("*/0 * * * *", "has no step above 0"),
        ("*/x * * * *", "has no step above 0"),
        ("0-10/10 * * * *", "not below the end of its range"),
        ("? * * * *", "is not understood"),
        ("* * L * *", "is not understood"),
        ("* * 1W * *", "is not understood"),
        ("* * * * 2#1", "is not understood"),
        ("-1 * * * *", "is not understood"),
        ("1- * * * *", "is not understood"),
        ("+1 * * * *", "is not understood"),
        ("99999999999999999999999 * * * *", "is out of range"),
        (", * * * *", "names no value"),
        ("0 0 1 * MON", "cannot both be restricted"),
        ("* * * JANUARY *", "is not understood"),
        ("\u{661} * * * *", "is not understood"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(said), "{text}: {refusal}");
        assert!(refusal.contains(&format!("'{text}'")), "{refusal}");
    }
}

#[test]
fn the_next_time_is_strictly_after_and_at_second_0() {
    let zone = Zone::default();
    let next = |text: &str, after: &str| schedule(text).next_after(ms(after), &zone);
    assert_eq!(next("* * * * *", "2026-01-01T00:00:00Z"), Some(ms("2026-01-01T00:01:00Z")));
    assert_eq!(next("* * * * *", "2026-01-01T00:00:59.999Z"), Some(ms("2026-01-01T00:01:00Z")));
    assert_eq!(next("* * * * *", "1969-12-31T23:58:30Z"), Some(ms("1969-12-31T23:59:00Z")));
    assert_eq!(next("0 0 29 2 *", "2096-03-01T00:00:00Z"), Some(ms("2104-02-29T00:00:00Z")));
    assert_eq!(next("0 0 31 * *", "2026-04-01T00:00:00Z"), Some(ms("2026-05-31T00:00:00Z")));
    assert_eq!(next("30 12 * * 0", "2026-11-20T00:00:00Z"), Some(ms("2026-11-22T12:30:00Z")));
    assert_eq!(next("0 0 30 2 *", "2026-01-01T00:00:00Z"), None);
    assert_eq!(schedule("* * * * *").next_after(i64::MAX, &zone), None);
    assert_eq!(schedule("* * * * *").next_after(i64::MIN, &zone), None);
}

#[test]
fn a_time_that_is_left_out_is_skipped_and_one_that_comes_twice_fires_once_unless_every_hour_counts() {
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28 02:30:00 CET", "2026-03-30 02:30:00 CEST", "2026-03-31 02:30:00 CEST"]
    );
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25 02:30:00 CET", "2026-10-26 02:30:00 CET"]
    );
    assert_eq!(
        times("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 4),
        ["2026-10-25 02:00:00 CEST", "2026-10-25 02:00:00 CET", "2026-10-25 03:00:00 CET", "2026-10-25 04:00:00 CET"]
    );
    assert_eq!(
        times("0 1-5 * * *", "America/New_York", "2026-11-01T04:30:00Z", 3),
        ["2026-11-01 01:00:00 EST", "2026-11-01 02:00:00 EST", "2026-11-01 03:00:00 EST"]
    );
    // A zone that changes by half an hour, and one that left out a whole day.
    assert_eq!(
        times("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", 2),
        ["2026-04-05 01:45:00 +1030", "2026-04-06 01:45:00 +1030"]
    );
    assert_eq!(
        times("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3),
        ["2011-12-29 12:00:00 -10", "2011-12-31 12:00:00 +14", "2012-01-01 12:00:00 +14"]
    );
    // Rules that go on beyond the end of every table.
    assert_eq!(times("30 2 * * *", "Europe/Berlin", "2199-03-30T12:00:00Z", 1), ["2199-04-01 02:30:00 CEST"]);
}

#[test]
fn zones_are_found_by_name_and_by_offset() {
    let show = |name: &str| Zone::named(name).unwrap().show(ms("2026-07-01T00:00:00Z"));
    assert_eq!(show("GMT"), "2026-07-01 00:00:00 GMT");
    assert_eq!(show("europe/berlin"), "2026-07-01 02:00:00 CEST");
    assert_eq!(show("GMT+5:30"), "2026-07-01 05:30:00 +05:30");
    assert_eq!(show("GMT-08"), "2026-06-30 16:00:00 -08");
    for unknown in ["", "Mars/Olympus", "GMT+", "GMT+24", "GMT+1:60", "GMT+1:-5", "GMT+é", "Europe/Berlin "] {
        let error = Zone::named(unknown).expect_err(unknown).to_string();
        assert!(error.contains(&format!("'{unknown}'")), "{error}");
    }
    assert_eq!(Zone::default().name(), "GMT");
    assert_eq!(Zone::default().show(0), "1970-01-01 00:00:00 GMT");
}

/// The rule as it is told to people, without any arithmetic: look at the clock each minute.
fn fires_at(schedule: &Schedule, at_ms: i64, zone: &Zone) -> bool {
    let time = Timestamp::from_millisecond(at_ms).unwrap().to_zoned(zone.zone.clone());
    let local = time.datetime();
    let weekday = local.weekday().to_sunday_zero_offset() as u8;
    let first_of_two = matches!(
        zone.zone.to_ambiguous_timestamp(local).offset(),
        AmbiguousOffset::Fold { before, .. } if before == time.offset()
    );
    schedule.minutes.has(local.minute() as u8)
        && schedule.hours.has(local.hour() as u8)
        && schedule.days_of_month.has(local.day() as u8)
        && schedule.months.has(local.month() as u8)
        && schedule.days_of_week.has(weekday)
        && (schedule.hours.is_whole() || !first_of_two)
}

fn walk(schedule: &Schedule, after_ms: i64, until_ms: i64, zone: &Zone) -> Vec<i64> {
    let first = after_ms.div_euclid(60_000) * 60_000 + 60_000;
    (first..=until_ms).step_by(60_000).filter(|at| fires_at(schedule, *at, zone)).collect()
}

fn leap(schedule: &Schedule, after_ms: i64, until_ms: i64, zone: &Zone) -> Vec<i64> {
    let times = std::iter::successors(schedule.next_after(after_ms, zone), |at| schedule.next_after(*at, zone));
    times.take_while(|at| *at <= until_ms).collect()
}

#[test]
fn around_every_change_of_every_zone_the_leaps_meet_the_walk() {
    let schedules = ["17 * * * *", "*/30 0-4 * * *", "45 1,2,23 * * *"].map(schedule);
    let mut changes = 0;
    for name in TimeZoneDatabase::bundled().available() {
        let zone = Zone::named(name.as_str()).unwrap();
        let begin: Timestamp = "2025-06-01T00:00:00Z".parse().unwrap();
        for change in zone.zone.following(begin).take(2) {
            let at_ms = change.timestamp().as_millisecond();
            if at_ms > ms("2030-01-01T00:00:00Z") {
                break;
            }
            changes += 1;
            let (after_ms, until_ms) = (at_ms - 2 * 3_600_000 - 1, at_ms + 2 * 3_600_000);
            for schedule in &schedules {
                let walked = walk(schedule, after_ms, until_ms, &zone);
                assert_eq!(leap(schedule, after_ms, until_ms, &zone), walked, "{schedule} in {name:?} at {at_ms}");
            }
        }
    }
    assert!(changes > 100, "only {changes} changes were seen");
}

fn field(first: u8, last: u8) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => (first..=last).prop_map(|value| value.to_string()),
        1 => (first..=last, first..=last).prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        1 => (2u8..20).prop_map(|step| format!("*/{step}")),
        1 => proptest::collection::vec(first..=last, 1..4)
            .prop_map(|values| values.iter().map(u8::to_string).collect::<Vec<_>>().join(",")),
    ]
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let days = prop_oneof![
        field(1, 31).prop_map(|day| (day, "*".to_owned())),
        field(0, 6).prop_map(|day| ("*".to_owned(), day))
    ];
    (field(0, 59), field(0, 23), days, field(1, 12))
        .prop_map(|(minute, hour, (day, weekday), month)| schedule(&format!("{minute} {hour} {day} {month} {weekday}")))
}

const ZONES: [&str; 8] = [
    "GMT",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Africa/Casablanca",
    "Pacific/Chatham",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn leaps_meet_the_walk(
        schedule in any_schedule(),
        zone in proptest::sample::select(&ZONES[..]),
        after_ms in 946_684_800_000i64..2_145_916_800_000,
    ) {
        let zone = Zone::named(zone).unwrap();
        let until_ms = after_ms + 4 * 86_400_000;
        let walked = walk(&schedule, after_ms, until_ms, &zone);
        prop_assert_eq!(&leap(&schedule, after_ms, until_ms, &zone), &walked);
        prop_assert_eq!(schedule.last_between(after_ms, until_ms, &zone), walked.last().copied());
        prop_assert_eq!(schedule.count_between(after_ms, until_ms, &zone, 100), walked.len().min(100) as u32);
    }

    #[test]
    fn the_canonical_text_means_the_same(schedule in any_schedule()) {
        prop_assert_eq!(super::tests::schedule(&schedule.to_string()), schedule);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9*/,\\- A-Za-z?#@]{0,24}") {
        if let Ok(schedule) = text.parse::<Schedule>() {
            prop_assert!(schedule.to_string().parse::<Schedule>().is_ok());
        }
    }
}
