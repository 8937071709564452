//! The daemon: the node plus threads, sockets, log and configuration. No scheduling rules, no HTML.

pub mod backups;
mod connections;
mod coordinator;
pub mod daemon;
pub mod endpoint;
mod engines;
pub mod executor_file;
pub mod guard;
pub mod host;
pub mod http;
pub mod job_files;
pub mod journal_tool;
mod leader;
pub mod logging;
mod mesos;
pub mod mesos_options;
pub mod options;
pub mod outgoing;
pub mod process_figures;
pub mod quit;
pub mod restore_tool;
pub mod sample;
pub mod security;
mod service_levels;
mod sla_figures;
#[cfg(test)]
mod test_support;
pub mod webhook;
pub mod zookeeper;

pub use backups::BackupOptions;
pub use mesos_options::{
    EngineOptions, ExecutorOptions, JobOptions, MesosOptions, OfferOptions, check_custom_executors_here,
};
pub use options::{LogFormat, Options};
pub use scheduler::Settings as CoreSettings;
pub use scheduler::sla::metrics::{MetricCategory, MetricSettings};
pub use security::SecurityOptions;
pub use service_levels::ServiceLevelOptions;
pub use sla_figures::SlaFigureOptions;
pub use zookeeper::{AnnounceOptions, TaskAnnounceOptions};
