//! The OpenAPI document itself.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::house::{House, document};

/// The stored document: `docs/openapi.json`.
fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")
}

#[test]
fn the_stored_document_is_that_of_the_handlers() {
    let mut text = api::rest::document().to_pretty_json().unwrap();
    text.push('\n');
    if std::env::var_os("DAYBREAK_UPDATE_GOLDEN").is_some() {
        std::fs::write(golden(), &text).unwrap();
    }
    let stored = std::fs::read_to_string(golden()).unwrap_or_default();
    assert!(
        stored == text,
        "docs/openapi.json is not what the handlers say. If that is meant: DAYBREAK_UPDATE_GOLDEN=1 cargo test -p api --test rest"
    );
}

#[tokio::test]
async fn it_is_served() {
    let served = House::new().get("/openapi.json").await.expect(200);
    assert_eq!(served, document().0);
    assert_eq!(served["openapi"], "3.1.0");
}

fn operations() -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, item) in document().0["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((method.clone(), path.clone(), operation.clone()));
        }
    }
    operations
}

#[test]
fn every_operation_is_named_told_and_may_fail() {
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        assert!(ids.insert(id.clone()) && !id.is_empty(), "{method} {path} has the name '{id}'");
        assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{id}: {operation}");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{id}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{id}");
        assert!(responses.contains_key("500"), "{id}");
        let is_change = method != "get" && id != "plan";
        assert_eq!(responses.contains_key("422"), is_change, "{id}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        assert_eq!(parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key"), is_change, "{id}");
        for parameter in parameters {
            assert!(parameter["description"].as_str().is_some_and(|text| text.len() > 5), "{id}: {parameter}");
        }
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            let told =
                operation["parameters"].as_array().unwrap().iter().any(|it| it["name"] == name && it["in"] == "path");
            assert!(told, "{id} does not tell of {name}");
        }
    }
    assert!(ids.len() > 30, "{ids:?}");
}

#[test]
fn every_field_is_described() {
    let mut bare = Vec::new();
    fn look(name: &str, schema: &Value, bare: &mut Vec<String>) {
        for (field, value) in schema["properties"].as_object().into_iter().flatten() {
            let told = |value: &Value| value["description"].as_str().is_some_and(|text| !text.is_empty());
            // What may be missing is told beside the null that stands for it.
            let is_told = told(value) || value["oneOf"].as_array().is_some_and(|parts| parts.iter().any(told));
            if !is_told {
                bare.push(format!("{name}.{field}"));
            }
            look(&format!("{name}.{field}"), value, bare);
        }
        for part in ["allOf", "oneOf", "anyOf"] {
            for value in schema[part].as_array().into_iter().flatten() {
                look(name, value, bare);
            }
        }
    }
    for (name, schema) in document().0["components"]["schemas"].as_object().unwrap() {
        look(name, schema, &mut bare);
    }
    // The alternatives of a rule are told by their own fields.
    bare.retain(|field| !field.starts_with("SlaRule."));
    assert!(bare.is_empty(), "{bare:?}");
}
