//! Names and passwords of the user for schedulers that ask who is there: `~/.netrc`, or the file that `NETRC` names, as other programs on
//! this machine read it (spec thrift-api 6.1). Never written.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What to send as `Authorization` to an address; nothing where the user has no entry for it.
pub(crate) fn authorization(url: &str) -> Option<String> {
    let text = std::fs::read_to_string(path()?).ok()?;
    let (login, password) = entry(&text, host(url))?;
    Some(format!("Basic {}", STANDARD.encode(format!("{login}:{password}"))))
}

fn path() -> Option<PathBuf> {
    let named = std::env::var_os("NETRC").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".netrc")))
}

/// The host of an address, without its port.
pub(crate) fn host(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

/// Login and password of the first entry for `host`, or else of the default one.
fn entry(text: &str, host: &str) -> Option<(String, String)> {
    let mut words = words(text).into_iter();
    let mut default = None;
    let mut ours = false;
    let mut is_default = false;
    let (mut login, mut password) = (None, None);
    let found = |login: &mut Option<String>, password: &mut Option<String>| login.take().zip(password.take());
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" | "default" => {
                if let Some(entry) = found(&mut login, &mut password) {
                    if ours {
                        return Some(entry);
                    }
                    default = default.or(Some(entry).filter(|_| is_default));
                }
                (login, password) = (None, None);
                is_default = word == "default";
                ours = !is_default && words.next().is_some_and(|name| name.eq_ignore_ascii_case(host));
            }
            "login" if ours || is_default => login = words.next(),
            "password" if ours || is_default => password = words.next(),
            "login" | "password" | "account" => drop(words.next()),
            _ => {}
        }
    }
    let last = found(&mut login, &mut password);
    if ours && last.is_some() { last } else { default.or(last.filter(|_| is_default)) }
}

/// The words of the file. Macros go to the next empty line and are left out; so are comments. Quotes keep blanks.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for line in text.lines() {
        if in_macro {
            in_macro = !line.trim().is_empty();
            continue;
        }
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, after) = match rest.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
                Some(quoted) => quoted,
                None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
            };
            if word == "macdef" {
                in_macro = true;
                break;
            }
            words.push(word.to_owned());
            rest = after.trim_start();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_host() {
        let text = "# mine\nmachine one.example login alice password \"a b\"\nmacdef init\nmachine evil login x password y\n\n\
                    machine two.example\n  login bob\n  account z\n  password p#w\ndefault login any password one\n";
        let of = |host: &str| entry(text, host);
        let pair = |login: &str, password: &str| Some((login.to_owned(), password.to_owned()));
        assert_eq!(of("one.example"), pair("alice", "a b"));
        assert_eq!(of("TWO.example"), pair("bob", "p#w"));
        assert_eq!(of("three.example"), pair("any", "one"));
        assert_eq!(of("evil"), pair("any", "one"), "a macro is no entry");
        assert_eq!(entry("machine one login alice", "one"), None);
        assert_eq!(entry("machine one login alice password x", "two"), None);
        assert_eq!(entry("", "one"), None);
    }

    #[test]
    fn ports_are_no_part_of_a_host() {
        for (url, expected) in [
            ("http://one.example:8081/api", "one.example"),
            ("http://10.0.0.1", "10.0.0.1"),
            ("http://[::1]:8081/api", "::1"),
        ] {
            assert_eq!(host(url), expected);
        }
    }
}
