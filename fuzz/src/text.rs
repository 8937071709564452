//! What people write: names, files of users, schedules.

use model::JobKey;
use model::cron::{Schedule, Zone};
use security::grant::Grant;

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// A key that could be read is written the same.
pub fn names(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(key) = text.parse::<JobKey>() {
        assert!(key.is_valid());
        assert_eq!(key.to_string().parse::<JobKey>().as_ref(), Ok(&key));
    }
    if let Ok(grant) = text.parse::<Grant>() {
        // What names no alternatives covers itself.
        let is_plain = !text.contains(',') && text.split(':').all(|part| part == part.trim());
        assert!(!is_plain || grant.implies(text), "{text}");
    }
}

/// A file is refused with its line or read; passwords never stand in what is said about it.
pub fn shiro_ini(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match security::ini::parse("users.ini", text) {
        Ok(accounts) => {
            for user in accounts.users.values().take(3).filter(|user| user.password.is_plain()) {
                let _ = user.password.matches("word");
            }
        }
        Err(error) => assert!(error.to_string().contains("users.ini")),
    }
}

/// A schedule fires after the moment that it was asked about, and the looks backwards agree.
pub fn cron(data: &[u8]) {
    let Some((zone, rest)) = data.split_first() else { return };
    let Some((at, rest)) = rest.split_first_chunk::<8>() else { return };
    let Some(Ok(schedule)) = text(rest).map(str::parse::<Schedule>) else { return };
    let zones = ["GMT", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];
    let zone = Zone::named(zones[usize::from(*zone) % zones.len()]).expect("a zone");
    // Times that a scheduler may be asked about, and others.
    let at = i64::from_le_bytes(*at);
    let at = if at % 3 == 0 { at } else { at.rem_euclid(4_000_000_000_000) };
    let Some(next) = schedule.next_after(at, &zone) else { return };
    assert!(next > at, "{next} is not after {at}");
    assert_eq!(schedule.last_between(at, next, &zone), Some(next), "after {at}");
    assert_eq!(schedule.count_between(at, next, &zone, 10), 1, "after {at}");
    assert_eq!(schedule.to_string().parse::<Schedule>().map_err(|error| error.to_string()), Ok(schedule));
}
