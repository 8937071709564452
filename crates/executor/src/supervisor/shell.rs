//! The shell that runs command lines (spec executor 1.7): bash, and in an image that has none the plain one. Not what is said to it.

use std::borrow::Cow;
use std::ffi::CStr;

const BASH: &CStr = c"/bin/bash";
const PLAIN: &CStr = c"/bin/sh";

/// A shell of this file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shell(&'static CStr);

impl Shell {
    /// Bash wherever it is, or where neither is: it is what is missing then.
    pub(super) fn find() -> Self {
        let is_there = |path: &CStr| rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok();
        Self(if !is_there(BASH) && is_there(PLAIN) { PLAIN } else { BASH })
    }

    /// Its program.
    pub(super) fn path(self) -> &'static CStr {
        self.0
    }

    /// What it is to run for `line`: bash reads the profile that its environment names by itself, the plain one has to be told.
    pub(super) fn line(self, line: &str, has_profile: bool) -> Cow<'_, str> {
        if self.0 == PLAIN && has_profile {
            Cow::Owned(format!(". \"$BASH_ENV\"\n{line}"))
        } else {
            Cow::Borrowed(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_is_taken_where_it_is() {
        assert_eq!(Shell::find(), Shell(BASH));
        assert_eq!(Shell(BASH).line("a", true), "a");
        assert_eq!(Shell(PLAIN).line("a", false), "a");
    }

    #[test]
    fn the_plain_shell_reads_the_profile_too() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("profile"), "GREETING=hello").unwrap();
        let line = Shell(PLAIN).line("echo $GREETING", true);
        let shell = Shell(PLAIN).path().to_str().unwrap();
        let output = std::process::Command::new(shell)
            .args(["-c", &line])
            .env("BASH_ENV", home.path().join("profile"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
    }
}
