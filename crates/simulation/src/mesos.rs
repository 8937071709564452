//! A simulated Mesos: masters, agents and executors, complete enough for a framework not to see the difference (spec mesos 9), and able to
//! go wrong on demand.
//!
//! - [`cluster::Cluster`]: all of it without threads, sockets or clocks. Calls and the time go in, events come out; a seed repeats a run.
//! - [`server`]: the same behind HTTP on loopback, at a scaled clock.
//! - [`script`]: what simulated tasks do. [`faults`]: what happens to messages between masters and agents.
//!
//! Not simulated: persistent volumes, shared resources, resource providers, quota, and agents' isolation of anything.

mod agent;
pub mod cluster;
pub mod faults;
pub mod history;
mod master;
mod messages;
mod operator;
mod process_port;
mod protocol;
pub mod resources;
pub mod script;
pub mod server;
pub mod settings;
pub mod wire;

pub use agent::Phase;
pub use cluster::{Answer, Cluster, Output};
pub use master::Counters;
pub use messages::attributes;
pub use protocol::AgentDescription;
pub use resources::Resources;
pub use script::Script;
pub use settings::Settings;
