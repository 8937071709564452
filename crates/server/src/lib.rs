//! The daemon: the node plus threads, sockets, log and configuration. No scheduling rules, no HTML.

mod coordinator;
pub mod daemon;
pub mod endpoint;
mod engines;
pub mod executor_file;
pub mod guard;
pub mod host;
pub mod http;
pub mod journal_tool;
pub mod logging;
mod mesos;
pub mod mesos_options;
pub mod options;
pub mod sample;
pub mod zookeeper;

pub use mesos_options::{
    EngineOptions, ExecutorOptions, JobOptions, MesosOptions, OfferOptions, check_custom_executors_here,
};
pub use options::{LogFormat, Options};
pub use zookeeper::{AnnounceOptions, TaskAnnounceOptions};
