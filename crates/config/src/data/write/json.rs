//! Jobs as JSON.

use serde_json::{Map, Value, json};

use super::Item;

/// The file.
pub(super) fn file(jobs: &[Item]) -> String {
    let document = match jobs {
        [only] => value(only),
        several => json!({ "jobs": several.iter().map(value).collect::<Vec<_>>() }),
    };
    format!("{document:#}\n")
}

fn value(item: &Item) -> Value {
    match item {
        Item::Unset => Value::Null,
        Item::Text(text) => json!(text),
        Item::Number(number) => number.parse::<i64>().map(Value::from).unwrap_or_else(|_| {
            number.parse::<u64>().map(Value::from).unwrap_or_else(|_| json!(number.parse::<f64>().unwrap_or_default()))
        }),
        Item::Boolean(value) => json!(value),
        Item::Size(..) => json!(item.bare()),
        Item::List(items) => items.iter().map(value).collect(),
        Item::Map(entries) | Item::Struct(_, entries) => {
            Value::Object(entries.iter().map(|(name, item)| (name.clone(), value(item))).collect::<Map<_, _>>())
        }
    }
}
