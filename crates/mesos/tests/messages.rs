//! The bytes and the JSON of messages, written out by hand from the tables of spec mesos 2.

use std::collections::BTreeMap;

use bytes::Bytes;
use mesos::json::{Json, JsonError};
use mesos::v1::scheduler::{Call, Event, call, event};
use mesos::v1::{self, executor, framework_info, task_status, value};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn capability(kind: framework_info::capability::Type) -> framework_info::Capability {
    framework_info::Capability { r#type: Some(kind as i32) }
}

#[test]
fn subscribe_has_these_bytes() {
    let call = Call {
        framework_id: Some("f-1".into()),
        r#type: Some(call::Type::Subscribe as i32),
        subscribe: Some(call::Subscribe {
            framework_info: v1::FrameworkInfo {
                user: "root".into(),
                name: "d".into(),
                id: Some("f-1".into()),
                failover_timeout: Some(604_800.0),
                checkpoint: Some(true),
                roles: vec!["a".into(), "b".into()],
                capabilities: vec![capability(framework_info::capability::Type::PartitionAware)],
                ..Default::default()
            },
            suppressed_roles: vec!["b".into()],
            offer_constraints: None,
        }),
        ..Default::default()
    };
    // Framework id; type; subscribe { framework info of 6 + 3 + 7 + 9 + 2 + 4 + 3 + 3 bytes; suppressed roles }.
    let expected = [
        "0a050a03662d31",
        "1001",
        "1a2a0a25",
        "0a04726f6f74",
        "120164",
        "1a050a03662d31",
        "210000000000752241",
        "2801",
        "52020805",
        "620161",
        "620162",
        "120162",
    ]
    .concat();
    assert_eq!(hex(&call.encode_to_vec()), expected);
    assert_eq!(Call::decode(&*call.encode_to_vec()).unwrap(), call);
}

#[test]
fn acknowledge_carries_sixteen_raw_bytes() {
    let call = Call {
        r#type: Some(call::Type::Acknowledge as i32),
        acknowledge: Some(call::Acknowledge {
            agent_id: "S0".into(),
            task_id: "t".into(),
            uuid: Bytes::from_static(&[0xab; 16]),
        }),
        ..Default::default()
    };
    let expected = format!("1008421d0a040a02533012030a01741a10{}", "ab".repeat(16));
    assert_eq!(hex(&call.encode_to_vec()), expected);
    assert_eq!(call.to_json()["acknowledge"]["uuid"], "q6urq6urq6urq6urq6urqw==");
}

#[test]
fn field_and_type_numbers_of_executor_events_differ() {
    let kill = executor::Event {
        r#type: Some(executor::event::Type::Kill as i32),
        kill: Some(executor::event::Kill { task_id: "t".into(), kill_policy: None }),
        ..Default::default()
    };
    assert_eq!(hex(&kill.encode_to_vec()), "08032a050a030a0174");
    let message = executor::Call {
        executor_id: "e".into(),
        framework_id: "f".into(),
        r#type: Some(executor::call::Type::Message as i32),
        message: Some(executor::call::Message { data: Bytes::from_static(b"x") }),
        ..Default::default()
    };
    assert_eq!(hex(&message.encode_to_vec()), "0a030a016512030a016618033203120178");
}

#[test]
fn repeated_numbers_are_not_packed() {
    let http = v1::health_check::HttpCheckInfo { port: 80, statuses: vec![200, 204], ..Default::default() };
    assert_eq!(hex(&http.encode_to_vec()), "085020c80120cc01");
    let capabilities = v1::CapabilityInfo { capabilities: vec![1000, 1999] };
    assert_eq!(hex(&capabilities.encode_to_vec()), "08e80708cf0f");
}

#[test]
fn numbers_of_newer_masters_survive() {
    let status = v1::TaskStatus { task_id: "t".into(), state: 77, reason: Some(0), ..Default::default() };
    let read = v1::TaskStatus::decode(&*status.encode_to_vec()).unwrap();
    assert_eq!((read.state, read.reason), (77, Some(0)));
    assert!(v1::TaskState::try_from(read.state).is_err());
    // Zero is a reason, and not the same as none.
    let without = v1::TaskStatus { reason: None, ..status };
    assert_eq!(v1::TaskStatus::decode(&*without.encode_to_vec()).unwrap().reason, None);
    // A field of a newer schema is passed over.
    let mut bytes = without.encode_to_vec();
    bytes.extend_from_slice(&[0xfa, 0x3e, 0x01, 0x41]);
    assert_eq!(v1::TaskStatus::decode(&*bytes).unwrap(), without);
    // In JSON a number without a name is left out.
    assert_eq!(without.to_json().get("state"), None);
}

#[test]
fn every_constant_has_its_number_and_name() {
    assert_eq!(v1::TaskState::Staging as i32, 6);
    assert_eq!(v1::TaskState::Starting as i32, 0);
    assert_eq!(v1::TaskState::Unknown as i32, 13);
    assert_eq!(v1::TaskState::ALL.len(), 14);
    assert_eq!(task_status::Reason::ALL.len(), 35);
    for (number, reason) in task_status::Reason::ALL.iter().enumerate() {
        assert_eq!((*reason as usize, reason.name().starts_with("REASON_")), (number, true));
    }
    assert_eq!(call::Type::ALL.iter().map(|kind| *kind as i32).collect::<Vec<_>>(), (0..18).collect::<Vec<_>>());
    assert_eq!(event::Type::from_name("UPDATE_OPERATION_STATUS"), Some(event::Type::UpdateOperationStatus));
    let terminal = v1::TaskState::ALL.iter().filter(|state| state.is_terminal()).count();
    assert_eq!(terminal, 8);
}

#[test]
fn json_has_the_defaults_and_leaves_out_what_is_unset() {
    let info = v1::FrameworkInfo { user: "u".into(), name: "n".into(), ..Default::default() };
    assert_eq!(info.to_json(), json!({"user": "u", "name": "n", "failover_timeout": 0.0, "checkpoint": false}));
    let http = v1::health_check::HttpCheckInfo { port: 1, ..Default::default() };
    assert_eq!(http.to_json(), json!({"port": 1, "protocol": "IPv4"}));
    // The default of the deprecated role is not written.
    let cpus = v1::Resource {
        name: "cpus".into(),
        scalar: Some(value::Scalar { value: 0.5 }),
        revocable: Some(Default::default()),
        ..Default::default()
    };
    assert_eq!(cpus.to_json(), json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}, "revocable": {}}));
}

#[test]
fn json_is_read_as_leniently_as_mesos_does() {
    let text = r#"{"name": "x", "executor_id": {"value": "e"}, "wings": 2, "resources": null,
        "command": {"shell": "false", "value": null, "arguments": "one", "uris": {"value": "u", "extract": true}},
        "type": "NO_SUCH_TYPE", "data": "AAEC", "shutdown_grace_period": {"nanoseconds": "9007199254740993"}}"#;
    let info = v1::ExecutorInfo::from_json_text(text).unwrap();
    let command = info.command.unwrap();
    assert_eq!((command.shell, command.value), (Some(false), None));
    assert_eq!(command.arguments, ["one"]);
    assert_eq!(command.uris[0].extract, Some(true));
    assert_eq!(info.r#type, None, "an unknown name counts as unset");
    assert_eq!(info.data.as_deref(), Some(&[0, 1, 2][..]));
    assert_eq!(info.shutdown_grace_period.unwrap().nanoseconds, 9_007_199_254_740_993);
    // Names in camel case are lost without a word.
    let lost = v1::TaskStatus::from_json_text(
        r#"{"task_id": {"value": "t"}, "state": "TASK_RUNNING", "executorId": {"value": "e"}}"#,
    );
    assert_eq!(lost.unwrap().executor_id, None);
}

#[test]
fn json_that_does_not_fit_is_refused_with_the_place() {
    let refusal = |value: Value| v1::TaskInfo::read_json(&value).unwrap_err().to_string();
    assert_eq!(refusal(json!({"task_id": {}})), "missing name, task_id.value, agent_id");
    assert_eq!(
        refusal(json!({"resources": [{"type": 0}]})),
        "resources.type: expected the name of a constant, found 0"
    );
    assert_eq!(
        refusal(json!({"resources": [{"type": "X"}]})),
        "resources.type: expected a known constant, found \"X\""
    );
    assert_eq!(refusal(json!([])), "the message: expected an object, found []");
    assert_eq!(refusal(json!({"data": "*"})), "data: expected base64 text, found \"*\"");
    assert!(matches!(v1::TaskInfo::from_json_text("{"), Err(JsonError::Syntax(_))));
    let deep = format!("{}{}", r#"{"parent":"#.repeat(200), "}".repeat(200));
    assert!(matches!(v1::ContainerId::from_json_text(&deep), Err(JsonError::Syntax(_))), "depth is bounded");
}

#[test]
fn limits_are_objects_and_may_be_infinite() {
    let mut task = v1::TaskInfo { name: "n".into(), task_id: "t".into(), agent_id: "a".into(), ..Default::default() };
    task.limits = BTreeMap::from([("cpus".to_owned(), value::Scalar { value: f64::INFINITY })]);
    let json = task.to_json();
    assert_eq!(json["limits"], json!({"cpus": {"value": "Infinity"}}));
    assert_eq!(v1::TaskInfo::read_json(&json).unwrap(), task);
    assert_eq!(v1::TaskInfo::decode(&*task.encode_to_vec()).unwrap(), task);
}

#[test]
fn a_master_announces_itself_like_this() {
    let text = r#"{"address":{"hostname":"m1","ip":"10.0.0.5","port":5050},
        "capabilities":[{"type":"AGENT_UPDATE"},{"type":"FROM_THE_FUTURE"}],"hostname":"m1","id":"4f4b",
        "ip":83886090,"pid":"master@10.0.0.5:5050","port":5050,"version":"1.11.0"}"#;
    let master = v1::MasterInfo::from_json_text(text).unwrap();
    assert_eq!(master.address.unwrap().ip.as_deref(), Some("10.0.0.5"));
    assert_eq!(master.ip, 83_886_090);
    assert_eq!(master.capabilities.len(), 2);
    assert_eq!(master.capabilities[1].r#type, None);
}

#[test]
fn a_sandbox_path_may_be_its_own() {
    let path = v1::volume::source::SandboxPath::from_json_text(r#"{"type": "SELF", "path": "p"}"#).unwrap();
    assert_eq!(path.r#type, Some(v1::volume::source::sandbox_path::Type::Own as i32));
}

fn scalar(name: &'static str) -> impl Strategy<Value = v1::Resource> {
    (any::<u32>(), prop::option::of("[a-z]{1,4}")).prop_map(move |(millis, role)| v1::Resource {
        name: name.into(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: f64::from(millis) / 1000.0 }),
        allocation_info: role.map(|role| v1::resource::AllocationInfo { role: Some(role) }),
        ..Default::default()
    })
}

prop_compose! {
    fn offer()(
        id in "[a-f0-9]{1,8}", agent in "[a-f0-9]{1,8}", host in "[a-z.]{1,12}", cpus in scalar("cpus"), mem in scalar("mem"),
        ranges in prop::collection::vec((any::<u64>(), any::<u64>()), 0..4),
        text in prop::option::of(".{0,8}"), start in any::<i64>(),
    ) -> v1::Offer {
        let ports = v1::Resource {
            name: "ports".into(),
            r#type: value::Type::Ranges as i32,
            ranges: Some(value::Ranges { range: ranges.iter().map(|(begin, end)| value::Range { begin: *begin, end: *end }).collect() }),
            ..Default::default()
        };
        v1::Offer {
            id: id.into(), framework_id: "f".into(), agent_id: agent.into(), hostname: host,
            resources: vec![cpus, mem, ports],
            attributes: vec![v1::Attribute {
                name: "rack".into(), r#type: value::Type::Text as i32, text: text.map(|value| value::Text { value }),
                ..Default::default()
            }],
            unavailability: Some(v1::Unavailability { start: v1::TimeInfo { nanoseconds: start }, duration: None }),
            ..Default::default()
        }
    }
}

proptest! {
    #[test]
    fn offers_survive_both_forms(offers in prop::collection::vec(offer(), 0..5)) {
        let event = Event {
            r#type: Some(event::Type::Offers as i32),
            offers: Some(event::Offers { offers }),
            ..Default::default()
        };
        prop_assert_eq!(&Event::decode(&*event.encode_to_vec()).unwrap(), &event);
        prop_assert_eq!(&Event::from_json_text(&event.to_json_text()).unwrap(), &event);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(event) = Event::decode(&*bytes) {
            let _ = event.to_json_text();
        }
        let _ = Call::decode(&*bytes);
        let _ = executor::Event::decode(&*bytes);
    }

    #[test]
    fn spoiled_bytes_never_panic(offer in offer(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = offer.encode_to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(offer) = v1::Offer::decode(&*bytes) {
            let _ = v1::Offer::read_json(&offer.to_json());
        }
    }

    #[test]
    fn hostile_json_never_panics(text in r#"[\[\]{}":,a-z0-9.\-]{0,80}"#) {
        let _ = Call::from_json_text(&text);
    }
}
