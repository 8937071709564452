//! The one loop without IO: core, release queue, recovery and snapshots, over ports.
//!
//! No threads, sockets, files or async live here; the `server` brings them.

pub mod group;
pub mod storage;
