//! Adapters for programs: the Thrift endpoint, the REST API, task files and statistics. Thin translations that never decide.
//!
//! [`router`] serves `/api` (Thrift JSON and binary), `/apibeta/{method}` (plain JSON), `/api/v1` ([`rest`]), `/apihelp`, `/vars`, `/vars.json`,
//! `/metrics` and `/health`; [`files::router`] the files of tasks. Whoever mounts them guards Host and Origin and authenticates: the name of an
//! authenticated caller arrives as a request extension of type [`scheduler::Principal`].

pub mod access;
pub mod admin;
pub mod answer;
pub mod change;
mod consumption;
pub mod endpoint;
mod explanation;
pub mod files;
pub mod forecast;
pub mod idempotency;
pub mod inspection;
pub mod maintenance;
pub mod negotiation;
pub mod operations;
pub mod read;
pub mod rest;
#[cfg(test)]
mod samples;
pub mod statistics;
pub mod streamed;
#[cfg(test)]
mod tests;

pub use endpoint::{ApiSettings, ApiState, router};
pub use operations::Operations;
pub use statistics::Gauges;
