//! Jobs as a job file in Python.

use super::super::USER;
use super::Item;
use crate::object::text_literal;

/// How long a call on one line may be.
const LINE_MAX: usize = 100;

/// The file.
pub(super) fn file(jobs: &[Item], title: &str) -> String {
    let shown: Vec<String> = jobs.iter().map(|job| format!("  {}", value(job, 2))).collect();
    let body = format!("jobs = [\n{},\n]\n", shown.join(",\n"));
    let import = if body.contains(GETUSER) { "import getpass\n\n" } else { "" };
    format!("# {title}\n\n{import}{body}")
}

/// How Python asks who the user is.
const GETUSER: &str = "getpass.getuser()";

/// A value that begins at column `indent` and, where it has several lines, goes on two columns further in.
fn value(item: &Item, indent: usize) -> String {
    match item {
        Item::Unset => "Empty".to_owned(),
        Item::Text(text) => text_of(text),
        Item::Number(number) => number.clone(),
        Item::Boolean(true) => "True".to_owned(),
        Item::Boolean(false) => "False".to_owned(),
        Item::Size(amount, unit) => format!("{amount} * {unit}"),
        Item::List(items) => enclosed("[", items.iter().map(|item| (String::new(), item)).collect(), "]", indent),
        Item::Map(entries) => {
            let entries = entries.iter().map(|(name, item)| (format!("{}: ", text_literal(name)), item)).collect();
            enclosed("{", entries, "}", indent)
        }
        Item::Struct(name, fields) => {
            let (class, left_out) = class(name, fields);
            let fields = fields.iter().filter(|(name, _)| Some(name.as_str()) != left_out);
            let fields = fields.map(|(name, item)| (format!("{name} = "), item)).collect();
            enclosed(&format!("{class}("), fields, ")", indent)
        }
    }
}

/// What is called, and the field that the call itself sets.
fn class<'a>(name: &'a str, fields: &[(String, Item)]) -> (&'a str, Option<&'static str>) {
    let get = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, item)| item);
    match name {
        "Job" if get("service") == Some(&Item::Boolean(true)) => ("Service", Some("service")),
        "Task" if is_sequential(get("processes"), get("constraints")) => ("SequentialTask", Some("constraints")),
        other => (other, None),
    }
}

/// Is there one order, and is it that in which the processes stand?
fn is_sequential(processes: Option<&Item>, constraints: Option<&Item>) -> bool {
    let (Some(Item::List(processes)), Some(Item::List(constraints))) = (processes, constraints) else { return false };
    let [Item::Struct(_, constraint)] = constraints.as_slice() else { return false };
    let [(_, Item::List(order))] = constraint.as_slice() else { return false };
    let names: Option<Vec<&Item>> = processes
        .iter()
        .map(|process| process.entries()?.iter().find(|(name, _)| name == "name").map(|(_, item)| item))
        .collect();
    names.is_some_and(|names| names.into_iter().eq(order.iter()))
}

fn enclosed(open: &str, parts: Vec<(String, &Item)>, close: &str, indent: usize) -> String {
    let line: Vec<String> = parts.iter().map(|(name, item)| format!("{name}{}", value(item, 0))).collect();
    let line = format!("{open}{}{close}", line.join(", "));
    if parts.is_empty() || (line.len() + indent < LINE_MAX && !line.contains('\n')) {
        return line;
    }
    let margin = " ".repeat(indent + 2);
    let lines: Vec<String> =
        parts.iter().map(|(name, item)| format!("{margin}{name}{}", value(item, indent + 2))).collect();
    format!("{open}\n{}{close}", lines.join(",\n"))
}

fn text_of(text: &str) -> String {
    let reference = format!("{{{{{USER}}}}}");
    if text == reference {
        return GETUSER.to_owned();
    }
    if text.contains(&reference) {
        return format!("{}.replace({}, {GETUSER})", text_literal(text), text_literal(&reference));
    }
    let is_printable = text.chars().all(|letter| letter == '\n' || letter == '\t' || !letter.is_control());
    if text.contains('\n') && is_printable && !text.contains("'''") && !text.ends_with('\'') {
        return format!("'''{}'''", text.replace('\\', "\\\\"));
    }
    text_literal(text)
}
