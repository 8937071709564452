//! Sets of servers: nodes below a path, one for each member, that vanish with whoever made them (spec executor 2.10, thrift-api 1.6).

mod announce;
mod follow;

pub use announce::{Announcement, AnnouncementState};
pub use follow::{ReadError, ServerSet, ServerSetWatch, read, read_members};
