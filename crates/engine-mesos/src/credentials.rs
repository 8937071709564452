//! Who the framework is to the master: a principal and its secret, by hand or from Aurora's credentials file (spec scheduler 6.4).

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A principal and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name; also put into the framework's description.
    pub principal: String,
    /// Secret.
    pub secret: String,
}

/// Secrets stay out of logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// Why a credentials file is refused.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("the credentials file {path} cannot be read: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no `key=value`, or a key is missing.
    #[error("the credentials file {path}: {why}. It must have the lines {PRINCIPAL}=… and {SECRET}=…")]
    Content {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
}

const PRINCIPAL: &str = "aurora_authentication_principal";
const SECRET: &str = "aurora_authentication_secret";

impl Credentials {
    /// Reads a properties file with Aurora's two keys.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| CredentialsError::File { path: shown(), source })?;
        Self::parse(&text).map_err(|why| CredentialsError::Content { path: shown(), why })
    }

    /// The lines of a properties file: `key=value` or `key: value`, comments with `#` or `!`.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut principal, mut secret) = (None, None);
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let at = line.find(['=', ':']).ok_or_else(|| format!("line {} is no key=value", number + 1))?;
            let value = line[at + 1..].trim().to_owned();
            match line[..at].trim() {
                PRINCIPAL => principal = Some(value),
                SECRET => secret = Some(value),
                _ => {}
            }
        }
        let principal = principal.filter(|value| !value.is_empty()).ok_or(format!("{PRINCIPAL} is missing"))?;
        Ok(Self { principal, secret: secret.ok_or(format!("{SECRET} is missing"))? })
    }

    /// The value of the header `Authorization`.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.principal, self.secret)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auroras_file_is_read() {
        let text =
            "# who we are\n aurora_authentication_principal = aurora\n\naurora_authentication_secret=a=b:c\nother: x\n";
        let read = Credentials::parse(text).unwrap();
        assert_eq!((read.principal.as_str(), read.secret.as_str()), ("aurora", "a=b:c"));
        assert_eq!(read.basic(), "Basic YXVyb3JhOmE9Yjpj");
        assert!(!format!("{read:?}").contains("a=b"), "secrets stay out of logs");
    }

    #[test]
    fn what_is_missing_is_said() {
        let why = |text: &str| Credentials::parse(text).unwrap_err();
        assert!(why("aurora_authentication_secret=x").contains(PRINCIPAL));
        assert!(why("aurora_authentication_principal=x").contains(SECRET));
        assert!(why("nonsense").contains("line 1"));
        let missing = Credentials::load(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(missing.contains("/no/such/file"));
    }
}
