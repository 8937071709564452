//! What stands for a password in the file of users, and whether a given one matches. Hashes are those of Shiro (`$shiro1$…`), argon2 and
//! bcrypt; how one is written says which it is. Anything else is the password itself.

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

/// The most rounds of hashing that a file may ask for: a second or two of work.
const ROUNDS_MAX: u32 = 10_000_000;
/// The most memory that a hash may ask for, in KiB.
const ARGON2_MEMORY_MAX_KIB: u32 = 1 << 20;
/// The highest cost of bcrypt: some seconds of work.
const BCRYPT_COST_MAX: u32 = 16;

/// A stored password.
#[derive(Clone, PartialEq, Eq)]
pub enum Stored {
    /// As it is.
    Plain(String),
    /// Shiro's own form: hashed again and again.
    Shiro {
        /// Which hash.
        algorithm: Algorithm,
        /// How often.
        rounds: u32,
        /// Goes in first, once.
        salt: Vec<u8>,
        /// What comes out.
        hash: Vec<u8>,
    },
    /// `$argon2id$…`
    Argon2(String),
    /// `$2b$…`
    Bcrypt(String),
}

/// Hashes of Shiro's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A stored password that cannot be used; never repeats it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoredError(String);

fn wrong<T>(why: impl Into<String>) -> Result<T, StoredError> {
    Err(StoredError(why.into()))
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Shiro { .. } => "Shiro",
            Self::Argon2(_) => "Argon2",
            Self::Bcrypt(_) => "Bcrypt",
        })
    }
}

impl std::str::FromStr for Stored {
    type Err = StoredError;

    fn from_str(text: &str) -> Result<Self, StoredError> {
        if text.is_empty() {
            return wrong("the password is empty");
        }
        if let Some(rest) = text.strip_prefix("$shiro1$") {
            return shiro(rest);
        }
        if text.starts_with("$shiro2$") {
            return wrong(
                "passwords of the form $shiro2$ cannot be read: use $argon2id$, a bcrypt hash ($2b$) or $shiro1$",
            );
        }
        if text.starts_with("$argon2") {
            let Ok(hash) = PasswordHash::new(text) else { return wrong("this is no hash of argon2") };
            let parameters = argon2::Params::try_from(&hash).map_err(|error| StoredError(error.to_string()))?;
            if parameters.m_cost() > ARGON2_MEMORY_MAX_KIB || hash.hash.is_none() {
                return wrong("this hash of argon2 has no end, or asks for more memory than is given");
            }
            return Ok(Self::Argon2(text.to_owned()));
        }
        if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let cost = text.get(4..6).and_then(|cost| cost.parse::<u32>().ok());
            return match cost {
                Some(4..=BCRYPT_COST_MAX) if text.len() == 60 && text.is_ascii() => Ok(Self::Bcrypt(text.to_owned())),
                _ => wrong("this is no hash of bcrypt, or one of a cost above 16"),
            };
        }
        Ok(Self::Plain(text.to_owned()))
    }
}

/// `SHA-256$500000$salt$hash`.
fn shiro(rest: &str) -> Result<Stored, StoredError> {
    let parts: Vec<&str> = rest.split('$').collect();
    let [algorithm, rounds, salt, hash] = parts[..] else {
        return wrong("a hash of Shiro is written $shiro1$SHA-256$rounds$salt$hash");
    };
    let (algorithm, length) = match algorithm.to_ascii_uppercase().as_str() {
        "SHA-256" => (Algorithm::Sha256, 32),
        "SHA-384" => (Algorithm::Sha384, 48),
        "SHA-512" => (Algorithm::Sha512, 64),
        other => return wrong(format!("passwords hashed by {other} are not safe: use SHA-256 or SHA-512")),
    };
    let Some(rounds) = rounds.parse::<u32>().ok().filter(|rounds| (1..=ROUNDS_MAX).contains(rounds)) else {
        return wrong(format!("a hash of Shiro has 1 to {ROUNDS_MAX} rounds"));
    };
    let decode =
        |text: &str| STANDARD.decode(text).map_err(|_| StoredError("salt and hash are written in base64".into()));
    let (salt, hash) = (decode(salt)?, decode(hash)?);
    if hash.len() != length {
        return wrong("the hash is not as long as its algorithm makes it");
    }
    Ok(Stored::Shiro { algorithm, rounds, salt, hash })
}

fn rounds_of<D: Digest>(salt: &[u8], password: &[u8], rounds: u32) -> Vec<u8> {
    let mut hashed = D::new().chain_update(salt).chain_update(password).finalize();
    for _ in 1..rounds {
        hashed = D::digest(&hashed);
    }
    hashed.to_vec()
}

impl Stored {
    /// Whether the given password is this one. Takes as long as its hash wants, up to seconds.
    pub fn matches(&self, given: &str) -> bool {
        match self {
            // Hashed first, so that neither length nor content shows in the time it takes.
            Self::Plain(stored) => Sha256::digest(stored.as_bytes()).ct_eq(&Sha256::digest(given.as_bytes())).into(),
            Self::Shiro { algorithm, rounds, salt, hash } => {
                let of = match algorithm {
                    Algorithm::Sha256 => rounds_of::<Sha256>,
                    Algorithm::Sha384 => rounds_of::<Sha384>,
                    Algorithm::Sha512 => rounds_of::<Sha512>,
                };
                of(salt, given.as_bytes(), *rounds).ct_eq(hash).into()
            }
            Self::Argon2(text) => PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(given.as_bytes(), &hash).is_ok()),
            Self::Bcrypt(text) => bcrypt::verify(given, text).unwrap_or(false),
        }
    }

    /// Whether it is written as it is.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The word `secret` hashed by other programs: Python's hashlib for Shiro's form, htpasswd, and the argon2 command.
    const SECRET: [&str; 4] = [
        "secret",
        "$shiro1$SHA-256$3$c2FsdA==$qke8FeM44rg23RxND//GAE7PP5QEhBfBhsBl6NsOWik=",
        "$2y$05$xeuHMzfdqI/1q5vD7QJ4v.K04ueqtFmtSJfKKd/u1cxrPU2O3KpUG",
        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$4mqQiyq0VpIzuZmp+8eSF3YJ7Av58TkEJ4LIdOVsAc4",
    ];

    #[test]
    fn every_form_matches_its_password_and_no_other() {
        for text in SECRET {
            let stored: Stored = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(stored.matches("secret"), "{text}");
            for other in ["Secret", "secret ", "", text] {
                assert!(!stored.matches(other) || (other == text && stored.is_plain()), "{text}: {other}");
            }
            assert_eq!(stored.is_plain(), text == "secret");
            assert!(!format!("{stored:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_unsafe_or_endless_is_refused_without_repeating_it() {
        for (text, why) in [
            ("", "empty"),
            ("$shiro1$MD5$1$c2FsdA==$aaaa", "not safe"),
            ("$shiro1$SHA-256$0$c2FsdA==$aaaa", "rounds"),
            ("$shiro1$SHA-256$4000000000$c2FsdA==$aaaa", "rounds"),
            ("$shiro1$SHA-256$1$c2FsdA==$aaaa", "as long as"),
            ("$shiro1$SHA-256$1$?$?", "base64"),
            ("$shiro1$SHA-512", "is written"),
            ("$shiro2$argon2id$v=19$x", "$shiro2$"),
            ("$argon2id$nonsense", "argon2"),
            ("$2y$31$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzabcdef", "bcrypt"),
            ("$2y$05$short", "bcrypt"),
        ] {
            let error = text.parse::<Stored>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
