//! What is written is read back the same, for every method and every result, in every protocol.

use proptest::prelude::*;

use super::random::RandomReader;
use crate::*;

const PROTOCOLS: [Protocol; 2] = [Protocol::Json, Protocol::Binary];

fn random<T: Read>(seed: u64) -> T {
    T::read(&mut RandomReader::new(seed)).expect("a random value")
}

fn random_call(method: Method, seed: u64) -> Call {
    Call::read_arguments(method, &mut RandomReader::new(seed)).expect("a random call")
}

proptest! {
    #[test]
    fn calls_survive_both_thrift_protocols(seed: u64, sequence_id: i32) {
        for &method in Method::ALL {
            let call = random_call(method, seed);
            for protocol in PROTOCOLS {
                let bytes = encode_call(protocol, sequence_id, &call);
                let message = decode_call(protocol, &bytes, Limits::REQUEST).expect("our own call");
                prop_assert_eq!(&message, &CallMessage { sequence_id, call: call.clone() });
            }
        }
    }

    #[test]
    fn calls_survive_plain_json_up_to_absent_primitives(seed: u64) {
        for &method in Method::ALL {
            let call = random_call(method, seed);
            let encode = |call: &Call| {
                let mut writer = PlainWriter::new();
                call.write_arguments(&mut writer);
                writer.into_buffer()
            };
            let bytes = encode(&call);
            serde_json::from_slice::<serde_json::Value>(&bytes).expect("valid JSON");
            let read = decode_plain_arguments(method, &bytes, Limits::REQUEST).expect("our own call");
            prop_assert_eq!(String::from_utf8(encode(&read)), String::from_utf8(bytes));
        }
    }

    #[test]
    fn replies_survive_both_thrift_protocols(seed: u64, sequence_id: i32) {
        let response: Response = random(seed);
        for protocol in PROTOCOLS {
            let bytes = encode_reply(protocol, Method::GetJobs, sequence_id, &response);
            if protocol == Protocol::Json {
                serde_json::from_slice::<serde_json::Value>(&bytes).expect("valid JSON");
            }
            let read = decode_reply(protocol, Method::GetJobs, sequence_id, &bytes, Limits::REPLY).expect("our own reply");
            prop_assert_eq!(&read, &response);
        }
    }

    #[test]
    fn every_result_survives(seed: u64) {
        let details: JobUpdateDetails = random(seed);
        let summary: JobSummary = random(seed);
        let lock: Lock = random(seed);
        let request: HostMaintenanceRequest = random(seed);
        for protocol in PROTOCOLS {
            prop_assert_eq!(&decode_value::<JobUpdateDetails>(protocol, &encode_value(protocol, &details), Limits::REPLY).unwrap(), &details);
            prop_assert_eq!(&decode_value::<JobSummary>(protocol, &encode_value(protocol, &summary), Limits::REPLY).unwrap(), &summary);
            prop_assert_eq!(&decode_value::<Lock>(protocol, &encode_value(protocol, &lock), Limits::REPLY).unwrap(), &lock);
            prop_assert_eq!(&decode_value::<HostMaintenanceRequest>(protocol, &encode_value(protocol, &request), Limits::REPLY).unwrap(), &request);
        }
    }

    #[test]
    fn executor_data_survives_byte_for_byte(data: String) {
        let config = ExecutorConfig { name: AURORA_EXECUTOR_NAME.to_owned(), data: Some(data) };
        for protocol in PROTOCOLS {
            let read: ExecutorConfig = decode_value(protocol, &encode_value(protocol, &config), Limits::REQUEST).unwrap();
            prop_assert_eq!(&read, &config);
        }
        let read: ExecutorConfig = decode_plain(&encode_plain(&config), Limits::REQUEST).unwrap();
        prop_assert_eq!(&read, &config);
    }

    #[test]
    fn a_reply_taken_in_pieces_is_the_same_reply(seed: u64, piece in 1usize..200) {
        let tasks: Vec<ScheduledTask> = (0..5).map(|offset| random(seed.wrapping_add(offset))).collect();
        fn pieces<W: Writer>(tasks: &Vec<ScheduledTask>, piece: usize) -> (Vec<u8>, Vec<u8>) {
            let mut whole = W::new();
            tasks.write(&mut whole);
            let mut writer = W::new();
            let mut joined = Vec::new();
            writer.list_begin(Kind::Struct, tasks.len());
            for task in tasks {
                if writer.buffer().len() >= piece {
                    joined.extend(writer.take_buffer(Vec::new()));
                }
                writer.element();
                task.write(&mut writer);
            }
            writer.list_end();
            joined.extend(writer.into_buffer());
            (joined, whole.into_buffer())
        }
        let (joined, whole) = pieces::<JsonWriter>(&tasks, piece);
        prop_assert_eq!(joined, whole);
        let (joined, whole) = pieces::<BinaryWriter>(&tasks, piece);
        prop_assert_eq!(joined, whole);
        let (joined, whole) = pieces::<PlainWriter>(&tasks, piece);
        prop_assert_eq!(joined, whole);
    }
}

#[test]
fn every_escape_is_read_in_every_spelling() {
    let spelled =
        br#""\" \\ \/ \b\f\n\r\t \u0041 \u00e9 \u00E9 \uD83E\uDD80 \ud83e\udd80 \u003c\u003e\u0026 \u2028 / \u0000""#;
    let text: String = decode_value(Protocol::Json, spelled, Limits::REQUEST).unwrap();
    assert_eq!(text, "\" \\ / \u{8}\u{c}\n\r\t A é é 🦀 🦀 <>& \u{2028} / \0");
    let text: String = decode_plain(spelled, Limits::REQUEST).unwrap();
    assert!(text.ends_with("/ \0"));
}

#[test]
fn an_escape_is_found_wherever_it_stands() {
    for length in 0..50 {
        for at in 0..length {
            for special in ["\"", "\\", "\n", "\u{1}", "<", "é"] {
                let mut text = "x".repeat(length);
                text.replace_range(at..at + 1, special);
                let json = encode_value(Protocol::Json, &text);
                assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
                let plain = encode_plain(&text);
                assert_eq!(serde_json::from_slice::<String>(&plain).unwrap(), text);
                assert!(!plain.contains(&b'<'));
            }
        }
    }
}

#[test]
fn control_characters_are_read_as_python_writes_them() {
    let written = "\"a\u{7}\nb\u{0}\u{1f}\"".as_bytes();
    let text: String = decode_value(Protocol::Json, written, Limits::REQUEST).unwrap();
    assert_eq!(text, "a\u{7}\nb\0\u{1f}");
}

#[test]
fn binary_values_are_base64_with_or_without_padding() {
    for (bytes, bare, padded) in [
        (&b""[..], "\"\"", "\"\""),
        (b"a", "\"YQ\"", "\"YQ==\""),
        (b"ab", "\"YWI\"", "\"YWI=\""),
        (b"abc", "\"YWJj\"", "\"YWJj\""),
        (b"\xff\xfe", "\"//4\"", "\"//4=\""),
    ] {
        let value = Binary(bytes.to_vec());
        assert_eq!(encode_value(Protocol::Json, &value), bare.as_bytes());
        for spelled in [bare, padded] {
            assert_eq!(decode_value::<Binary>(Protocol::Json, spelled.as_bytes(), Limits::REQUEST).unwrap(), value);
            assert_eq!(decode_plain::<Binary>(spelled.as_bytes(), Limits::REQUEST).unwrap(), value);
        }
        let binary = encode_value(Protocol::Binary, &value);
        assert_eq!(decode_value::<Binary>(Protocol::Binary, &binary, Limits::REQUEST).unwrap(), value);
    }
}
