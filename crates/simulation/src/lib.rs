//! Simulated clusters, disks and clocks that drive the node from a seed, and a simulated Mesos. Nothing production depends on it.

pub mod clock;
pub mod cluster;
pub mod mesos;
pub mod storage;
