//! The REST API before a real core, without engine, journal or socket: every path, every refusal, hostile input. Every answer of every
//! test is held against the OpenAPI document.

mod changes;
mod document;
mod hostile;
mod house;
mod keys;
mod questions;
mod refusals;
