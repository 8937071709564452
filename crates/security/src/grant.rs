//! Permissions in Shiro's wildcard form: parts separated by colons, alternatives by commas, `*` for everything; what is left out at the
//! end matches everything; upper and lower case are the same.

/// What a role may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// For each part the words it may be; none for any.
    parts: Vec<Option<Vec<String>>>,
}

/// A permission that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no permission: write for example *, thrift.AuroraAdmin:setQuota or thrift.AuroraSchedulerManager:*:role"
)]
pub struct GrantError(pub String);

impl std::str::FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let wrong = || GrantError(text.to_owned());
        let mut parts = Vec::new();
        for part in text.split(':') {
            let words: Vec<String> = part.split(',').map(|word| word.trim().to_ascii_lowercase()).collect();
            if words.iter().any(String::is_empty) {
                return Err(wrong());
            }
            parts.push(if words.iter().any(|word| word == "*") { None } else { Some(words) });
        }
        Ok(Self { parts })
    }
}

impl Grant {
    /// Whether it covers what is wanted, written in the same form without alternatives.
    pub fn implies(&self, wanted: &str) -> bool {
        let wanted: Vec<String> = wanted.split(':').map(str::to_ascii_lowercase).collect();
        let covered = self.parts.iter().zip(&wanted).all(|(part, word)| match part {
            None => true,
            Some(words) => words.contains(word),
        });
        // What is granted more narrowly than it is wanted must be granted for everything there.
        covered && self.parts.iter().skip(wanted.len()).all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_alternatives_and_wildcards() {
        let implies = |grant: &str, wanted: &str| grant.parse::<Grant>().unwrap().implies(wanted);
        let kill = "thrift.AuroraSchedulerManager:killTasks:webapp:prod:hello";
        for good in [
            "*",
            "*:*",
            "thrift.AuroraSchedulerManager",
            "thrift.AuroraSchedulerManager:*",
            "thrift.AuroraSchedulerManager:*:webapp",
            "thrift.AuroraSchedulerManager:killTasks:webapp:prod",
            "THRIFT.auroraschedulermanager:createJob, KILLTASKS:*:prod:hello",
            "thrift.AuroraSchedulerManager:killTasks:webapp:prod:hello:*",
        ] {
            assert!(implies(good, kill), "{good}");
        }
        for bad in [
            "thrift.AuroraAdmin",
            "thrift.AuroraSchedulerManager:killTask",
            "thrift.AuroraSchedulerManager:*:web",
            "thrift.AuroraSchedulerManager:killTasks:webapp:devel",
            "thrift.AuroraSchedulerManager:killTasks:webapp:prod:hello:more",
            "thrift",
        ] {
            assert!(!implies(bad, kill), "{bad}");
        }
        assert!(implies("thrift.AuroraAdmin:setQuota", "thrift.AuroraAdmin:setQuota"));
        assert!(!implies("thrift.AuroraAdmin:setQuota", "thrift.AuroraAdmin:snapshot"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for bad in ["", "a::b", "a:,b", ":a"] {
            assert!(bad.parse::<Grant>().unwrap_err().to_string().contains(bad), "{bad}");
        }
    }
}
