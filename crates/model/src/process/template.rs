//! Late templates: the references in a payload's texts that are filled in when a task starts (spec executor 1.2, config-dsl 1.5,
//! 3.4). Everything else in double braces was filled in before submission, or is an error here.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a late reference names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LateReference {
    /// `mesos.instance`
    Instance,
    /// `mesos.hostname`
    Hostname,
    /// `thermos.task_id`
    TaskId,
    /// `thermos.user`
    User,
    /// `thermos.ports[name]`
    Port(String),
}

/// What late references stand for, for one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateValues {
    /// Instance number.
    pub instance: u32,
    /// Host name of the agent.
    pub hostname: String,
    /// The task's id.
    pub task_id: String,
    /// User the processes run as.
    pub user: String,
    /// Port numbers by name.
    pub ports: BTreeMap<String, u32>,
}

/// Why a text cannot be filled in; the message is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// In double braces, but no reference.
    #[error("{{{{{0}}}}} is not a reference; to keep the braces as text write {{{{&{0}}}}} or set the braces apart")]
    Malformed(String),
    /// A reference that nothing fills in.
    #[error(
        "{{{{{0}}}}} is unbound: when a task starts only mesos.instance, mesos.hostname, thermos.task_id, thermos.user and thermos.ports[name] are known"
    )]
    Unbound(String),
    /// A port named with a dot.
    #[error("{{{{thermos.ports.{0}}}}} must be written {{{{thermos.ports[{0}]}}}}")]
    PortWithDot(String),
    /// A port that the task does not have.
    #[error("{{{{thermos.ports[{0}]}}}} requires unbound port {0}: the task was given no port of that name")]
    UnboundPort(String),
    /// A reference made of the value of another one.
    #[error("{{{{{0}}}}} is nested in another reference; references cannot be built from each other")]
    Nested(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Reference(LateReference),
    /// The inside of an escape with one `&` taken off: `{{&name}}` is the text `{{name}}`.
    Escaped(&'a str),
}

impl LateReference {
    /// Reads what stands between the braces.
    fn parse(address: &str) -> Result<Self, TemplateError> {
        if !is_address(address) {
            return Err(TemplateError::Malformed(address.to_owned()));
        }
        match address {
            "mesos.instance" => Ok(Self::Instance),
            "mesos.hostname" => Ok(Self::Hostname),
            "thermos.task_id" => Ok(Self::TaskId),
            "thermos.user" => Ok(Self::User),
            _ => {
                if let Some(name) = address.strip_prefix("thermos.ports[").and_then(|rest| rest.strip_suffix(']'))
                    && !name.contains(['[', ']'])
                {
                    return Ok(Self::Port(name.to_owned()));
                }
                match address.strip_prefix("thermos.ports.") {
                    Some(name) => Err(TemplateError::PortWithDot(name.to_owned())),
                    None => Err(TemplateError::Unbound(address.to_owned())),
                }
            }
        }
    }

    fn value<'a>(&self, values: &'a LateValues) -> Result<Cow<'a, str>, TemplateError> {
        Ok(match self {
            Self::Instance => values.instance.to_string().into(),
            Self::Hostname => values.hostname.as_str().into(),
            Self::TaskId => values.task_id.as_str().into(),
            Self::User => values.user.as_str().into(),
            Self::Port(name) => match values.ports.get(name) {
                Some(port) => port.to_string().into(),
                None => return Err(TemplateError::UnboundPort(name.clone())),
            },
        })
    }
}

/// Whether `text` has anything that [`fill`] would change or refuse. Quick.
pub fn has_braces(text: &str) -> bool {
    text.contains("{{")
}

/// The late references of `text`, in order. Fails on anything else in double braces, and on nesting.
pub fn references(text: &str) -> Result<Vec<LateReference>, TemplateError> {
    if !has_braces(text) {
        return Ok(Vec::new());
    }
    let pieces = split(text)?;
    check_nesting(&pieces)?;
    Ok(pieces
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Reference(reference) => Some(reference),
            Piece::Text(_) | Piece::Escaped(_) => None,
        })
        .collect())
}

/// Fills the references of `text` in and takes one `&` off each escape. What was filled in is not read again.
pub fn fill<'a>(text: &'a str, values: &LateValues) -> Result<Cow<'a, str>, TemplateError> {
    if !has_braces(text) {
        return Ok(text.into());
    }
    let pieces = split(text)?;
    check_nesting(&pieces)?;
    let mut filled = String::with_capacity(text.len() + 16);
    for piece in pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Reference(reference) => filled.push_str(&reference.value(values)?),
            Piece::Escaped(inside) => {
                filled.push_str("{{");
                filled.push_str(inside);
                filled.push_str("}}");
            }
        }
    }
    Ok(filled.into())
}

fn split(text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    tokens(text, |token| {
        pieces.push(match token {
            Token::Text(text) => Piece::Text(text),
            Token::Braces(content) => match content.strip_prefix('&').filter(|rest| !rest.is_empty()) {
                Some(rest) => Piece::Escaped(rest.strip_suffix('&').filter(|name| !name.is_empty()).unwrap_or(rest)),
                None => Piece::Reference(LateReference::parse(content)?),
            },
        });
        Ok(())
    })?;
    Ok(pieces)
}

enum Token<'a> {
    Text(&'a str),
    /// What stands in double braces, without them.
    Braces(&'a str),
}

/// Calls `each` for the parts of `text`. `{{}}`, single braces and open ends are plain text.
fn tokens<'a>(
    text: &'a str,
    mut each: impl FnMut(Token<'a>) -> Result<(), TemplateError>,
) -> Result<(), TemplateError> {
    let mut plain_from = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find("{{") {
        let open = at + found;
        let inside = &text[open + 2..];
        let length = inside.find(['{', '}']).unwrap_or(inside.len());
        if length == 0 || !inside[length..].starts_with("}}") {
            // No token begins here; one may begin at the next brace.
            at = open + 1;
            continue;
        }
        if plain_from < open {
            each(Token::Text(&text[plain_from..open]))?;
        }
        each(Token::Braces(&inside[..length]))?;
        at = open + 2 + length + 2;
        plain_from = at;
    }
    if plain_from < text.len() {
        each(Token::Text(&text[plain_from..]))?;
    }
    Ok(())
}

/// Whether putting values in the place of references makes new references.
fn check_nesting(pieces: &[Piece<'_>]) -> Result<(), TemplateError> {
    let mut probe = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => probe.push_str(text),
            // Any text without braces will do.
            Piece::Reference(_) | Piece::Escaped(_) => probe.push('0'),
        }
    }
    if !has_braces(&probe) {
        return Ok(());
    }
    tokens(&probe, |token| match token {
        Token::Text(_) => Ok(()),
        Token::Braces(content) => Err(TemplateError::Nested(content.to_owned())),
    })
}

/// The grammar of references: `name`, then `.name` and `[index]`; a first dot or index is allowed.
fn is_address(address: &str) -> bool {
    let mut rest = match address.chars().next() {
        Some('.' | '[') => address,
        Some(_) => match take_name(address) {
            Some(rest) => rest,
            None => return false,
        },
        None => return false,
    };
    while !rest.is_empty() {
        let next = if let Some(after) = rest.strip_prefix('.') {
            take_name(after)
        } else if let Some(after) = rest.strip_prefix('[') {
            let length = after.find(|c: char| !(is_word(c) || matches!(c, '-' | '.' | '/'))).unwrap_or(after.len());
            if length == 0 { None } else { after[length..].strip_prefix(']') }
        } else {
            None
        };
        match next {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

fn take_name(text: &str) -> Option<&str> {
    let first = text.chars().next()?;
    if !(first.is_alphabetic() || first == '_') {
        return None;
    }
    Some(&text[text.find(|c| !is_word(c)).unwrap_or(text.len())..])
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> LateValues {
        LateValues {
            instance: 7,
            hostname: "h1".into(),
            task_id: "t-1".into(),
            user: "www".into(),
            ports: [("http".to_owned(), 31_000), ("p-1.a/b".to_owned(), 31_001)].into(),
        }
    }

    #[test]
    fn all_late_references_are_filled_in() {
        let text = "{{mesos.instance}} {{mesos.hostname}} {{thermos.task_id}} {{thermos.user}} {{thermos.ports[http]}} \
                    {{thermos.ports[p-1.a/b]}}";
        assert_eq!(fill(text, &values()).unwrap(), "7 h1 t-1 www 31000 31001");
    }

    #[test]
    fn text_that_only_looks_like_a_reference_stays() {
        for text in ["", "{}", "{{}}", "${V} {x} {{x", "a }} b", "{{x}", "awk '{print $1}'", "{ {thermos.user} }"] {
            assert_eq!(fill(text, &values()).unwrap(), text);
        }
        assert_eq!(fill("{{{mesos.instance}}}", &values()).unwrap(), "{7}");
    }

    #[test]
    fn each_escape_loses_one_ampersand() {
        for (text, filled) in [
            ("{{&v}}", "{{v}}"),
            ("{{&v&}}", "{{v}}"),
            ("{{&&v}}", "{{&v}}"),
            ("{{&print $1}}", "{{print $1}}"),
            ("{{&.Names}}", "{{.Names}}"),
        ] {
            assert_eq!(fill(text, &values()).unwrap(), filled);
            assert_eq!(references(text).unwrap(), []);
        }
    }

    #[test]
    fn other_references_are_errors_that_name_them() {
        for (text, error) in [
            ("{{foo}}", TemplateError::Unbound("foo".into())),
            ("{{mesos.role}}", TemplateError::Unbound("mesos.role".into())),
            ("{{.Names}}", TemplateError::Unbound(".Names".into())),
            ("{{thermos.ports}}", TemplateError::Unbound("thermos.ports".into())),
            ("{{thermos.ports[a][b]}}", TemplateError::Unbound("thermos.ports[a][b]".into())),
            ("{{thermos.ports.http}}", TemplateError::PortWithDot("http".into())),
            ("{{ foo }}", TemplateError::Malformed(" foo ".into())),
            ("{{a-b}}", TemplateError::Malformed("a-b".into())),
            ("{{print $1}}", TemplateError::Malformed("print $1".into())),
            ("{{4}}", TemplateError::Malformed("4".into())),
            ("{{a[]}}", TemplateError::Malformed("a[]".into())),
            ("{{&}}", TemplateError::Malformed("&".into())),
        ] {
            assert_eq!(references(text), Err(error.clone()), "{text}");
            assert_eq!(fill(text, &values()), Err(error), "{text}");
        }
        assert_eq!(
            TemplateError::Unbound("foo".into()).to_string(),
            "{{foo}} is unbound: when a task starts only mesos.instance, mesos.hostname, thermos.task_id, thermos.user \
             and thermos.ports[name] are known"
        );
    }

    #[test]
    fn a_port_the_task_does_not_have_is_an_error_only_when_filled() {
        assert_eq!(references("{{thermos.ports[x]}}").unwrap(), [LateReference::Port("x".into())]);
        let error = fill("{{thermos.ports[x]}}", &values()).unwrap_err();
        assert!(error.to_string().contains("requires unbound port x"), "{error}");
    }

    #[test]
    fn nested_references_are_rejected() {
        let text = "{{thermos.ports[p_{{mesos.instance}}]}}";
        assert_eq!(references(text), Err(TemplateError::Nested("thermos.ports[p_0]".into())));
        assert_eq!(fill(text, &values()), Err(TemplateError::Nested("thermos.ports[p_0]".into())));
    }

    #[test]
    fn what_was_filled_in_is_not_read_again() {
        let values = LateValues { hostname: "{{thermos.user}}".into(), ..values() };
        assert_eq!(fill("{{mesos.hostname}}", &values).unwrap(), "{{thermos.user}}");
    }
}
