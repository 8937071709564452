//! The arguments' grammar: job keys, instances, wildcard keys, bindings (spec client-cli 1.3). Not what they refer to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use model::key::is_identifier;
use model::{InstanceId, JobKey};

/// A job in a cluster, written `CLUSTER/ROLE/ENV/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterJob {
    /// Cluster; any text.
    pub cluster: String,
    /// The job.
    pub job: JobKey,
}

impl fmt::Display for ClusterJob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.cluster, self.job)
    }
}

fn check_identifier(what: &str, text: &str) -> Result<(), String> {
    if is_identifier(text) {
        Ok(())
    } else {
        Err(format!("{what} '{text}' may hold only letters, digits, '_', '-' and '.'"))
    }
}

fn cluster_job(parts: &[&str], whole: &str) -> Result<ClusterJob, String> {
    let [cluster, role, environment, name] = parts else {
        return Err(format!("'{whole}' is not a job key: write CLUSTER/ROLE/ENV/NAME, for example {EXAMPLE_KEY}"));
    };
    if cluster.is_empty() {
        return Err(format!("'{whole}' names no cluster: write CLUSTER/ROLE/ENV/NAME, for example {EXAMPLE_KEY}"));
    }
    check_identifier("role", role)?;
    check_identifier("environment", environment)?;
    check_identifier("job name", name)?;
    Ok(ClusterJob { cluster: (*cluster).into(), job: JobKey::new(*role, *environment, *name) })
}

const EXAMPLE_KEY: &str = "devcluster/www-data/devel/hello";

impl FromStr for ClusterJob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        cluster_job(&parts, text)
    }
}

/// Instances of a job: all of them, or those named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// Every instance.
    #[default]
    All,
    /// These; never empty.
    These(BTreeSet<InstanceId>),
}

impl Instances {
    /// The named ones, if not all are meant.
    pub fn named(&self) -> Option<&BTreeSet<InstanceId>> {
        match self {
            Self::All => None,
            Self::These(ids) => Some(ids),
        }
    }

    /// Whether `id` is meant.
    pub fn contains(&self, id: InstanceId) -> bool {
        self.named().is_none_or(|ids| ids.contains(&id))
    }
}

/// The most instances a range may spell out; no job has more (spec scheduler 9.2), and a typing error must not fill the memory.
const MAX_NAMED_INSTANCES: u32 = 1_000_000;

impl FromStr for Instances {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::All);
        }
        let mut ids = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.trim().parse::<InstanceId>(), last.trim().parse::<InstanceId>()) else {
                return Err(format!("'{part}' is not an instance or a range: write for example 0-3,5"));
            };
            if last < first {
                return Err(format!("range '{part}' runs backwards: write {last}-{first}"));
            }
            if last - first >= MAX_NAMED_INSTANCES {
                return Err(format!("range '{part}' is longer than any job"));
            }
            ids.extend(first..=last);
        }
        Ok(Self::These(ids))
    }
}

/// `CLUSTER/ROLE/ENV/NAME[/INSTANCES]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpec {
    /// The job.
    pub key: ClusterJob,
    /// Which of its instances.
    pub instances: Instances,
}

impl FromStr for InstanceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [key @ .., instances] if key.len() == 4 => {
                Ok(Self { key: cluster_job(key, text)?, instances: instances.parse()? })
            }
            key if key.len() == 4 => Ok(Self { key: cluster_job(key, text)?, instances: Instances::All }),
            _ => Err(format!(
                "'{text}' is not a job with instances: write CLUSTER/ROLE/ENV/NAME or CLUSTER/ROLE/ENV/NAME/0-3,5"
            )),
        }
    }
}

/// `CLUSTER/ROLE/ENV/NAME/INSTANCE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInstance {
    /// The job.
    pub key: ClusterJob,
    /// The instance.
    pub instance: InstanceId,
}

impl FromStr for TaskInstance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let [key @ .., instance] = parts.as_slice() else { return Err(task_instance_help(text)) };
        if key.len() != 4 {
            return Err(task_instance_help(text));
        }
        let instance = instance.parse().map_err(|_| format!("'{instance}' in '{text}' is not an instance number"))?;
        Ok(Self { key: cluster_job(key, text)?, instance })
    }
}

fn task_instance_help(text: &str) -> String {
    format!("'{text}' is not an instance of a job: write CLUSTER/ROLE/ENV/NAME/INSTANCE, for example {EXAMPLE_KEY}/0")
}

/// `CLUSTER[/ROLE[/ENV[/NAME]]]`, each part possibly a shell pattern; missing parts are `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WildcardKey {
    /// Cluster name, or exactly `*`.
    pub cluster: String,
    /// Pattern for the role.
    pub role: String,
    /// Pattern for the environment.
    pub environment: String,
    /// Pattern for the name.
    pub name: String,
}

impl WildcardKey {
    /// Whether it is a pattern at all; only `*` makes it one (spec client-cli 1.3).
    pub fn is_pattern(&self) -> bool {
        [&self.cluster, &self.role, &self.environment, &self.name].iter().any(|part| part.contains('*'))
    }

    /// Whether the key is matched.
    pub fn matches(&self, job: &JobKey) -> bool {
        glob_matches(&self.role, &job.role)
            && glob_matches(&self.environment, &job.environment)
            && glob_matches(&self.name, &job.name)
    }
}

impl fmt::Display for WildcardKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}/{}", self.cluster, self.role, self.environment, self.name)
    }
}

impl FromStr for WildcardKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 4 || parts.iter().any(|part| part.is_empty()) {
            return Err(format!("'{text}' is not a job key or pattern: write CLUSTER[/ROLE[/ENV[/NAME]]]"));
        }
        let part = |at: usize| parts.get(at).copied().unwrap_or("*").to_owned();
        Ok(Self { cluster: part(0), role: part(1), environment: part(2), name: part(3) })
    }
}

/// `CLUSTER[/ROLE[/ENV[/JOB]]]` without patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateFilter {
    /// Cluster.
    pub cluster: String,
    /// Only jobs of this role.
    pub role: Option<String>,
    /// Only jobs in this environment.
    pub environment: Option<String>,
    /// Only this job.
    pub name: Option<String>,
}

impl FromStr for UpdateFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 4 || parts.iter().any(|part| part.is_empty()) {
            return Err(format!("'{text}' is not a filter: write CLUSTER[/ROLE[/ENV[/JOB]]]"));
        }
        let part = |at: usize| parts.get(at).map(|part| (*part).to_owned());
        let filter = Self { cluster: parts[0].into(), role: part(1), environment: part(2), name: part(3) };
        for (what, part) in [("role", &filter.role), ("environment", &filter.environment), ("job name", &filter.name)] {
            if let Some(part) = part {
                check_identifier(what, part)?;
            }
        }
        Ok(filter)
    }
}

/// `--bind name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Address: dots and indexes allowed.
    pub name: String,
    /// Text.
    pub value: String,
}

impl FromStr for Binding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Self { name: name.trim().into(), value: value.into() })
            }
            _ => Err(format!("'{text}' is not a binding: write name=value")),
        }
    }
}

/// Whether a shell pattern (`*`, `?`, `[...]`, `[!...]`) matches the whole text.
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut position) = (0, 0);
    // Where to resume when the latest `*` has to take one character more.
    let mut retry: Option<(usize, usize)> = None;
    while position < text.len() {
        let step = match pattern.get(at) {
            Some('*') => {
                retry = Some((at + 1, position));
                at += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => class_matches(&pattern[at..], text[position]),
            Some(c) if *c == text[position] => Some(1),
            _ => None,
        };
        match (step, retry) {
            (Some(length), _) => {
                at += length;
                position += 1;
            }
            (None, Some((after_star, start))) => {
                at = after_star;
                position = start + 1;
                retry = Some((after_star, start + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// How many pattern characters a class takes when it matches `c`; an unclosed `[` is a plain character.
fn class_matches(pattern: &[char], c: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'!');
    let first = if negated { 2 } else { 1 };
    // A `]` in first place is a member.
    let Some(end) = (first + 1..pattern.len()).find(|at| pattern[*at] == ']') else {
        return (c == '[').then_some(1);
    };
    let members = &pattern[first..end];
    let mut found = false;
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            found |= (members[at]..=members[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= members[at] == c;
            at += 1;
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_keys_have_exactly_four_parts() {
        let key: ClusterJob = "c1/www-data/devel/hello_world".parse().unwrap();
        assert_eq!(key.cluster, "c1");
        assert_eq!(key.job, JobKey::new("www-data", "devel", "hello_world"));
        assert_eq!(key.to_string(), "c1/www-data/devel/hello_world");
        for bad in ["", "a/b/c", "a/b/c/d/e", "/b/c/d", "a/b//d", "a/b c/d/e", "a/b/c/d!"] {
            assert!(bad.parse::<ClusterJob>().is_err(), "{bad}");
        }
        assert!("any text!/b/c/d".parse::<ClusterJob>().is_ok(), "the cluster is free text");
    }

    #[test]
    fn instances_are_ranges_and_numbers() {
        let these = |ids: &[u32]| Instances::These(ids.iter().copied().collect());
        assert_eq!("0-3,5".parse::<Instances>().unwrap(), these(&[0, 1, 2, 3, 5]));
        assert_eq!("5,1,1".parse::<Instances>().unwrap(), these(&[1, 5]));
        assert_eq!("".parse::<Instances>().unwrap(), Instances::All);
        for bad in ["3-1", "a", "1,,2", "1-", "-1", "0-4000000000"] {
            assert!(bad.parse::<Instances>().is_err(), "{bad}");
        }
    }

    #[test]
    fn instance_specs_take_four_or_five_parts() {
        let all: InstanceSpec = "c/r/e/n".parse().unwrap();
        assert_eq!(all.instances, Instances::All);
        let some: InstanceSpec = "c/r/e/n/1-2".parse().unwrap();
        assert!(some.instances.contains(2) && !some.instances.contains(0));
        assert_eq!("c/r/e/n/".parse::<InstanceSpec>().unwrap().instances, Instances::All);
        for bad in ["c/r/e", "c/r/e/n/0/1", "c/r/e/n/x"] {
            assert!(bad.parse::<InstanceSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn task_instances_take_one_number() {
        assert_eq!("c/r/e/n/7".parse::<TaskInstance>().unwrap().instance, 7);
        for bad in ["c/r/e/n", "c/r/e/n/0-1", "c/r/e/n/", "7"] {
            assert!(bad.parse::<TaskInstance>().is_err(), "{bad}");
        }
    }

    #[test]
    fn wildcard_keys_fill_missing_parts() {
        let key: WildcardKey = "c1/www-data".parse().unwrap();
        assert_eq!(key.to_string(), "c1/www-data/*/*");
        assert!(key.is_pattern() && key.matches(&JobKey::new("www-data", "devel", "x")));
        assert!(!key.matches(&JobKey::new("other", "devel", "x")));
        let bound: WildcardKey = "c1/r/e/a?c".parse().unwrap();
        assert!(!bound.is_pattern(), "only a star makes a pattern");
        assert!("c1//e".parse::<WildcardKey>().is_err() && "a/b/c/d/e".parse::<WildcardKey>().is_err());
    }

    #[test]
    fn globs_match_whole_texts() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*b*", "aabaa", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("web-*-[0-9]", "web-prod-7", true),
            ("", "a", false),
        ] {
            assert_eq!(glob_matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn bindings_split_at_the_first_equals_sign() {
        let binding: Binding = "profile.cmd=a=b".parse().unwrap();
        assert_eq!((binding.name.as_str(), binding.value.as_str()), ("profile.cmd", "a=b"));
        assert!("novalue".parse::<Binding>().is_err() && "=x".parse::<Binding>().is_err());
        assert_eq!("x=".parse::<Binding>().unwrap().value, "");
    }

    #[test]
    fn update_filters_have_no_patterns() {
        let filter: UpdateFilter = "c1/r/e".parse().unwrap();
        assert_eq!((filter.role.as_deref(), filter.environment.as_deref(), filter.name), (Some("r"), Some("e"), None));
        assert!("c1/*".parse::<UpdateFilter>().is_err());
    }
}
