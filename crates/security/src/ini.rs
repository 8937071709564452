//! The file of users and roles, in the shape of Shiro's INI files: `[users] name = password, role…` and `[roles] role = permission, …`.
//! Lines that begin with `#` or `;` are comments, a backslash at the end of a line goes on with the next, and double quotes keep commas.

use std::collections::BTreeMap;

use crate::grant::{Grant, GrantError};
use crate::password::{Stored, StoredError};

/// A name that would be taken for a caller who never said who he is.
const RESERVED: &str = "UNSECURE";

/// Users and roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// By name.
    pub users: BTreeMap<String, User>,
    /// What each may do.
    pub roles: BTreeMap<String, Vec<Grant>>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What he says to be believed.
    pub password: Stored,
    /// Roles he has.
    pub roles: Vec<String>,
}

/// Why a file is refused. Passwords are never part of it.
#[derive(Debug, thiserror::Error)]
pub enum IniError {
    /// It cannot be read.
    #[error("{0} cannot be read: {1}")]
    Io(String, #[source] std::io::Error),
    /// A line makes no sense.
    #[error("{file}, line {line}: {what}")]
    Line {
        /// Which file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Nothing in it.
    #[error("{0} has neither a section [users] nor a section [roles]")]
    Empty(String),
}

enum Section {
    Before,
    Users,
    Roles,
}

/// Reads the text of a file.
pub fn parse(file: &str, text: &str) -> Result<Accounts, IniError> {
    let mut accounts = Accounts::default();
    let mut section = Section::Before;
    for (line, content) in whole_lines(text) {
        let wrong = |what: String| IniError::Line { file: file.to_owned(), line, what };
        let content = content.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = match name.trim().to_ascii_lowercase().as_str() {
                "users" => Section::Users,
                "roles" => Section::Roles,
                other => return Err(wrong(format!("only [users] and [roles] are read, not [{other}]"))),
            };
            continue;
        }
        let Some((name, value)) = content.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
            return Err(wrong("write name = value, …".to_owned()));
        };
        if name.is_empty() {
            return Err(wrong("the name is missing".to_owned()));
        }
        let values = values(value).map_err(|why| wrong(why.to_owned()))?;
        match section {
            Section::Users => {
                let user = user(name, values).map_err(wrong)?;
                if accounts.users.insert(name.to_owned(), user).is_some() {
                    return Err(wrong(format!("the user {name} stands here twice")));
                }
            }
            Section::Roles => {
                let grants = values.iter().map(|text| text.parse()).collect::<Result<Vec<Grant>, GrantError>>();
                let grants = grants.map_err(|error| wrong(error.to_string()))?;
                if accounts.roles.insert(name.to_owned(), grants).is_some() {
                    return Err(wrong(format!("the role {name} stands here twice")));
                }
            }
            Section::Before => return Err(wrong("begin with [users] or [roles]".to_owned())),
        }
    }
    if matches!(section, Section::Before) {
        return Err(IniError::Empty(file.to_owned()));
    }
    Ok(accounts)
}

fn user(name: &str, values: Vec<String>) -> Result<User, String> {
    if name == RESERVED || name.contains(':') {
        return Err(format!("no user can be called {name}"));
    }
    let mut values = values.into_iter();
    let password = values.next().unwrap_or_default();
    let password = password.parse().map_err(|error: StoredError| format!("user {name}: {error}"))?;
    Ok(User { password, roles: values.filter(|role| !role.is_empty()).collect() })
}

/// Lines with their numbers, those that go on joined.
fn whole_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let is_comment = !goes_on && line.trim_start().starts_with(['#', ';']);
        let cut = line.strip_suffix('\\').filter(|_| !is_comment);
        let content = cut.unwrap_or(line);
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, whole)) => whole.push_str(content.trim_start()),
            None => lines.push((index + 1, content.to_owned())),
        }
        goes_on = cut.is_some();
    }
    lines
}

/// The parts between commas. Quotes keep commas, and so does a hash of argon2, which has some.
fn values(text: &str) -> Result<Vec<String>, &'static str> {
    let mut values = Vec::new();
    let mut rest = text.trim();
    loop {
        let (value, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let (value, after) = quoted.split_once('"').ok_or("a quote is not closed")?;
            (value, after.trim_start())
        } else {
            // Name, version, parameters, salt: the hash comes after the fifth.
            let hash_at =
                if rest.starts_with("$argon2") { rest.match_indices('$').nth(4).map_or(0, |(at, _)| at) } else { 0 };
            let end = rest[hash_at..].find(',').map_or(rest.len(), |at| hash_at + at);
            (rest[..end].trim_end(), &rest[end..])
        };
        values.push(value.to_owned());
        if after.is_empty() {
            return Ok(values);
        }
        rest = after.strip_prefix(',').ok_or("after a quote comes a comma, or nothing")?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
# The operators.
[users]
aurora = secret, admin
bob = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$4mqQiyq0VpIzuZmp+8eSF3YJ7Av58TkEJ4LIdOVsAc4", web, \
      batch
eve = $argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$4mqQiyq0VpIzuZmp+8eSF3YJ7Av58TkEJ4LIdOVsAc4, web
nobody = x

; What they may do.
[roles]
admin = *
web = thrift.AuroraSchedulerManager:*:webapp, "thrift.AuroraSchedulerManager:killTasks,createJob:shared"
"#;

    #[test]
    fn users_roles_quotes_and_long_lines() {
        let accounts = parse("f", FILE).unwrap();
        assert_eq!(accounts.users["aurora"].roles, ["admin"]);
        assert_eq!(accounts.users["bob"].roles, ["web", "batch"]);
        assert_eq!(accounts.users["eve"].password, accounts.users["bob"].password);
        assert_eq!(accounts.users["eve"].roles, ["web"]);
        assert_eq!(accounts.users["nobody"].roles, [""; 0]);
        assert!(accounts.users["eve"].password.matches("secret"));
        assert!(accounts.roles["web"][1].implies("thrift.AuroraSchedulerManager:createJob:shared:prod:x"));
        assert_eq!(accounts.roles["web"].len(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_named_by_its_line_and_keeps_passwords_to_itself() {
        for (text, line, why) in [
            ("[users]\na = s3cret\na = s3cret2", 3, "twice"),
            ("[main]\nx = y", 1, "[main]"),
            ("a = s3cret", 1, "begin with"),
            ("[users]\ns3cret", 2, "name = value"),
            ("[users]\na =", 2, "empty"),
            ("[users]\nUNSECURE = s3cret", 2, "UNSECURE"),
            ("[users]\na:b = s3cret", 2, "a:b"),
            ("[users]\na = \"s3cret", 2, "quote"),
            ("[users]\na = \"s3cret\" x", 2, "comma"),
            ("[roles]\nr = a::b", 2, "a::b"),
            ("[users]\n\\\n\na = $shiro1$MD5$1$c2FsdA==$aaaa", 4, "not safe"),
        ] {
            let error = parse("/etc/f.ini", text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(&format!("f.ini, line {line}:")), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(matches!(parse("f", "# nothing\n"), Err(IniError::Empty(_))));
    }
}
