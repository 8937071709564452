//! Names of things in scopes: `task.name`, `thermos.ports[http]`, `processes[0].name` (spec config-dsl 1.5).

use std::fmt;

use super::fault::Fault;

/// One step of a reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// `.name`: a field or a mounted name.
    Name(String),
    /// `[index]`: an element of a list, a key of a map, or a mounted index.
    Index(String),
}

/// A path of one step or more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(pub Vec<Component>);

impl Reference {
    /// Reads an address. A leading dot or index is allowed; blanks, operators and digits at the front are not.
    pub fn parse(address: &str) -> Result<Self, Fault> {
        let invalid = || {
            Fault::InvalidReference(format!(
                "'{address}' between braces is not a reference (letters, digits, '_', with '.name' and '[index]'); \
                 to keep the braces as text write them apart, as in '{{' '{{'"
            ))
        };
        let mut rest = address;
        let mut components = Vec::new();
        if let Some(first) = rest.chars().next()
            && first != '.'
            && first != '['
        {
            if !(first.is_ascii_alphabetic() || first == '_') {
                return Err(invalid());
            }
            let length = name_length(rest);
            components.push(Component::Name(rest[..length].to_owned()));
            rest = &rest[length..];
        }
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let length = name_length(after);
                if length == 0 || after.starts_with(|first: char| first.is_numeric()) {
                    return Err(invalid());
                }
                components.push(Component::Name(after[..length].to_owned()));
                rest = &after[length..];
            } else if let Some(after) = rest.strip_prefix('[') {
                let length = after.find(|c| !is_index(c)).filter(|length| *length > 0).ok_or_else(invalid)?;
                if !after[length..].starts_with(']') {
                    return Err(invalid());
                }
                components.push(Component::Index(after[..length].to_owned()));
                rest = &after[length + 1..];
            } else {
                return Err(invalid());
            }
        }
        if components.is_empty() { Err(invalid()) } else { Ok(Self(components)) }
    }

    /// The components.
    pub fn components(&self) -> &[Component] {
        &self.0
    }

    /// The address without braces.
    pub fn address(&self) -> String {
        let mut address = String::new();
        for component in &self.0 {
            match component {
                Component::Name(name) if address.is_empty() => address.push_str(name),
                Component::Name(name) => {
                    address.push('.');
                    address.push_str(name);
                }
                Component::Index(index) => {
                    address.push('[');
                    address.push_str(index);
                    address.push(']');
                }
            }
        }
        address
    }

    /// This path continued by another.
    #[must_use]
    pub fn join(&self, other: &Reference) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }
}

impl fmt::Display for Reference {
    /// The reference as it stands in a text, in its braces.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{{{{}}}}}", self.address())
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_index(c: char) -> bool {
    is_word(c) || matches!(c, '-' | '.' | '/')
}

fn name_length(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}
