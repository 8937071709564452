//! Exit codes (spec client-cli 1.2) and the one error type of this crate: a text for the user and the code that goes with it.

use std::fmt;

/// Why a command ends; [`Self::code`] is the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// A task failed (`daybreak run`), an old verb failed, or settings that the file's own rules forbid.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The job file cannot be loaded, or the cluster is unknown.
    InvalidConfiguration,
    /// The scheduler refused, or the command could not do all of its work.
    CommandFailure,
    /// What the command names does not exist or makes no sense.
    InvalidParameter,
    /// The connection broke in the middle of a call that must not be repeated.
    NetworkError,
    /// Something did not happen in time; no scheduler answered.
    Timeout,
    /// The scheduler answered with an error.
    ApiError,
    /// An update ended in a way nobody asked for.
    UnknownError,
    /// HTTP 401 or 403.
    AuthError,
    /// Ctrl-C.
    Interrupted,
    /// As the program ended that the command ran (`task ssh`, `task scp`).
    Child(u8),
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InvalidConfiguration => 3,
            Self::CommandFailure => 4,
            Self::InvalidParameter => 6,
            Self::NetworkError => 7,
            Self::Timeout => 9,
            Self::ApiError => 10,
            Self::UnknownError => 20,
            Self::AuthError => 30,
            Self::Interrupted => 130,
            Self::Child(code) => code,
        }
    }
}

/// A command that did not succeed: what the user reads on stderr, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// For stderr, without a final newline; empty when everything has been said already.
    pub text: String,
}

impl Failure {
    /// A failure with a text for the user.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// A failure whose text is on the screen already.
    pub fn silent(exit: Exit) -> Self {
        Self { exit, text: String::new() }
    }

    /// The same text with another exit code.
    pub fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// What a verb returns.
pub type Outcome<T = ()> = Result<T, Failure>;

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn codes_are_those_scripts_know() {
        let codes = [
            (Exit::Ok, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::InvalidConfiguration, 3),
            (Exit::CommandFailure, 4),
            (Exit::InvalidParameter, 6),
            (Exit::NetworkError, 7),
            (Exit::Timeout, 9),
            (Exit::ApiError, 10),
            (Exit::UnknownError, 20),
            (Exit::AuthError, 30),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in codes {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
