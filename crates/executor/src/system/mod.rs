//! Thin, safe faces of the kernel calls that the standard library lacks. Nothing here knows tasks.
//!
//! This is the only place of the crate with unsafe code.
#![allow(unsafe_code)]

pub mod cgroup;
pub mod fork;
pub mod identity;
pub mod procfs;
pub mod shared;
pub mod signals;
pub mod spawn;
pub mod user;
pub mod wait;

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall time in milliseconds since the epoch.
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// Time since boot in milliseconds; never goes back.
pub fn monotonic_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Clock ticks since boot, the unit of process start times in `/proc/<pid>/stat`. A process started now has this value or one less or more.
pub fn boot_ticks() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second();
    now.tv_sec as u64 * per_second + now.tv_nsec as u64 * per_second / 1_000_000_000
}

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Takes a variable out of the environment, so that no child inherits it, and keeps other processes of this user from reading this one's
/// memory, where it still is. The caller has one thread.
pub fn hide_variable(name: &std::ffi::CStr) {
    // SAFETY: one thread, so nobody reads the environment meanwhile; the second call takes no pointer.
    unsafe {
        libc::unsetenv(name.as_ptr());
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}
