//! Simulated clusters, disks and clocks that drive the node from a seed. Nothing production depends on it.

pub mod clock;
pub mod cluster;
pub mod storage;
