//! The one loop without IO: core, release queue, recovery and snapshots, over ports.
//!
//! Inputs arrive in three bounded lanes ([`inbox`]). [`Node::turn`] lets the core decide about them, hands the records
//! to the [`storage`] as one group, and holds the effects back until that group is durable. Whatever was released is
//! therefore on disk, and whatever is not on disk was never told to anyone.
//!
//! Invariants kept here:
//!
//! - Effects leave in the order in which they were decided, each after its own group and every earlier one.
//! - A view is published only when it is durable, and before the effects that belong to it, so whoever got an answer
//!   finds it when reading.
//! - A reign steps nothing before the empty group that begins it is durable.
//! - After an error of the storage nothing is released any more.
//!
//! No threads, sockets, files or async live here; the `server` brings them.

mod core;
pub mod group;
pub mod inbox;
mod node;
mod ports;
mod release;
pub mod storage;

pub use node::{Node, Parts, Settings, Turn};
pub use ports::{Clock, Core, Entropy, Now, Outlet, Step};
