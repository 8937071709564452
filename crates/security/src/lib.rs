//! Who callers are and what they may do (spec scheduler 7.5): users, roles and permissions from a file in the shape of Apache Shiro.
//!
//! - [`ini`]: the file.
//! - [`password`]: what stands there for a password, and whether one matches.
//! - [`grant`]: permissions in wildcard form.
//! - [`realm`]: all of it together, read again when the file changes; the gateway's [`gateway::Authorizer`].
//!
//! No sockets and no HTTP: whoever listens takes name and password out of a request.

pub mod grant;
pub mod ini;
pub mod password;
pub mod realm;

pub use ini::IniError;
pub use realm::{Realm, Verdict};
