//! The daemon: the node plus threads, sockets, log and configuration. No scheduling rules, no HTML.

pub mod daemon;
pub mod endpoint;
pub mod guard;
pub mod host;
pub mod http;
pub mod journal_tool;
pub mod logging;
pub mod options;
pub mod sample;

pub use options::{LogFormat, Options};
