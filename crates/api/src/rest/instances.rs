//! Which instances a request means: a list of numbers or a text such as `0-3,5`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use model::InstanceId;
use serde::Deserialize;
use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::problem::{Outcome, Problem};

/// As many may be named in one request.
const MAX_INSTANCES: usize = 100_000;

/// Instances of a job: numbers, or a text of numbers and ranges with commas between.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "instances are a list of numbers as in [0, 1], or a text as in \"0-3,5\"")]
pub enum Instances {
    /// `[0, 1]`
    Numbers(Vec<InstanceId>),
    /// `"0-3,5"`
    Text(String),
}

/// Numbers and ranges with commas between.
pub const PATTERN: &str = r"^[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*$";

impl PartialSchema for Instances {
    fn schema() -> RefOr<Schema> {
        let numbers = ArrayBuilder::new().items(u32::schema()).min_items(Some(1)).max_items(Some(MAX_INSTANCES));
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(PATTERN));
        let description = "Instances of a job: numbers, or a text of numbers and ranges with commas between.";
        let either = OneOfBuilder::new().item(numbers).item(text).description(Some(description));
        either.examples([json!("0-3,5"), json!([0, 1])]).into()
    }
}

impl ToSchema for Instances {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Instances")
    }
}

impl Instances {
    /// The instances; at least one.
    pub fn set(&self) -> Outcome<BTreeSet<InstanceId>> {
        let instances = match self {
            Self::Numbers(numbers) => numbers.iter().copied().collect(),
            Self::Text(text) => of_text(text)?,
        };
        match instances.len() {
            0 => Err(Problem::invalid("'instances' names none: name at least one, as in [0, 1] or \"0-3,5\".")),
            count if count > MAX_INSTANCES => Err(too_many()),
            _ => Ok(instances),
        }
    }
}

fn too_many() -> Box<Problem> {
    Problem::invalid(format!("'instances' names more than {MAX_INSTANCES}: make several requests."))
}

/// The instances of a text.
pub fn of_text(text: &str) -> Outcome<BTreeSet<InstanceId>> {
    let shown: String = text.chars().take(80).collect();
    let wrong = || Problem::invalid(format!("'{shown}' are no instances: write numbers and ranges, as in 0-3,5."));
    let number = |text: &str| -> Option<InstanceId> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    let mut instances = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
        if last < first {
            return Err(wrong());
        }
        if (last - first) as usize >= MAX_INSTANCES {
            return Err(too_many());
        }
        instances.extend(first..=last);
        if instances.len() > MAX_INSTANCES {
            return Err(too_many());
        }
    }
    Ok(instances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_read() {
        let set = |text: &str| of_text(text).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(set("0"), [0]);
        assert_eq!(set("0-3,5,2"), [0, 1, 2, 3, 5]);
        assert_eq!(set("4294967295"), [u32::MAX]);
        let numbers: Instances = serde_json::from_str("[3, 1, 3]").unwrap();
        assert_eq!(numbers.set().unwrap().into_iter().collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn what_is_no_instance_or_too_much_is_refused() {
        for bad in ["", "-", "1-", "-1", "3-1", "a", "0x1", "+1", "1,,2", "1, 2", "4294967296", "0-4294967295", "1-2-3"]
        {
            assert!(of_text(bad).is_err(), "{bad}");
        }
        let many: String = (0..300).map(|at| format!("{}-{},", at * 100_000, at * 100_000 + 99_999)).collect();
        assert!(of_text(many.trim_end_matches(',')).unwrap_err().error.contains("more than 100000"));
        assert!(Instances::Numbers(Vec::new()).set().is_err());
        let wrong = serde_json::from_str::<Instances>("{}").unwrap_err().to_string();
        assert!(wrong.contains("instances are a list of numbers"), "{wrong}");
    }
}
