//! Every method of the API called with what no client means: missing, wrong, hostile and enormous arguments, in both protocols and as plain
//! JSON. Each gets an answer in its protocol, nothing panics, and what is stored stays as it was. What the decoders make of bytes alone is
//! tested where they are.

mod common;

use axum::http::StatusCode;
use common::House;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use thrift::*;

/// A value that knows how it looks in each protocol, whether or not any schema has a place for it.
#[derive(Clone, Debug)]
enum Value {
    Bool(bool),
    I32(i32),
    I64(i64),
    Double(f64),
    Text(String),
    Struct(Vec<(i16, Value)>),
    List(Vec<Value>),
    Set(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    fn tag(&self) -> &'static str {
        match self {
            Self::Bool(_) => "tf",
            Self::I32(_) => "i32",
            Self::I64(_) => "i64",
            Self::Double(_) => "dbl",
            Self::Text(_) => "str",
            Self::Struct(_) => "rec",
            Self::List(_) => "lst",
            Self::Set(_) => "set",
            Self::Map(_) => "map",
        }
    }

    fn json(&self) -> Json {
        let elements = |values: &[Value]| {
            let tag = values.first().map_or("i32", Value::tag);
            let head = [json!(tag), json!(values.len())];
            Json::Array(head.into_iter().chain(values.iter().map(Value::json)).collect())
        };
        match self {
            Self::Bool(value) => json!(i32::from(*value)),
            Self::I32(value) => json!(value),
            Self::I64(value) => json!(value),
            Self::Double(value) if value.is_finite() => json!(value),
            Self::Double(_) => json!("NaN"),
            Self::Text(text) => json!(text),
            Self::Struct(fields) => {
                fields.iter().map(|(id, value)| (id.to_string(), json!({ value.tag(): value.json() }))).collect()
            }
            Self::List(values) | Self::Set(values) => elements(values),
            Self::Map(entries) => {
                let tag = entries.first().map_or("i32", |(_, value)| value.tag());
                let object: serde_json::Map<String, Json> =
                    entries.iter().map(|(name, value)| (name.clone(), value.json())).collect();
                json!(["str", tag, entries.len(), object])
            }
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Bool(_) => 2,
            Self::Double(_) => 4,
            Self::I32(_) => 8,
            Self::I64(_) => 10,
            Self::Text(_) => 11,
            Self::Struct(_) => 12,
            Self::Map(_) => 13,
            Self::Set(_) => 14,
            Self::List(_) => 15,
        }
    }

    fn binary(&self, out: &mut Vec<u8>) {
        let count = |out: &mut Vec<u8>, count: usize| out.extend_from_slice(&(count as i32).to_be_bytes());
        match self {
            Self::Bool(value) => out.push(u8::from(*value)),
            Self::I32(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::I64(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Double(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Text(text) => {
                count(out, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Self::Struct(fields) => {
                for (id, value) in fields {
                    out.push(value.kind());
                    out.extend_from_slice(&id.to_be_bytes());
                    value.binary(out);
                }
                out.push(0);
            }
            Self::List(values) | Self::Set(values) => {
                out.push(values.first().map_or(8, Value::kind));
                count(out, values.len());
                values.iter().for_each(|value| value.binary(out));
            }
            Self::Map(entries) => {
                out.extend_from_slice(&[11, entries.first().map_or(8, |(_, value)| value.kind())]);
                count(out, entries.len());
                for (name, value) in entries {
                    Self::Text(name.clone()).binary(out);
                    value.binary(out);
                }
            }
        }
    }
}

/// A call of a method with these arguments, as a message of a protocol.
fn message(protocol: Protocol, method: &str, arguments: &Value) -> Vec<u8> {
    match protocol {
        Protocol::Json => json!([1, method, 1, 7, arguments.json()]).to_string().into_bytes(),
        Protocol::Binary => {
            let mut out = vec![0x80, 0x01, 0x00, 0x01];
            Value::Text(method.to_owned()).binary(&mut out);
            out.extend_from_slice(&7_i32.to_be_bytes());
            arguments.binary(&mut out);
            out
        }
    }
}

fn texts() -> Vec<String> {
    [
        "",
        " ",
        "..",
        "../../etc/passwd",
        "a/b",
        "a:b",
        "*",
        "\0",
        "\u{1b}[2J",
        "null",
        "<script>",
        "a\nb",
        "\u{202e}x",
        "{{mesos.instance}}",
        "😀",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([format!("{}!", "x".repeat(300)), "y/".repeat(10_000)])
    .collect()
}

/// Values for one argument. None of them means anything that could be carried out on what is stored.
fn values() -> Vec<Value> {
    let strukt = |fields: Vec<(i16, Value)>| Value::Struct(fields);
    let mut values = vec![
        strukt(vec![]),
        Value::Bool(true),
        Value::I32(i32::MIN),
        Value::I64(i64::MAX),
        Value::Double(f64::NAN),
        Value::List(vec![]),
        Value::Set(vec![Value::Text("a:b".into()); 3]),
        Value::Map(vec![("a".into(), Value::I32(-1))]),
        Value::List(vec![Value::I32(-1); 5_000]),
    ];
    for text in texts() {
        let text = Value::Text(text);
        // As itself, as every field of a struct, and one struct deeper.
        let all = strukt(
            (1..=35)
                .map(|id| (id, text.clone()))
                .take(if matches!(&text, Value::Text(t) if t.len() > 1000) { 3 } else { 35 })
                .collect(),
        );
        let deeper = strukt(
            (1..=35)
                .map(|id| (id, strukt(vec![(1, text.clone()), (2, text.clone()), (3, text.clone())])))
                .take(if matches!(&text, Value::Text(t) if t.len() > 1000) { 3 } else { 35 })
                .collect(),
        );
        values.extend([text, all, deeper]);
    }
    for number in [i32::MIN, -1, i32::MAX] {
        let number = Value::I32(number);
        values.push(strukt((1..=35).map(|id| (id, number.clone())).collect()));
        values.push(strukt((1..=35).map(|id| (id, Value::Set(vec![number.clone(); 2]))).collect()));
        values.push(Value::Set(vec![number]));
    }
    let mut deep = strukt(vec![]);
    for _ in 0..40 {
        deep = strukt(vec![(1, deep.clone())]);
    }
    values.push(deep);
    values
}

/// Fails unless it is an answer in the protocol; whether it is OK.
fn answered(protocol: Protocol, method: Method, status: StatusCode, body: &[u8], what: &str) -> bool {
    assert_eq!(status, StatusCode::OK, "{what}: {}", String::from_utf8_lossy(body));
    match decode_reply(protocol, method, 7, body, Limits::REPLY) {
        Ok(response) => {
            let code = response.response_code.unwrap_or_else(|| panic!("{what}: no code"));
            if code != ResponseCode::Ok {
                assert_eq!(response.details.len(), 1, "{what}: {response:?}");
                let said = response.details[0].message.as_deref().unwrap_or_default();
                assert!(said.len() > 10 && said.len() < 3_000_000, "{what}: says {} bytes", said.len());
            }
            code == ResponseCode::Ok
        }
        Err(ReplyError::Exception { kind, .. }) => {
            assert!(kind == 1 || kind == 7, "{what}: exception {kind}");
            false
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Json, Protocol::Binary];

#[tokio::test]
async fn every_method_answers_hostile_arguments_and_changes_nothing() {
    let house = House::new().await;
    let before = house.stored();
    let values = values();
    let mut refused = 0;
    for method in Method::ALL {
        let name = method.name();
        for protocol in PROTOCOLS {
            let media_type = protocol.media_type();
            let empty = house.send("/api", media_type, message(protocol, name, &Value::Struct(vec![]))).await;
            answered(protocol, *method, empty.0, &empty.1, name);
            for value in &values {
                // Under every number that an argument of any method has.
                let arguments = Value::Struct((1..=6).map(|id| (id, value.clone())).collect());
                let (status, body) = house.send("/api", media_type, message(protocol, name, &arguments)).await;
                let shown = format!("{value:?}");
                let what = format!("{name} over {protocol:?} with {}", shown.chars().take(120).collect::<String>());
                refused += usize::from(!answered(protocol, *method, status, &body, &what));
                assert!(house.stored() == before, "{what} changed what is stored");
            }
        }
    }
    assert!(refused > 2_000, "most of it is refused: {refused}");
}

#[tokio::test]
async fn every_method_answers_hostile_plain_json_and_changes_nothing() {
    let house = House::new().await;
    let before = house.stored();
    let mut values =
        vec![json!(null), json!([]), json!({}), json!(-1), json!(1e300), json!(true), json!({"x": {"y": []}})];
    values.extend(
        texts().into_iter().flat_map(|text| [json!({"role": text, "name": text, "jobKeys": [text]}), json!(text)]),
    );
    for method in Method::ALL {
        let path = format!("/apibeta/{}", method.name());
        let mut bodies: Vec<Vec<u8>> = ["", "[]", "null", "{", "{\"", "\u{feff}{}", "{}{}"]
            .into_iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
        bodies.push(vec![0xff; 100]);
        bodies.push("[".repeat(200_000).into_bytes());
        for value in &values {
            let arguments: serde_json::Map<String, Json> =
                method.arguments().iter().map(|argument| (argument.name.to_owned(), value.clone())).collect();
            bodies.push(Json::Object(arguments).to_string().into_bytes());
        }
        for body in bodies {
            let shown: String = String::from_utf8_lossy(&body).chars().take(120).collect();
            let (status, answer) = house.send(&path, "application/json", body).await;
            assert!([StatusCode::OK, StatusCode::BAD_REQUEST].contains(&status), "{path} {shown}: {status}");
            let answer: Json =
                serde_json::from_slice(&answer).unwrap_or_else(|error| panic!("{path} {shown}: {error}"));
            assert!(answer["responseCode"].is_string() && answer["details"].is_array(), "{path} {shown}: {answer}");
            assert!(status == StatusCode::OK || answer["responseCode"] == "ERROR", "{path} {shown}: {answer}");
            assert!(house.stored() == before, "{path} {shown} changed what is stored");
        }
    }
    let (status, answer) = house.send("/apibeta/noSuchMethod", "application/json", b"{}".to_vec()).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{}", String::from_utf8_lossy(&answer));
}

/// Real calls, damaged: a random byte changed, cut out, doubled. What still is a call may be carried out; nothing may panic, and every
/// answer is one.
#[tokio::test]
async fn damaged_calls_are_answered() {
    let house = House::new().await;
    let mut runner = TestRunner::deterministic();
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..4);
    let arguments = Value::Struct(vec![
        (1, Value::Struct(vec![(14, Value::Text("www-data".into())), (5, Value::Set(vec![Value::I32(0)]))])),
        (
            4,
            Value::Struct(vec![
                (1, Value::Text("www-data".into())),
                (2, Value::Text("prod".into())),
                (3, Value::Text("none".into())),
            ]),
        ),
        (5, Value::Set(vec![Value::I32(1), Value::I32(2)])),
        (6, Value::Text("why".into())),
    ]);
    for method in Method::ALL {
        for protocol in PROTOCOLS {
            let whole = message(protocol, method.name(), &arguments);
            for _ in 0..40 {
                let mut bytes = whole.clone();
                for (index, byte, kind) in damage.new_tree(&mut runner).unwrap().current() {
                    if bytes.is_empty() {
                        break;
                    }
                    let at = index.index(bytes.len());
                    match kind {
                        0 => bytes[at] = byte,
                        1 => drop(bytes.remove(at)),
                        2 => bytes.insert(at, byte),
                        _ => bytes.truncate(at.max(1)),
                    }
                }
                let shown = String::from_utf8_lossy(&bytes).into_owned();
                let (status, body) = house.send("/api", protocol.media_type(), bytes).await;
                match status {
                    StatusCode::OK => assert!(!body.is_empty(), "{shown}"),
                    // Nobody can be named for it.
                    StatusCode::INTERNAL_SERVER_ERROR => {
                        assert!(body.starts_with(b"The request cannot be read"), "{shown}")
                    }
                    other => panic!("{shown}: {other}"),
                }
            }
        }
    }
}

/// The dialect of Aurora 0.7 and before: a query where the job key is, session keys, and locks (spec thrift-api 2.5).
#[tokio::test]
async fn clients_of_long_ago_are_told_what_to_do() {
    let house = House::new().await;
    let before = house.stored();
    let query = Value::Struct(vec![
        (14, Value::Text("www-data".into())),
        (9, Value::Text("prod".into())),
        (2, Value::Text("hello".into())),
    ]);
    let session = Value::Struct(vec![(4, Value::Text("UNAUTHENTICATED".into())), (5, Value::Text("x".into()))]);
    let old_kill = Value::Struct(vec![
        (1, query),
        (2, session.clone()),
        (3, Value::Struct(vec![(2, Value::Text("token".into()))])),
    ]);
    for protocol in PROTOCOLS {
        for (method, arguments, hint) in [
            ("killTasks", &old_kill, "Aurora 0.7"),
            ("acquireLock", &Value::Struct(vec![(2, session.clone())]), "locks are no part"),
            ("getVersion", &Value::Struct(vec![]), "newer client"),
        ] {
            let (status, body) = house.send("/api", protocol.media_type(), message(protocol, method, arguments)).await;
            let text = String::from_utf8_lossy(&body);
            assert!(status == StatusCode::OK && text.contains(hint), "{method} over {protocol:?}: {status} {text}");
        }
    }
    assert!(house.stored() == before);
}
