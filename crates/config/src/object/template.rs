//! Texts with references in them: taking them apart and filling them in (spec config-dsl 1.5).

use std::cell::Cell;
use std::collections::BTreeMap;

use super::fault::Fault;
use super::reference::Reference;
use super::scope::{Chain, Found};

/// How many passes may replace something before resolving counts as endless.
const PASSES_MAX: usize = 100;

/// How long a text may become by filling in; no command line may be a tenth of it. References that double each other reach this
/// long before the passes end.
const TEXT_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static BYTES_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Runs `work`, during which texts may become `bytes` in all by filling in: a bound for where no limit on the process's memory holds.
pub(crate) fn within_bytes<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let before = BYTES_LEFT.replace(bytes);
    let result = work();
    BYTES_LEFT.set(before);
    result
}

/// Takes the bytes of a text from what may be used.
fn use_bytes(bytes: usize) -> Result<(), Fault> {
    let left = BYTES_LEFT.get().checked_sub(bytes);
    left.map(|left| BYTES_LEFT.set(left))
        .ok_or_else(|| Fault::Endless("filling in the references of the file takes more memory than it may".to_owned()))
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text that stands for itself.
    Text(&'a str),
    /// A reference.
    Reference(Reference),
    /// The inside of an escaped reference: `{{&name}}` stands for the text `{{name}}`.
    Escaped(&'a str),
}

/// Takes a text apart. Fails when something in double braces is no reference.
pub fn split(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut plain_from = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find("{{") {
        let open = at + found;
        let inside = &text[open + 2..];
        let length = inside.find(['{', '}']).unwrap_or(inside.len());
        if length == 0 || !inside[length..].starts_with("}}") {
            // Not a token here; one may begin at the next brace.
            at = open + 1;
            continue;
        }
        if plain_from < open {
            pieces.push(Piece::Text(&text[plain_from..open]));
        }
        let content = &inside[..length];
        pieces.push(match content.strip_prefix('&').filter(|escaped| !escaped.is_empty()) {
            Some(escaped) => {
                let closed = escaped.strip_suffix('&').filter(|name| !name.is_empty());
                Piece::Escaped(closed.unwrap_or(escaped))
            }
            None => Piece::Reference(Reference::parse(content)?),
        });
        at = open + 2 + length + 2;
        plain_from = at;
    }
    if plain_from < text.len() {
        pieces.push(Piece::Text(&text[plain_from..]));
    }
    Ok(pieces)
}

/// Fills in what `scopes` know, again and again until nothing new is known, and takes one `&` off each escape.
/// Returns the text and the references left in it, in their order, each once.
pub fn resolve(text: &str, scopes: &Chain) -> Result<(String, Vec<Reference>), Fault> {
    if !text.contains("{{") {
        return Ok((text.to_owned(), Vec::new()));
    }
    // What a reference stood for once, it stands for in all passes.
    let mut known: BTreeMap<Reference, String> = BTreeMap::new();
    let mut current = text.to_owned();
    for _ in 0..PASSES_MAX {
        let mut replaced = false;
        let mut next = String::with_capacity(current.len());
        for piece in split(&current)? {
            match piece {
                Piece::Text(text) => next.push_str(text),
                Piece::Escaped(inside) => {
                    next.push_str("{{&");
                    next.push_str(inside);
                    next.push_str("}}");
                }
                Piece::Reference(reference) => {
                    if !known.contains_key(&reference)
                        && let Some(found) = scopes.find(reference.components())?
                    {
                        let text = match found {
                            Found::Text(text) => text,
                            Found::Object(object) => object.text()?,
                        };
                        known.insert(reference.clone(), text);
                    }
                    if let Some(text) = known.get(&reference) {
                        replaced = true;
                        next.push_str(text);
                    } else {
                        next.push_str(&reference.to_string());
                    }
                }
            }
        }
        use_bytes(next.len())?;
        if !replaced {
            return finish(&next);
        }
        if next.len() > TEXT_BYTES_MAX {
            break;
        }
        current = next;
    }
    Err(Fault::Endless(format!(
        "the references of {} lead back to themselves: maximum replacements reached",
        super::render::text_literal(text)
    )))
}

fn finish(text: &str) -> Result<(String, Vec<Reference>), Fault> {
    let mut finished = String::with_capacity(text.len());
    let mut unbound = Vec::new();
    for piece in split(text)? {
        match piece {
            Piece::Text(text) => finished.push_str(text),
            Piece::Escaped(inside) => {
                finished.push_str("{{");
                finished.push_str(inside);
                finished.push_str("}}");
            }
            Piece::Reference(reference) => {
                finished.push_str(&reference.to_string());
                if !unbound.contains(&reference) {
                    unbound.push(reference);
                }
            }
        }
    }
    Ok((finished, unbound))
}
