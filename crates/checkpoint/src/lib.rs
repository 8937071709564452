//! What lies on an agent's disk and passes between engine and executor; read-only walkers. Starts no process.
//!
//! - [`layout`]: where the files of an engine, a run and a process lie.
//! - [`record`]: the records of a run's checkpoint, and their frames in the file.
//! - [`stream`]: appending to a checkpoint and reading it back, whole or as it grows.
//! - [`replay`]: the state of a run as its records tell it.
//! - [`disk`]: what a sandbox takes on the disk.
//! - [`thermos`]: checkpoints that the original runner wrote.
//! - [`files`]: logs and sandbox files for readers.
//! - [`protocol`]: the messages between engine, launcher and supervisors.
//! - [`channel`]: the sockets they travel on.

pub mod channel;
pub mod disk;
pub mod files;
pub mod layout;
pub mod protocol;
pub mod record;
pub mod replay;
pub mod stream;
pub mod thermos;
