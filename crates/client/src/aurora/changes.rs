//! What differs between two configurations, field by field. Not which ones are compared.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use crate::paint::{Mark, Paint};

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where it is: names separated by dots, members of lists in brackets by what names them, or by their number.
    pub path: String,
    /// What it was; unset where there was nothing.
    pub before: Option<Value>,
    /// What it becomes; unset where nothing is left.
    pub after: Option<Value>,
}

impl Change {
    /// As JSON: `path`, `before`, `after`; null where there is nothing.
    pub fn json(&self) -> Value {
        json!({ "path": self.path, "before": self.before, "after": self.after })
    }

    /// For people: the path, then what goes and what comes; of long texts only the lines that differ and those beside them.
    pub fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines = vec![format!("  {}", paint.mark(Mark::Label, &self.path))];
        if let (Some(Value::String(before)), Some(Value::String(after))) = (&self.before, &self.after)
            && (before.contains('\n') || after.contains('\n'))
        {
            lines.extend(text_lines(before, after, paint));
            return lines;
        }
        for (value, sign, mark) in [(&self.before, '-', Mark::Removed), (&self.after, '+', Mark::Added)] {
            let shown = value.as_ref().map(shown).unwrap_or_default();
            lines.extend(shown.lines().map(|line| format!("    {}", paint.mark(mark, &format!("{sign} {line}")))));
        }
        lines
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// The lines of two texts that differ, each with up to two beside it.
fn text_lines(before: &str, after: &str, paint: Paint) -> Vec<String> {
    let difference = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for (number, group) in difference.grouped_ops(2).iter().enumerate() {
        if number > 0 {
            lines.push("    ...".to_owned());
        }
        for change in group.iter().flat_map(|operation| difference.iter_changes(operation)) {
            let (sign, mark) = match change.tag() {
                ChangeTag::Delete => ('-', Some(Mark::Removed)),
                ChangeTag::Insert => ('+', Some(Mark::Added)),
                ChangeTag::Equal => (' ', None),
            };
            let line = format!("{sign} {}", change.value().trim_end_matches('\n'));
            lines.push(format!("    {}", mark.map_or_else(|| line.clone(), |mark| paint.mark(mark, &line))));
        }
    }
    lines
}

/// What differs, in the order of the paths.
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&below, before.get(name), after.get(name), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => compare_lists(path, before, after, found),
        (before, after) => {
            found.push(Change { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        }
    }
}

/// Members that have names are compared by them, others one after another.
fn compare_lists(path: &str, before: &[Value], after: &[Value], found: &mut Vec<Change>) {
    let (Some(before_names), Some(after_names)) = (names(before), names(after)) else {
        for number in 0..before.len().max(after.len()) {
            compare(&format!("{path}[{number}]"), before.get(number), after.get(number), found);
        }
        return;
    };
    let start = found.len();
    let get = |names: &[String], values: &[Value], name: &String| {
        names.iter().position(|known| known == name).map(|at| values[at].clone())
    };
    let mut all = before_names.clone();
    all.extend(after_names.iter().filter(|name| !before_names.contains(name)).cloned());
    for name in &all {
        let pair = (get(&before_names, before, name), get(&after_names, after, name));
        compare(&format!("{path}[{name}]"), pair.0.as_ref(), pair.1.as_ref(), found);
    }
    if found.len() == start {
        // The same members in another order.
        let list = |names: &[String]| Some(names.iter().cloned().map(Value::from).collect());
        found.push(Change { path: path.to_owned(), before: list(&before_names), after: list(&after_names) });
    }
}

/// What the members of a list are called, if each has a name of its own.
fn names(values: &[Value]) -> Option<Vec<String>> {
    let names: Vec<String> = values.iter().map(name).collect::<Option<_>>()?;
    let distinct: BTreeSet<&String> = names.iter().collect();
    (distinct.len() == names.len()).then_some(names)
}

fn name(value: &Value) -> Option<String> {
    let fields = value.as_object()?;
    let text = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_owned);
    text("name").or_else(|| text("key")).or_else(|| only_field(fields))
}

/// A resource is an object of one field, which says its kind; ports are told apart by what they are called.
fn only_field(fields: &Map<String, Value>) -> Option<String> {
    match fields.iter().next() {
        Some((kind, Value::String(name))) if fields.len() == 1 => Some(format!("{kind}:{name}")),
        Some((kind, _)) if fields.len() == 1 => Some(kind.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(before: Value, after: Value) -> Vec<String> {
        changes(&before, &after).into_iter().map(|change| change.path).collect()
    }

    #[test]
    fn only_what_differs_is_named() {
        let before = json!({ "a": 1, "b": { "c": [1, 2], "d": "x" }, "gone": true });
        let after = json!({ "a": 1, "b": { "c": [1, 3, 4], "d": "y" }, "new": null });
        assert_eq!(paths(before.clone(), after), ["b.c[1]", "b.c[2]", "b.d", "gone", "new"]);
        assert!(changes(&before, &before).is_empty());
    }

    #[test]
    fn members_of_lists_are_known_by_their_names() {
        let before = json!([{ "name": "a", "x": 1 }, { "name": "b", "x": 2 }]);
        let after = json!([{ "name": "new", "x": 0 }, { "name": "a", "x": 1 }, { "name": "b", "x": 3 }]);
        assert_eq!(paths(json!({ "p": before }), json!({ "p": after })), ["p[b].x", "p[new]"]);
        let resources = |cpus: f64| json!({ "r": [{ "numCpus": cpus }, { "ramMb": 1 }, { "namedPort": "http" }] });
        assert_eq!(paths(resources(1.0), resources(2.0)), ["r[numCpus].numCpus"]);
        let (ab, ba) = (json!([{ "name": "a" }, { "name": "b" }]), json!([{ "name": "b" }, { "name": "a" }]));
        assert_eq!(paths(json!({ "p": ab }), json!({ "p": ba })), ["p"], "the order counts");
    }

    #[test]
    fn of_long_texts_only_the_lines_that_differ_are_shown() {
        let before: String = (0..20).map(|number| format!("line {number}\n")).collect();
        let after = before.replace("line 10\n", "line ten\n");
        let change = changes(&json!({ "cmdline": before }), &json!({ "cmdline": after })).remove(0);
        let expected = [
            "  cmdline",
            "      line 8",
            "      line 9",
            "    - line 10",
            "    + line ten",
            "      line 11",
            "      line 12",
        ];
        assert_eq!(change.lines(Paint::new(false)), expected);
    }
}
