//! Jobs as TOML: tables under their names, small ones on one line.

use super::{Item, in_double_quotes};

/// How long a table or a list on one line may be.
const LINE_MAX: usize = 100;

/// The file; an error is the name of a field that TOML cannot express.
pub(super) fn file(jobs: &[Item], title: &str) -> Result<String, String> {
    let mut text = format!("# {title}\n\n");
    match jobs {
        [only] => table(only.entries().unwrap_or_default(), "", &mut text)?,
        several => {
            for (number, job) in several.iter().enumerate() {
                text.push_str(if number > 0 { "\n[[jobs]]\n" } else { "[[jobs]]\n" });
                table(job.entries().unwrap_or_default(), "jobs", &mut text)?;
            }
        }
    }
    Ok(text)
}

/// The entries of the table `path`: those on one line first, as TOML wants it.
fn table(entries: &[(String, Item)], path: &str, out: &mut String) -> Result<(), String> {
    let mut below = Vec::new();
    for (name, item) in entries {
        match on_one_line(name, item)? {
            Some(line) if line.len() + name.len() < LINE_MAX || !has_tables(item) => {
                out.push_str(&format!("{} = {line}\n", key(name)));
            }
            _ => below.push((name, item)),
        }
    }
    for (name, item) in below {
        let path = if path.is_empty() { key(name) } else { format!("{path}.{}", key(name)) };
        match item {
            Item::List(items) => {
                for item in items {
                    out.push_str(&format!("\n[[{path}]]\n"));
                    table(item.entries().unwrap_or_default(), &path, out)?;
                }
            }
            _ => {
                out.push_str(&format!("\n[{path}]\n"));
                table(item.entries().unwrap_or_default(), &path, out)?;
            }
        }
    }
    Ok(())
}

/// Can the value stand under a heading of its own?
fn has_tables(item: &Item) -> bool {
    match item {
        Item::List(items) => !items.is_empty() && items.iter().all(|item| item.entries().is_some()),
        other => other.entries().is_some(),
    }
}

/// The value behind its name; `None` where it deserves a heading.
fn on_one_line(name: &str, item: &Item) -> Result<Option<String>, String> {
    Ok(match item {
        Item::Unset => return Err(name.to_owned()),
        Item::Text(text) => Some(text_of(text)),
        Item::Number(_) | Item::Boolean(_) => item.bare(),
        Item::Size(..) => item.bare().map(|size| text_of(&size)),
        Item::List(items) => {
            let parts = items.iter().map(|item| on_one_line(name, item)).collect::<Result<Option<Vec<_>>, _>>()?;
            // Processes are what a file is about: each has its heading.
            parts.filter(|_| name != "processes").map(|parts| format!("[{}]", parts.join(", ")))
        }
        Item::Map(entries) | Item::Struct(_, entries) => {
            let is_flat = entries.iter().all(|(_, item)| !has_tables(item) && !is_long(item));
            let mut parts = Vec::new();
            for (name, item) in entries {
                let Some(part) = on_one_line(name, item)? else { return Ok(None) };
                parts.push(format!("{} = {part}", key(name)));
            }
            match parts.is_empty() {
                true => Some("{}".to_owned()),
                false => is_flat.then(|| format!("{{ {} }}", parts.join(", "))),
            }
        }
    })
}

fn is_long(item: &Item) -> bool {
    matches!(item, Item::Text(text) if text.contains('\n'))
}

fn key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_bare { name.to_owned() } else { basic(name) }
}

fn text_of(text: &str) -> String {
    let is_printable = text.chars().all(|letter| letter == '\n' || letter == '\t' || !letter.is_control());
    if text.contains('\n') && is_printable {
        // A line break right after the quotes is not part of the text.
        if !text.contains("'''") && !text.ends_with('\'') {
            return format!("'''\n{text}'''");
        }
        let lines: Vec<String> = text.split('\n').map(|line| line.replace('\\', "\\\\").replace('"', "\\\"")).collect();
        return format!("\"\"\"\n{}\"\"\"", lines.join("\n"));
    }
    if is_printable && text.contains(['"', '\\']) && !text.contains(['\'', '\t', '\n']) {
        return format!("'{text}'");
    }
    basic(text)
}

fn basic(text: &str) -> String {
    in_double_quotes(text, |letter| letter.is_control().then(|| format!("\\u{:04X}", letter as u32)))
}
