//! The messages both sides share (package `mesos.v1`, spec mesos 2.3 to 2.8), by the part they belong to. A message declared inside another
//! lives in a module of that one's name: `Offer.Operation.Launch` is [`offer::operation::Launch`].
//!
//! Enumeration fields are `i32` so that values of newer masters survive; `Enum::try_from(number)` tells known from unknown, and the
//! unknown ones take a branch of their own. Choices (`oneof`) are optional fields of which one is set: the same bytes.

mod containers;
pub mod executor;
mod identity;
pub mod operator;
mod resources;
pub mod scheduler;
mod status;
mod tasks;

pub use containers::*;
pub use identity::*;
pub use resources::*;
pub use status::*;
pub use tasks::*;
