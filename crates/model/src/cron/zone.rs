//! A time zone by name, from data that are part of the program.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

/// A time zone. The default is GMT (spec scheduler 4.2).
#[derive(Clone)]
pub struct Zone {
    name: String,
    pub(super) zone: TimeZone,
}

/// A name that no time zone has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time zone '{0}' is not known: use a name such as GMT, Europe/Berlin, America/New_York or GMT+02:00")]
pub struct UnknownZone(pub String);

impl Zone {
    /// The zone of a name of the IANA database, in any case, or of a fixed offset written as `GMT+2` or `GMT-05:30`.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        let found = TimeZoneDatabase::bundled().get(name).ok().or_else(|| fixed(name));
        found.map(|zone| Self { name: name.to_owned(), zone }).ok_or_else(|| UnknownZone(name.to_owned()))
    }

    /// The name it was asked for by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A time, in ms since the epoch, as the zone's clocks show it, with the zone: `2026-03-29 02:30:00 CEST`.
    pub fn show(&self, ms: i64) -> String {
        match Timestamp::from_millisecond(ms) {
            Ok(time) => time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
            Err(_) => format!("{ms} ms"),
        }
    }
}

fn fixed(name: &str) -> Option<TimeZone> {
    let rest = name.strip_prefix("GMT")?;
    let (sign, rest) = match rest.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok())?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let seconds = sign * (hours * 3600 + minutes * 60);
    (hours <= 23 && minutes <= 59).then(|| Offset::from_seconds(seconds).ok().map(TimeZone::fixed))?
}

impl Default for Zone {
    fn default() -> Self {
        let named = Self::named("GMT");
        named.unwrap_or_else(|_| Self { name: "GMT".into(), zone: TimeZone::UTC })
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Zone({})", self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone
    }
}

impl Eq for Zone {}
