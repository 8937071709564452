//! Input made to hurt: it is refused with an error, quickly and without taking memory.

use proptest::prelude::*;

use crate::*;

fn refused<T: Read + std::fmt::Debug>(protocol: Protocol, bytes: &[u8]) -> ProtocolError {
    decode_value::<T>(protocol, bytes, Limits::REQUEST).expect_err("this must not be readable")
}

#[test]
fn nesting_is_bounded_in_known_and_unknown_fields() {
    // Unknown field 99: structs within structs.
    let mut binary = Vec::new();
    for _ in 0..100_000 {
        binary.extend_from_slice(&[12, 0, 99]);
    }
    assert!(matches!(refused::<TaskConfig>(Protocol::Binary, &binary), ProtocolError::Limit(_)));
    // Lists within lists.
    let mut binary = vec![15, 0, 99];
    for _ in 0..100_000 {
        binary.extend_from_slice(&[15, 0, 0, 0, 1]);
    }
    assert!(matches!(refused::<TaskConfig>(Protocol::Binary, &binary), ProtocolError::Limit(_)));
    for bomb in ["[", "{\"99\":", "{\"99\":{\"rec\":"] {
        let json = format!("{{\"99\":{}", bomb.repeat(100_000));
        assert!(matches!(refused::<TaskConfig>(Protocol::Json, json.as_bytes()), ProtocolError::Limit(_)));
        assert!(matches!(
            decode_plain::<TaskConfig>(json.as_bytes(), Limits::REQUEST).unwrap_err(),
            ProtocolError::Limit(_)
        ));
    }
}

#[test]
fn counts_beyond_the_message_are_refused_before_allocation() {
    let huge = i32::MAX.to_be_bytes();
    let mut list = vec![15, 0, 4, 12];
    list.extend_from_slice(&huge);
    assert!(matches!(refused::<ScheduledTask>(Protocol::Binary, &list), ProtocolError::Truncated { .. }));
    let mut text = vec![11, 0, 1];
    text.extend_from_slice(&huge);
    assert!(matches!(refused::<JobKey>(Protocol::Binary, &text), ProtocolError::Truncated { .. }));
    let mut map = vec![13, 0, 5, 11, 8];
    map.extend_from_slice(&huge);
    assert!(matches!(refused::<AssignedTask>(Protocol::Binary, &map), ProtocolError::Truncated { .. }));
    let negative = [14, 0, 5, 8, 0xff, 0xff, 0xff, 0xff];
    assert!(matches!(refused::<KillTasksArguments>(Protocol::Binary, &negative), ProtocolError::Syntax { .. }));
    for json in [
        r#"{"5":{"set":["i32",2147483647,1]}}"#,
        r#"{"5":{"set":["i32",-1]}}"#,
        r#"{"5":{"set":["i32",2,1]}}"#,
        r#"{"5":{"set":["i32",1,1,2]}}"#,
        r#"{"5":{"set":["i32",99999999999999999999,1]}}"#,
    ] {
        refused::<KillTasksArguments>(Protocol::Json, json.as_bytes());
    }
}

#[test]
fn small_elements_cannot_grow_into_large_structs_without_bound() {
    // One byte each on the wire, hundreds of bytes each in memory.
    let count = 2_000_000;
    let mut bytes = vec![15, 0, 1, 12];
    bytes.extend_from_slice(&i32::to_be_bytes(count));
    bytes.resize(bytes.len() + count as usize, 0);
    bytes.push(0);
    assert!(matches!(refused::<ScheduleStatusResult>(Protocol::Binary, &bytes), ProtocolError::Limit(_)));
}

#[test]
fn every_truncation_is_an_error() {
    let call = Call::from(KillTasksArguments {
        job: Some(JobKey { role: "r\"ole".to_owned(), environment: "prod".to_owned(), name: "näme".to_owned() }),
        instances: Some(Set(vec![1, 2, 3])),
        message: Some("a\nb".to_owned()),
    });
    for protocol in [Protocol::Json, Protocol::Binary] {
        let bytes = encode_call(protocol, 1, &call);
        for end in 0..bytes.len() {
            assert!(decode_call(protocol, &bytes[..end], Limits::REQUEST).is_err(), "{protocol:?} cut at {end}");
        }
        let mut longer = bytes.clone();
        longer.push(b'x');
        assert!(decode_call(protocol, &longer, Limits::REQUEST).is_err());
    }
}

#[test]
fn text_must_be_utf_8_and_surrogates_must_pair() {
    let binary = [11, 0, 1, 0, 0, 0, 2, 0xc3, 0x28, 0];
    assert!(matches!(refused::<JobKey>(Protocol::Binary, &binary), ProtocolError::Syntax { at: 7, .. }));
    let mut json = br#"{"1":{"str":"a"#.to_vec();
    json.extend_from_slice(&[0xff, b'"', b'}', b'}']);
    assert!(matches!(refused::<JobKey>(Protocol::Json, &json), ProtocolError::Syntax { .. }));
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\ud800""#,
        r#""\ud800A""#,
        r#""\u12g4""#,
        r#""\u12"#,
        r#""\x41""#,
        r#""\"#,
        "\"open",
    ] {
        refused::<String>(Protocol::Json, text.as_bytes());
        assert!(decode_plain::<String>(text.as_bytes(), Limits::REQUEST).is_err(), "{text}");
        // The same inside a skipped field.
        let skipped = format!("{{\"99\":{{\"str\":{text}}}}}");
        refused::<JobKey>(Protocol::Json, skipped.as_bytes());
    }
}

#[test]
fn bad_base64_is_refused() {
    for text in [r#""Y""#, r#""YQ===""#, r#""Y!""#, r#""YQ=a""#, r#""YR""#] {
        refused::<Binary>(Protocol::Json, text.as_bytes());
    }
}

#[test]
fn a_known_field_of_another_type_is_an_error_and_never_means_all() {
    // A list where a set of instances belongs: skipped, it would kill the whole job.
    let json = r#"{"5":{"lst":["i32",1,3]}}"#;
    let error = refused::<KillTasksArguments>(Protocol::Json, json.as_bytes());
    assert_eq!(error.to_string(), "field instances must be of type set, not lst");
    let binary = [15, 0, 5, 8, 0, 0, 0, 1, 0, 0, 0, 3, 0];
    assert!(matches!(
        refused::<KillTasksArguments>(Protocol::Binary, &binary),
        ProtocolError::WrongKind { field: "instances", .. }
    ));
    for json in [r#"{"5":{"set":["str",1,"3"]}}"#, r#"{"5":{"set":["i32",1,"3"]}}"#, r#"{"5":{"set":["i32",1,3.0]}}"#] {
        refused::<KillTasksArguments>(Protocol::Json, json.as_bytes());
    }
    let plain = decode_plain_arguments(Method::KillTasks, br#"{"instances":3}"#, Limits::REQUEST);
    assert!(plain.is_err());
}

#[test]
fn unions_have_exactly_one_member_and_enums_known_constants() {
    for json in [r#"{}"#, r#"{"1":{"dbl":1.0},"2":{"i64":1}}"#, r#"{"9":{"dbl":1.0}}"#] {
        assert!(matches!(refused::<Resource>(Protocol::Json, json.as_bytes()), ProtocolError::Value(_)));
    }
    for json in [r#"{}"#, r#"{"numCpus":1.0,"ramMb":1}"#] {
        assert!(decode_plain::<Resource>(json.as_bytes(), Limits::REQUEST).is_err());
    }
    assert!(matches!(refused::<ScheduleStatus>(Protocol::Json, b"99"), ProtocolError::Value(_)));
    assert!(matches!(refused::<ScheduleStatus>(Protocol::Binary, &[0, 0, 0, 10]), ProtocolError::Value(_)));
    assert!(decode_plain::<ScheduleStatus>(b"\"running\"", Limits::REQUEST).is_err());
    assert_eq!(decode_plain::<ScheduleStatus>(b"\"RUNNING\"", Limits::REQUEST), Ok(ScheduleStatus::Running));
}

#[test]
fn numbers_must_fit() {
    for json in ["2147483648", "-2147483649", "1.5", "1e3", "", "+1", "--1", "true", "\"1\""] {
        refused::<i32>(Protocol::Json, json.as_bytes());
    }
    for json in ["9223372036854775808", "0x10"] {
        refused::<i64>(Protocol::Json, json.as_bytes());
    }
    assert_eq!(decode_value(Protocol::Json, b"-9223372036854775808", Limits::REQUEST), Ok(i64::MIN));
}

#[test]
fn unreadable_envelopes_have_nobody_to_answer_to() {
    let cases: [(Protocol, &[u8]); 9] = [
        (Protocol::Json, b""),
        (Protocol::Json, b"[]"),
        (Protocol::Json, b"{}"),
        (Protocol::Json, br#"[2,"getJobs",1,4,{}]"#),
        (Protocol::Json, br#"[1,"getJobs",9,4,{}]"#),
        (Protocol::Json, br#"[1,"getJobs",2,4,{}]"#),
        (Protocol::Binary, b""),
        (Protocol::Binary, &[0x80, 2, 0, 1, 0, 0, 0, 0]),
        (Protocol::Binary, b"POST / HTTP/1.1"),
    ];
    for (protocol, bytes) in cases {
        let error = decode_call(protocol, bytes, Limits::REQUEST).unwrap_err();
        assert!(matches!(error, CallError::Envelope(_)), "{error:?}");
        assert_eq!(error.encode_exception(protocol), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn noise_never_panics(bytes: Vec<u8>) {
        for protocol in [Protocol::Json, Protocol::Binary] {
            let _ = decode_value::<JobConfiguration>(protocol, &bytes, Limits::REQUEST);
            let _ = decode_value::<Response>(protocol, &bytes, Limits::REQUEST);
            let _ = decode_call(protocol, &bytes, Limits::REQUEST);
        }
        let _ = decode_plain::<Response>(&bytes, Limits::REQUEST);
    }

    #[test]
    fn a_damaged_call_never_panics(seed: u64, at: proptest::sample::Index, byte: u8) {
        let mut random = super::random::RandomReader::new(seed);
        for method in [Method::CreateJob, Method::StartJobUpdate, Method::GetTasksStatus] {
            let call = Call::read_arguments(method, &mut random).unwrap();
            for protocol in [Protocol::Json, Protocol::Binary] {
                let mut bytes = encode_call(protocol, 1, &call);
                let at = at.index(bytes.len());
                bytes[at] = byte;
                let _ = decode_call(protocol, &bytes, Limits::REQUEST);
            }
        }
    }
}
