//! Names of things: job keys, task ids, update keys. Not the things themselves.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Name of a Unix account and of the owner of a job ("spec scheduler 9.1": `^[\w\-\.]+$`, 1 to 255 characters).
pub type Role = String;
/// Host name of an agent, as the engine reports it.
pub type Host = String;
/// Number of an instance within its job, from 0.
pub type InstanceId = u32;

/// Longest identifier the scheduler accepts, in characters (spec scheduler 9.1).
pub const MAX_IDENTIFIER_CHARS: usize = 255;

/// Whether `text` may name a role, environment, job, tier or user (spec scheduler 9.1).
pub fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_IDENTIFIER_CHARS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Identifies a job within a cluster; printed `role/environment/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// Account that owns the job.
    pub role: Role,
    /// Namespace such as `prod`, `devel`, `test`.
    pub environment: String,
    /// Name of the job.
    pub name: String,
}

impl JobKey {
    /// A key from its three parts, unchecked; see [`JobKey::is_valid`].
    pub fn new(role: impl Into<String>, environment: impl Into<String>, name: impl Into<String>) -> Self {
        Self { role: role.into(), environment: environment.into(), name: name.into() }
    }

    /// Whether all three parts are identifiers.
    pub fn is_valid(&self) -> bool {
        is_identifier(&self.role) && is_identifier(&self.environment) && is_identifier(&self.name)
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.role, self.environment, self.name)
    }
}

/// Why a text is not a job key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a job key: write ROLE/ENVIRONMENT/NAME, each of letters, digits, '_', '-' and '.'")]
pub struct JobKeyError(pub String);

impl FromStr for JobKey {
    type Err = JobKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [role, environment, name] => {
                let key = Self::new(*role, *environment, *name);
                if key.is_valid() { Ok(key) } else { Err(JobKeyError(text.into())) }
            }
            _ => Err(JobKeyError(text.into())),
        }
    }
}

/// Globally unique name of one run of an instance (spec scheduler 1.8). Opaque: it cannot be parsed back.
///
/// Shared text, because every table and index of the scheduler holds it. Make one with `TaskId("…".into())`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub Arc<str>);

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl From<String> for TaskId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for TaskId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl TaskId {
    /// `<role>-<env>-<job>-<instance>-<unique>` with every character outside `[A-Za-z0-9_-]` replaced by `-`.
    ///
    /// `unique` is 128 random bits, printed as a version 4 UUID.
    pub fn generate(job: &JobKey, instance: InstanceId, unique: u128) -> Self {
        let raw = format!("{}-{}-{}-{}-{}", job.role, job.environment, job.name, instance, format_uuid(unique));
        let clean = raw.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' });
        Self(clean.collect::<String>().into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Formats 128 random bits as a version 4, variant 1 UUID (RFC 9562 section 5.4).
pub fn format_uuid(random: u128) -> String {
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Identifies one update of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UpdateKey {
    /// The job being updated.
    pub job: JobKey,
    /// Random UUID given at start.
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_follow_the_pattern_and_the_length_limit() {
        assert!(is_identifier("www-data") && is_identifier("a.b_c-9"));
        assert!(!is_identifier("") && !is_identifier("a b") && !is_identifier("a/b") && !is_identifier("ä"));
        assert!(is_identifier(&"x".repeat(255)) && !is_identifier(&"x".repeat(256)));
    }

    #[test]
    fn job_keys_parse_and_print() {
        let key: JobKey = "www-data/devel/hello".parse().unwrap();
        assert_eq!(key, JobKey::new("www-data", "devel", "hello"));
        assert_eq!(key.to_string(), "www-data/devel/hello");
        for bad in ["a/b", "a/b/c/d", "a//c", "a/b/c d"] {
            assert!(bad.parse::<JobKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn task_ids_replace_what_is_not_safe_in_a_file_name() {
        let id = TaskId::generate(&JobKey::new("r.x", "devel", "job"), 3, 0);
        assert_eq!(id.as_str(), "r-x-devel-job-3-00000000-0000-4000-8000-000000000000");
        assert_eq!(format_uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
