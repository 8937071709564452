//! The decoders of the API.

use thrift::{
    Call, CallMessage, JobConfiguration, Limits, Method, Protocol, Read, Response, Write, decode_call, decode_plain,
    decode_plain_arguments, decode_reply, decode_value, encode_call, encode_plain, encode_value,
};

/// What could be read says the same when it is written and read again, in this protocol and in the other.
pub fn thrift(protocol: Protocol, data: &[u8]) {
    match decode_call(protocol, data, Limits::REQUEST) {
        Ok(CallMessage { sequence_id, call }) => {
            for protocol in [Protocol::Binary, Protocol::Json] {
                again(protocol, sequence_id, &call);
            }
        }
        Err(error) => {
            let _ = (error.to_string(), error.encode_exception(protocol));
        }
    }
    let _ = decode_reply(protocol, Method::GetTasksStatus, 1, data, Limits::REPLY);
    value::<JobConfiguration>(protocol, data);
    value::<Response>(protocol, data);
}

fn again(protocol: Protocol, sequence_id: i32, call: &Call) {
    let written = encode_call(protocol, sequence_id, call);
    let read = decode_call(protocol, &written, Limits::REPLY).expect("what was written can be read");
    assert_eq!(read.sequence_id, sequence_id);
    // Bytes and not values: a number that is none equals nothing, itself neither.
    assert_eq!(encode_call(protocol, sequence_id, &read.call), written);
}

fn value<T: Read + Write>(protocol: Protocol, data: &[u8]) {
    if let Ok(value) = decode_value::<T>(protocol, data, Limits::REQUEST) {
        let written = encode_value(protocol, &value);
        let read = decode_value::<T>(protocol, &written, Limits::REPLY).expect("what was written can be read");
        assert_eq!(encode_value(protocol, &read), written);
    }
}

/// The same for `/apibeta`. The first byte chooses the method.
pub fn plain(data: &[u8]) {
    let Some((&method, body)) = data.split_first() else { return };
    let method = Method::ALL[usize::from(method) % Method::ALL.len()];
    match decode_plain_arguments(method, body, Limits::REQUEST) {
        Ok(call) => {
            assert_eq!(call.method(), method);
            again(Protocol::Binary, 1, &call);
        }
        Err(error) => drop(error.to_string()),
    }
    if let Ok(value) = decode_plain::<Response>(body, Limits::REQUEST) {
        let written = encode_plain(&value);
        let read = decode_plain::<Response>(&written, Limits::REPLY).expect("what was written can be read");
        assert_eq!(encode_plain(&read), written);
    }
}
