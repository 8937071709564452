//! The stored messages of kept answers, and how they are read and written.

#![allow(missing_docs)] // The fields say what the fields of the types of the same names say.

use model::MaintenanceMode;
use prost::Message;

use super::convert::{Reason, update_key_bytes, update_key_of};
use crate::idempotency::{AnswerKey, KeptAnswer, KeptOutcome};

/// A host and its mode by number, as in the table of hosts.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HostModeMessage {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(int32, tag = "2")]
    pub mode: i32,
}

/// Several of them.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HostModesMessage {
    #[prost(message, repeated, tag = "1")]
    pub hosts: Vec<HostModeMessage>,
}

/// What came of a change, if more than that it was made.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum OutcomeMessage {
    #[prost(uint32, tag = "5")]
    Tasks(u32),
    /// As the key of the update's own record.
    #[prost(bytes, tag = "6")]
    Update(Vec<u8>),
    #[prost(message, tag = "7")]
    Hosts(HostModesMessage),
    /// Whether the update was active.
    #[prost(bool, tag = "8")]
    Pulse(bool),
}

/// Value of the table of answers; its key is the key that the client gave, a zero byte, and the name of the principal.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnswerMessage {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub fingerprint: Vec<u8>,
    #[prost(sint64, tag = "3")]
    pub answered_ms: i64,
    #[prost(string, repeated, tag = "4")]
    pub messages: Vec<String>,
    #[prost(oneof = "OutcomeMessage", tags = "5, 6, 7, 8")]
    pub outcome: Option<OutcomeMessage>,
}

pub(crate) fn answer_message(kept: &KeptAnswer) -> AnswerMessage {
    let outcome = match &kept.outcome {
        KeptOutcome::None => None,
        KeptOutcome::Tasks(count) => Some(OutcomeMessage::Tasks(*count)),
        KeptOutcome::Update(key) => Some(OutcomeMessage::Update(update_key_bytes(key))),
        KeptOutcome::Hosts(hosts) => {
            let message =
                |(host, mode): &(String, MaintenanceMode)| HostModeMessage { host: host.clone(), mode: *mode as i32 };
            Some(OutcomeMessage::Hosts(HostModesMessage { hosts: hosts.iter().map(message).collect() }))
        }
        KeptOutcome::Pulse { active } => Some(OutcomeMessage::Pulse(*active)),
    };
    AnswerMessage {
        number: kept.number,
        fingerprint: kept.fingerprint.to_vec(),
        answered_ms: kept.answered_ms,
        messages: kept.messages.clone(),
        outcome,
    }
}

/// Reads the value of a record.
pub(crate) fn answer_of(value: &[u8]) -> Result<KeptAnswer, Reason> {
    let message = AnswerMessage::decode(value).map_err(|error| error.to_string())?;
    let outcome = match message.outcome {
        None => KeptOutcome::None,
        Some(OutcomeMessage::Tasks(count)) => KeptOutcome::Tasks(count),
        Some(OutcomeMessage::Update(bytes)) => {
            KeptOutcome::Update(Box::new(update_key_of(&bytes).ok_or("the key of an update is malformed")?))
        }
        Some(OutcomeMessage::Hosts(message)) => {
            let mode_of = |entry: HostModeMessage| {
                let mode = MaintenanceMode::from_id(entry.mode);
                Ok((entry.host, mode.ok_or_else(|| format!("maintenance mode {} is unknown", entry.mode))?))
            };
            KeptOutcome::Hosts(message.hosts.into_iter().map(mode_of).collect::<Result<_, Reason>>()?)
        }
        Some(OutcomeMessage::Pulse(active)) => KeptOutcome::Pulse { active },
    };
    let length = message.fingerprint.len();
    let fingerprint = message.fingerprint.try_into();
    Ok(KeptAnswer {
        number: message.number,
        fingerprint: fingerprint.map_err(|_| format!("a fingerprint has {length} bytes"))?,
        answered_ms: message.answered_ms,
        messages: message.messages,
        outcome,
    })
}

/// Key of a kept answer's record; a client's key holds no zero byte.
pub(crate) fn answer_key_bytes(key: &AnswerKey) -> Vec<u8> {
    let mut bytes = key.key.as_str().as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(key.principal.as_bytes());
    bytes
}

/// Reads the key of a kept answer's record.
pub(crate) fn answer_key_of(bytes: &[u8]) -> Option<AnswerKey> {
    let (key, principal) = std::str::from_utf8(bytes).ok()?.split_once('\0')?;
    Some(AnswerKey { principal: principal.into(), key: key.parse().ok()? })
}
