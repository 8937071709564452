//! Jobs as YAML: blocks, texts of several lines as they are, quotes only where they are needed.

use super::super::node::{Source, Value};
use super::{Item, in_double_quotes};

/// How long a list in brackets may be.
const LINE_MAX: usize = 100;

/// The file.
pub(super) fn file(jobs: &[Item], title: &str) -> String {
    let mut text = format!("# {title}\n\n");
    match jobs {
        [only] => entries(only.entries().unwrap_or_default(), 0, &mut text),
        several => {
            text.push_str("jobs:\n");
            list(several, 0, &mut text);
        }
    }
    text
}

fn entries(entries: &[(String, Item)], indent: usize, out: &mut String) {
    for (number, (name, item)) in entries.iter().enumerate() {
        if number > 0 || out.ends_with('\n') {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&scalar(name, indent, true));
        out.push(':');
        value(item, indent, out);
    }
}

/// A value after a name and its colon.
fn value(item: &Item, indent: usize, out: &mut String) {
    match item {
        Item::List(items) => match in_brackets(items) {
            Some(line) if line.len() + indent < LINE_MAX => out.push_str(&format!(" {line}\n")),
            _ => {
                out.push('\n');
                list(items, indent, out);
            }
        },
        Item::Map(inner) | Item::Struct(_, inner) if inner.is_empty() => out.push_str(" {}\n"),
        Item::Map(inner) | Item::Struct(_, inner) => {
            out.push('\n');
            entries(inner, indent + 2, out);
        }
        single => out.push_str(&format!(" {}\n", shown(single, indent))),
    }
}

fn list(items: &[Item], indent: usize, out: &mut String) {
    for item in items {
        out.push_str(&" ".repeat(indent));
        match item.entries() {
            Some(inner) if !inner.is_empty() => {
                out.push_str("- ");
                // The first name stands behind the dash.
                let mut below = String::new();
                entries(inner, indent + 2, &mut below);
                out.push_str(&below);
            }
            _ => {
                out.push('-');
                value(item, indent, out);
            }
        }
    }
}

fn in_brackets(items: &[Item]) -> Option<String> {
    let parts = items.iter().map(|item| match item {
        Item::Text(text) if !text.contains('\n') => Some(scalar(text, 0, true)),
        Item::Number(_) | Item::Boolean(_) => item.bare(),
        _ => None,
    });
    Some(format!("[{}]", parts.collect::<Option<Vec<_>>>()?.join(", ")))
}

fn shown(item: &Item, indent: usize) -> String {
    match item {
        Item::Unset => "null".to_owned(),
        Item::Text(text) => scalar(text, indent, false),
        other => other.bare().unwrap_or_default(),
    }
}

/// A text in the plainest form that reads back the same. `is_inline` leaves out blocks and what means something in brackets.
fn scalar(text: &str, indent: usize, is_inline: bool) -> String {
    let is_plain = is_plain(text) && !(is_inline && text.contains(['[', ']', '{', '}', ',', ':']));
    let forms = [
        is_plain.then(|| text.to_owned()),
        (!is_inline && text.contains('\n')).then(|| block(text, indent)),
        (text.contains('\'') && !text.contains(['"', '\\', '\n'])).then(|| format!("\"{text}\"")),
        (!text.contains('\n')).then(|| format!("'{}'", text.replace('\'', "''"))),
    ];
    let fitting = forms.into_iter().flatten().find(|form| reads_back(form, text, indent, is_inline));
    fitting.unwrap_or_else(|| quoted(text))
}

/// Would nobody take it for anything but this text?
fn is_plain(text: &str) -> bool {
    let begins_well = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/' || first == '_');
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    begins_well
        && !is_word
        && text.chars().all(|letter| (' '..='~').contains(&letter))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
}

/// A text of several lines as it is, each line set in.
fn block(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent + 2);
    let (body, chomping) = match text.strip_suffix('\n') {
        None => (text, "-"),
        Some(body) if body.ends_with('\n') || body.is_empty() => (body, "+"),
        Some(body) => (body, ""),
    };
    let begins_inside = body.lines().find(|line| !line.is_empty()).is_none_or(|line| line.starts_with([' ', '\t']));
    let indicator = if begins_inside { "2" } else { "" };
    let lines: Vec<String> =
        body.split('\n').map(|line| if line.is_empty() { String::new() } else { format!("{margin}{line}") }).collect();
    format!("|{indicator}{chomping}\n{}", lines.join("\n"))
}

/// Does the form come to the text where it stands?
fn reads_back(form: &str, text: &str, indent: usize, is_inline: bool) -> bool {
    let blanks = " ".repeat(indent);
    let document =
        if is_inline { format!("- [{form}, a]\n- {form}: a\n") } else { format!("{blanks}a: {form}\n{blanks}b: c\n") };
    let Ok(read) = super::super::yaml::read(&Source::new("", &document)) else { return false };
    let Some(read) = read.first() else { return false };
    let is_text = |value: &Value| matches!(value, Value::Bare(read) | Value::Text(read) if read == text);
    if is_inline {
        let [list, map] = read.items() else { return false };
        return list.items().first().is_some_and(|first| is_text(&first.value))
            && map.entries().first().is_some_and(|entry| entry.name == text);
    }
    read.entry("a").is_some_and(|entry| is_text(&entry.node.value)) && read.entry("b").is_some()
}

fn quoted(text: &str) -> String {
    in_double_quotes(text, |letter| match letter {
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => Some(format!("\\x{:02x}", letter as u32)),
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => Some(format!("\\u{:04x}", letter as u32)),
        _ => None,
    })
}
