//! Forking a whole process without executing: the launcher makes supervisors this way. Only sound in a process with one thread.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::spawn::{CLONE_INTO_CGROUP, CloneArguments};

/// Forks. The child runs `child` and exits with its result (101 if it panics); the parent gets its pid. With `cgroup` (a directory of
/// the unified hierarchy) the child is born in that control group.
///
/// The child is a copy of this process: it must close what it should not have. Nothing of the copy is run after `child`.
pub fn fork(cgroup: Option<BorrowedFd<'_>>, child: impl FnOnce() -> i32) -> io::Result<i32> {
    let mut arguments = CloneArguments { exit_signal: libc::SIGCHLD as u64, ..CloneArguments::default() };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    let result = if cgroup.is_some() {
        // SAFETY: without CLONE_VM and a stack this is a fork; the process has one thread, so the copy's memory is consistent.
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) }
    } else {
        // SAFETY: the process has one thread, so the copy's memory is consistent.
        libc::c_long::from(unsafe { libc::fork() })
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101)),
        pid => Ok(pid as i32),
    }
}

/// Ends this process without running destructors or handlers of the process it was forked from.
fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor from `first` up.
pub fn close_from(first: u32) {
    // SAFETY: callers have made sure that no owner of such a descriptor is used afterwards: right after a fork or an exec.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 {
        return;
    }
    // Kernels before 5.9, and filters of containers.
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number >= first as i32) {
        // SAFETY: as above. The one the folder was read through is closed already, which is no error that matters.
        unsafe { libc::close(number) };
    }
}

/// Makes `descriptor` available under the number `target`, which is closed first if in use; not inherited by programs that are executed.
pub fn duplicate_to(descriptor: BorrowedFd<'_>, target: i32) -> io::Result<()> {
    // SAFETY: plain system call; the owner of `target`, if any, is given up by the caller (right after a fork).
    let result = unsafe { libc::dup3(descriptor.as_raw_fd(), target, libc::O_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes ownership of descriptor number `number`.
///
/// It must be open and have no other owner: used for the numbers that [`duplicate_to`] just made.
pub fn adopt(number: i32) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: see above.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(number) }
}
