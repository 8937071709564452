//! One field of a schedule: which values of its range it names.

use std::fmt;

/// What a field is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    name: &'static str,
    first: u8,
    last: u8,
    /// Names for values, the first one for `first`.
    names: &'static [&'static str],
    /// Said when a value is out of range.
    hint: &'static str,
}

pub(super) const MINUTE: Kind = Kind { name: "minute", first: 0, last: 59, names: &[], hint: "" };
pub(super) const HOUR: Kind = Kind { name: "hour", first: 0, last: 23, names: &[], hint: "" };
pub(super) const DAY_OF_MONTH: Kind = Kind { name: "day of month", first: 1, last: 31, names: &[], hint: "" };
pub(super) const MONTH: Kind = Kind {
    name: "month",
    first: 1,
    last: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    hint: "",
};
pub(super) const DAY_OF_WEEK: Kind = Kind {
    name: "day of week",
    first: 0,
    last: 6,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    hint: " (Sunday is 0)",
};

/// The values a field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    kind: &'static Kind,
    /// Bit n is set when n matches.
    values: u64,
}

impl Field {
    /// Reads a field; the error completes the sentence "the schedule is not valid: ...".
    pub(super) fn read(kind: &'static Kind, text: &str) -> Result<Self, String> {
        let mut field = Self { kind, values: 0 };
        for item in text.split(',').filter(|item| !item.is_empty()) {
            field.add(item).map_err(|what| format!("{} '{item}' {what}", kind.name))?;
        }
        if field.values == 0 {
            return Err(format!("{} '{text}' names no value", kind.name));
        }
        Ok(field)
    }

    fn add(&mut self, item: &str) -> Result<(), String> {
        let named = self.kind.numbered(item);
        let (range, step) = match named.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0).ok_or("has no step above 0")?)),
            None => (named.as_str(), None),
        };
        let (first, last) = if range == "*" {
            (self.kind.first, self.kind.last)
        } else if let Some((first, last)) = range.split_once('-') {
            let (first, last) = (self.kind.value(first)?, self.kind.value(last)?);
            if first > last {
                return Err("goes backwards".into());
            }
            // Aurora holds the step against the upper bound (spec scheduler 4.1).
            if step.is_some_and(|step| step >= u64::from(last)) {
                return Err("has a step that is not below the end of its range".into());
            }
            (first, last)
        } else if step.is_some() {
            return Err("has a step and no range: write */step or first-last/step".into());
        } else {
            let value = self.kind.value(range)?;
            (value, value)
        };
        // A step beyond the range leaves its first value.
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
        for value in (first..=last).step_by(step) {
            self.values |= 1 << value;
        }
        Ok(())
    }

    /// Whether every value of the range matches.
    pub(super) fn is_whole(self) -> bool {
        (self.kind.first..=self.kind.last).all(|value| self.has(value))
    }

    /// Whether a value matches.
    pub(super) fn has(self, value: u8) -> bool {
        value < 64 && self.values & (1 << value) != 0
    }

    /// The first matching value from `from` on.
    pub(super) fn first_from(self, from: u8) -> Option<u8> {
        (from..=self.kind.last).find(|value| self.has(*value))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_whole() {
            return formatter.write_str("*");
        }
        let mut from = self.kind.first;
        let mut separator = "";
        while let Some(first) = self.first_from(from) {
            let last = (first..=self.kind.last).take_while(|value| self.has(*value)).last().unwrap_or(first);
            if first == last {
                write!(formatter, "{separator}{first}")?;
            } else {
                write!(formatter, "{separator}{first}-{last}")?;
            }
            separator = ",";
            from = last + 1;
        }
        Ok(())
    }
}

impl Kind {
    /// An item with its names replaced by numbers, wherever they stand.
    fn numbered(&self, item: &str) -> String {
        let mut text = item.to_ascii_uppercase();
        for (value, name) in (self.first..).zip(self.names) {
            text = text.replace(name, &value.to_string());
        }
        text
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let Some(value) = number(text) else {
            return Err("is not understood: write *, a number, a range as in 1-5, or */step".into());
        };
        u8::try_from(value)
            .ok()
            .filter(|value| (self.first..=self.last).contains(value))
            .ok_or_else(|| format!("is out of range, which is {} to {}{}", self.first, self.last, self.hint))
    }
}

/// A number of digits only; one too big for anything is as big as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}
