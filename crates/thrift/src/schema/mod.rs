//! Aurora's interface, declared once: every enum, struct, union and method (spec thrift-api part 2). Field numbers and names are Aurora's;
//! what a field means is said by the model it is converted to.

mod config;
mod enums;
mod reply;
mod service;
mod task;
pub mod thermos;
mod update;

pub use config::*;
pub use enums::*;
pub use reply::*;
pub use service::*;
pub use task::*;
pub use update::*;

/// The executor every Thermos job names.
pub const AURORA_EXECUTOR_NAME: &str = "AuroraExecutor";
/// The header with which a client asks a follower to answer itself.
pub const BYPASS_LEADER_REDIRECT_HEADER_NAME: &str = "Bypass-Leader-Redirect";
/// Where a task's own file system is mounted in its sandbox.
pub const TASK_FILESYSTEM_MOUNT_POINT: &str = "taskfs";
