//! Requests that are made to hurt, with every allocation counted: whatever a body holds, nothing panics, each request gets an answer in
//! bounded memory, and no one allocation is larger than the longest body that is read. Hostile bodies first, then whole calls that are
//! damaged at random, in every protocol.
//!
//! The test command runs some thousand damaged calls. `DAYBREAK_FUZZ_SECONDS=N` goes on for N seconds, `DAYBREAK_FUZZ_SEED=N` begins with
//! another seed; both are told when something fails.

mod common;
#[path = "common/counting.rs"]
mod counting;

use std::time::{Duration, Instant};

use api::ApiSettings;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use common::{House, key};
use counting::Counted;
use http_body_util::BodyExt;
use serde_json::json;
use thrift::{Call, Method, Protocol, encode_call};
use tower::ServiceExt;

/// What one piece of work took: its peak above what was in use before, and its largest allocation. Counts the whole process, so the tests
/// of this file are one.
async fn measured<T>(work: impl Future<Output = T>) -> (T, usize, usize) {
    let counted = Counted::begin();
    let done = work.await;
    let taken = counted.taken();
    (done, taken.peak, taken.largest)
}

/// One request as the tests send it.
struct Sent {
    path: String,
    media_type: &'static str,
    body: Bytes,
}

impl Sent {
    fn thrift(protocol: Protocol, body: impl Into<Bytes>) -> Self {
        Self { path: "/api".into(), media_type: protocol.media_type(), body: body.into() }
    }

    fn plain(method: Method, body: impl Into<Bytes>) -> Self {
        let path = format!("/apibeta/{}", method.name());
        Self { path, media_type: "application/json", body: body.into() }
    }

    /// Sends it and looks at the answer; the peak and the largest allocation meanwhile, the body itself and the answer's pieces included.
    async fn to(&self, house: &House, what: &str) -> (StatusCode, usize, usize) {
        let request = Request::post(&self.path).header("content-type", self.media_type);
        // In pieces and without a length, as from somebody who does not say how much is to come.
        let pieces: Vec<Bytes> = self.body.chunks(64 << 10).map(Bytes::copy_from_slice).collect();
        let pieces = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>));
        let request = request.body(Body::from_stream(pieces)).unwrap();
        let (answer, peak, largest) = measured(async {
            let answer = house.router.clone().oneshot(request).await.unwrap();
            let status = answer.status();
            let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
            (status, body)
        })
        .await;
        let (status, text) = (answer.0, String::from_utf8_lossy(&answer.1).into_owned());
        let unreadable = status == StatusCode::INTERNAL_SERVER_ERROR && text.starts_with("The request cannot be read");
        let known = [
            StatusCode::OK,
            StatusCode::BAD_REQUEST,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ];
        assert!(unreadable || known.contains(&status), "{what}: {status} {text:.300}");
        assert!(!text.contains("could not be"), "{what}: a panic was caught: {text:.300}");
        (status, peak, largest)
    }
}

fn limit() -> usize {
    ApiSettings::default().max_body_bytes
}

/// The most that the decoders may build from one request, as they state it.
const DECODED_LIMIT_BYTES: usize = thrift::Limits::REQUEST.memory_bytes;

fn check(what: &str, body: usize, (_, peak, largest): (StatusCode, usize, usize)) {
    // A short body may not take much, a long one at most itself twice over and what the decoders may build.
    let bound = 2 * body.min(limit()) + DECODED_LIMIT_BYTES.min(800 * body) + (4 << 20);
    assert!(peak <= bound, "{what}: {peak} bytes at once for a body of {body}");
    assert!(largest <= limit() + (64 << 10), "{what}: one allocation of {largest} bytes");
}

fn envelope(method: Method) -> Vec<u8> {
    let name = method.name().as_bytes();
    let mut bytes = vec![0x80, 0x01, 0x00, 0x01, 0, 0, 0, name.len() as u8];
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&[0, 0, 0, 1]);
    bytes
}

/// Containers of a kind that say they hold very many, `deep` structs below the arguments, under field `id` of each.
fn containers(method: Method, id: u8, deep: usize, kind: u8, element: &[u8], count: i32, present: usize) -> Vec<u8> {
    let mut bytes = envelope(method);
    for _ in 0..deep {
        bytes.extend_from_slice(&[12, 0, 1]);
    }
    bytes.extend_from_slice(&[kind, 0, id]);
    bytes.extend_from_slice(element);
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.resize(bytes.len() + present, 0);
    bytes
}

async fn hostile_bodies(house: &House) {
    let long = limit() + 1;
    for sent in [
        Sent::thrift(Protocol::Json, vec![b' '; long]),
        Sent::thrift(Protocol::Binary, vec![0x80; 3 * limit()]),
        Sent::plain(Method::CreateJob, vec![b'['; long]),
    ] {
        let seen = sent.to(house, "a body beyond the limit").await;
        assert_eq!(seen.0, StatusCode::PAYLOAD_TOO_LARGE);
        check("a body beyond the limit", sent.body.len(), seen);
    }
    for opening in [
        "[",
        "{\"1\":",
        "{\"1\":{\"rec\":",
        "[1,\"createJob\",1,1,{\"1\":{\"rec\":{\"2\":{\"lst\":[\"lst\",1,",
        "\"\\u0000",
    ] {
        let body = opening.repeat(limit() / opening.len());
        for sent in [Sent::thrift(Protocol::Json, body.clone()), Sent::plain(Method::CreateJob, body)] {
            let seen = sent.to(house, opening).await;
            check(opening, sent.body.len(), seen);
        }
    }
    // One long text, whole: it may be refused in a sentence, and takes no more than itself a few times.
    let text = "x".repeat(limit() - 200);
    let plain = json!({"ownerRole": text}).to_string();
    let sent = Sent::plain(Method::GetQuota, plain);
    let seen = sent.to(house, "a long text").await;
    assert!(seen.1 <= 5 * limit(), "{} bytes for a long text", seen.1);
    // Compact Thrift is not spoken: said before the body is read.
    let compact = Sent {
        media_type: "application/vnd.apache.thrift.compact",
        ..Sent::thrift(Protocol::Binary, vec![0x82; limit()])
    };
    let seen = compact.to(house, "compact").await;
    assert_eq!(seen.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(seen.1 < 1 << 20, "{} bytes for a body nobody reads", seen.1);
}

/// Counts that are lies, and elements of one byte that become structs of hundreds.
async fn hostile_counts(house: &House) {
    for method in Method::ALL.iter().filter(|method| !method.arguments().is_empty()) {
        for deep in 0..4 {
            for id in (1..=12).chain([20, 28, 30, 33]) {
                for (kind, element) in
                    [(15, &[12][..]), (14, &[12]), (14, &[8]), (15, &[11]), (13, &[11, 12]), (13, &[11, 11]), (11, &[])]
                {
                    let lie = containers(*method, id, deep, kind, element, i32::MAX, 64);
                    let what = format!("{} field {id} below {deep}, kind {kind} of {element:?}", method.name());
                    let sent = Sent::thrift(Protocol::Binary, lie);
                    let seen = sent.to(house, &what).await;
                    check(&what, sent.body.len(), seen);
                }
            }
        }
    }
    for (method, deep, id, kind) in [
        (Method::GetTasksStatus, 1, 10, 14),
        (Method::CreateJob, 2, 20, 14),
        (Method::CreateJob, 2, 32, 14),
        (Method::StartJobUpdate, 2, 27, 14),
        (Method::GetJobUpdateDiff, 1, 6, 14),
        (Method::CreateJob, 1, 99, 15),
    ] {
        let count = 8_000_000;
        let what = format!("{} with {count} empty structs in field {id}", method.name());
        let sent = Sent::thrift(Protocol::Binary, containers(method, id, deep, kind, &[12], count, count as usize + 8));
        let seen = sent.to(house, &what).await;
        check(&what, sent.body.len(), seen);
    }
}

/// A small generator; the same seed gives the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides.max(1)
    }
}

/// Whole calls, as whole clients send them.
fn whole_calls() -> Vec<Sent> {
    let config = json!({
        "job": key(), "isService": true, "executorConfig": {"name": "AuroraExecutor", "data": "{\"task\": {}}"},
        "resources": [{"numCpus": 0.5}, {"ramMb": 16}, {"diskMb": 32}, {"namedPort": "http"}],
        "constraints": [{"name": "rack", "constraint": {"value": {"negated": false, "values": ["a", "b"]}}}],
        "metadata": [{"key": "k", "value": "v"}], "container": {"docker": {"image": "i", "parameters": []}},
        "slaPolicy": {"percentageSlaPolicy": {"percentage": 95.5, "durationSecs": 60}}, "taskLinks": {"http": "x"},
    });
    let plain = [
        (Method::CreateJob, json!({"description": {"key": key(), "taskConfig": config, "instanceCount": 3}})),
        (
            Method::StartJobUpdate,
            json!({"request": {"taskConfig": config, "instanceCount": 5, "settings": {"updateGroupSize": 2,
                "updateOnlyTheseInstances": [{"first": 0, "last": 3}], "updateStrategy": {"varBatchStrategy": {"groupSizes": [1, 2]}}}}}),
        ),
        (Method::KillTasks, json!({"job": key(), "instances": [0, 1, 2], "message": "why"})),
        (Method::AddInstances, json!({"key": {"jobKey": key(), "instanceId": 0}, "count": 2})),
        (
            Method::GetTasksStatus,
            json!({"query": {"jobKeys": [key()], "statuses": ["RUNNING", "PENDING"], "limit": 10}}),
        ),
        (
            Method::SetQuota,
            json!({"ownerRole": "www-data", "quota": {"resources": [{"numCpus": 9.5}, {"ramMb": 1}, {"diskMb": 1}]}}),
        ),
        (Method::DrainHosts, json!({"hosts": {"hostNames": ["a", "b"]}})),
    ];
    let mut calls = Vec::new();
    for (method, arguments) in plain {
        let text = arguments.to_string();
        let call = thrift::decode_plain_arguments(method, text.as_bytes(), thrift::Limits::REQUEST).expect("a call");
        calls.extend([Protocol::Binary, Protocol::Json].map(|it| Sent::thrift(it, encode_call(it, 1, &call))));
        calls.push(Sent::plain(method, text));
    }
    for method in Method::ALL {
        let call = Call::without_arguments(*method);
        calls.extend([Protocol::Binary, Protocol::Json].map(|it| Sent::thrift(it, encode_call(it, 1, &call))));
    }
    calls
}

/// One call, damaged in one to four places.
fn damaged(calls: &[Sent], dice: &mut Dice) -> Sent {
    let call = &calls[dice.roll(calls.len())];
    let mut body = call.body.to_vec();
    for _ in 0..=dice.roll(4) {
        let (at, length) = (dice.roll(body.len()), 1 + dice.roll(40));
        let end = (at + length).min(body.len());
        match dice.roll(8) {
            0 if !body.is_empty() => body[at] ^= 1 << dice.roll(8),
            1 if !body.is_empty() => body[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\\'][dice.roll(8)],
            2 => drop(body.drain(at..end)),
            3 => {
                let copy = body[at..end].to_vec();
                let to = dice.roll(body.len());
                body.splice(to..to, copy);
            }
            4 => {
                let other = &calls[dice.roll(calls.len())].body;
                let from = dice.roll(other.len());
                let copy = other[from..(from + length).min(other.len())].to_vec();
                body.splice(at..end, copy);
            }
            5 => {
                let number =
                    ["-1", "1e309", "99999999999999999999", "2147483647", "null", "true", "[]", "{}"][dice.roll(8)];
                body.splice(at..end, number.bytes());
            }
            6 => {
                let number = [i32::MIN, -1, i32::MAX, 1 << 24][dice.roll(4)].to_be_bytes();
                body.splice(at..end.min(at + 4), number);
            }
            _ => body.truncate(at),
        }
    }
    Sent { path: call.path.clone(), media_type: call.media_type, body: body.into() }
}

async fn damaged_calls() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("DAYBREAK_FUZZ_SEED").unwrap_or(1);
    let until = number("DAYBREAK_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (calls, mut rounds, mut house) = (whole_calls(), 0_u64, House::new().await);
    let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
    while until.map_or(rounds < 5_000, |until| Instant::now() < until) {
        let mut dice = Dice(seed.wrapping_add(rounds).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let sent = damaged(&calls, &mut dice);
        let what = format!("seed {} ({} {})", seed.wrapping_add(rounds), sent.path, sent.media_type);
        let seen = sent.to(&house, &what).await;
        *statuses.entry(seen.0.as_u16()).or_default() += 1;
        check(&what, sent.body.len(), seen);
        rounds += 1;
        if rounds.is_multiple_of(1_000) {
            // What damaged calls created must not pile up.
            house = House::new().await;
        }
    }
    assert!(statuses.get(&200).is_some_and(|count| count * 20 > rounds), "some are read: {statuses:?}");
    assert!(statuses.get(&500).is_some_and(|count| count * 100 > rounds), "some cannot be read: {statuses:?}");
    println!("{rounds} damaged calls from seed {seed}: {statuses:?}");
}

#[tokio::test]
async fn whatever_a_body_holds_it_is_answered_in_bounded_memory() {
    let house = House::new().await;
    let before = house.stored();
    hostile_bodies(&house).await;
    hostile_counts(&house).await;
    assert!(house.stored() == before, "hostile bodies changed what is stored");
    damaged_calls().await;
}
