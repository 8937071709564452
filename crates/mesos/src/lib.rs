//! The Mesos v1 API as data: the messages of schedulers and executors ([`v1`]), the JSON form Mesos gives them ([`json`]) and the framing
//! of its event streams ([`recordio`]).
//!
//! The definitions are our own, from the tables of spec mesos 2; prost writes and reads them. No transport and no policy live here.

#[macro_use]
mod declare;
pub mod json;
pub mod recordio;
pub mod v1;

/// The media type of protobuf bodies; compared as a whole by Mesos, so never with a suffix (spec mesos 1.2).
pub const PROTOBUF: &str = "application/x-protobuf";
/// The media type of JSON bodies.
pub const JSON: &str = "application/json";
/// The header that names a subscription.
pub const STREAM_ID: &str = "mesos-stream-id";
/// Where a master takes a scheduler's calls.
pub const SCHEDULER_PATH: &str = "/api/v1/scheduler";
/// Where an agent takes an executor's calls.
pub const EXECUTOR_PATH: &str = "/api/v1/executor";
/// Nothing heard for that many heartbeats: the stream is dead (spec mesos 1.8).
pub const MISSED_HEARTBEATS: u32 = 5;
