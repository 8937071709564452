//! Which environments jobs may be in (spec scheduler 9.2): a regular expression that the whole name must match.

use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;

/// The operator's expression. Equal where its text is.
#[derive(Clone, Debug)]
pub struct EnvironmentPattern {
    text: String,
    whole: Regex,
}

/// Aurora's default.
const DEFAULT: &str = r"^(prod|devel|test|staging\d*)$";

/// The longest expression, in bytes, that is compiled.
const TEXT_BYTES_MAX: usize = 4096;

impl EnvironmentPattern {
    /// Whether jobs may be in this environment.
    pub fn allows(&self, environment: &str) -> bool {
        self.whole.is_match(environment)
    }

    /// What to tell a user whose environment is not allowed.
    pub fn advice(&self) -> String {
        if self.text == DEFAULT {
            "use prod, devel, test or staging<number>".to_owned()
        } else {
            format!("it must match {}", self.text)
        }
    }
}

impl FromStr for EnvironmentPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err("this regular expression is too long".to_owned());
        }
        // As in Java: the whole name, and digits are those of ASCII.
        let whole = Regex::new(&format!(r"\A(?:{})\z", text.replace(r"\d", "[0-9]").replace(r"\w", "[A-Za-z0-9_]")));
        // What is wrong is shown by the expression as it was given.
        let whole = whole.map_err(|error| Regex::new(text).err().unwrap_or(error).to_string())?;
        Ok(Self { text: text.to_owned(), whole })
    }
}

impl Default for EnvironmentPattern {
    /// Aurora's own, compiled once: settings are made anew more often than anybody sets another.
    fn default() -> Self {
        static AURORAS: LazyLock<EnvironmentPattern> =
            LazyLock::new(|| DEFAULT.parse().expect("the default is a regular expression"));
        AURORAS.clone()
    }
}

impl PartialEq for EnvironmentPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_auroras() {
        let pattern = EnvironmentPattern::default();
        for good in ["prod", "devel", "test", "staging", "staging7"] {
            assert!(pattern.allows(good), "{good}");
        }
        for bad in ["", "production", "stagingx", "Prod", "prod\n", "staging\u{0667}"] {
            assert!(!pattern.allows(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_operator_names_others() {
        let pattern: EnvironmentPattern = r"prod|qa\d".parse().unwrap();
        assert!(
            pattern.allows("prod") && pattern.allows("qa1") && !pattern.allows("production") && !pattern.allows("qa")
        );
        assert!(pattern.advice().contains(r"prod|qa\d"));
        assert!("(".parse::<EnvironmentPattern>().unwrap_err().contains("unclosed"));
        assert!("a".repeat(5000).parse::<EnvironmentPattern>().is_err());
    }
}
