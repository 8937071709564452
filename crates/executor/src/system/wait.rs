//! Waiting for children without losing what they leave behind.

use std::io;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its pid.
    pub pid: i32,
    /// Exit status, or minus the number of the signal that ended it.
    pub return_code: i32,
    /// Processor time in user mode, microseconds, of it and the children it waited for.
    pub user_time_us: u64,
    /// The same in kernel mode.
    pub system_time_us: u64,
    /// Largest resident size, bytes.
    pub resident_bytes_max: u64,
}

/// The result of looking for ended children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// One has ended.
    Ended(Exit),
    /// There are children; none has ended.
    NoneEnded,
    /// There are no children at all.
    NoChildren,
}

/// Looks for any ended child; it stays a zombie, so that looking again finds it.
pub fn peek_any() -> Look {
    look(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// Looks whether the child `pid` has ended; it stays a zombie. Not a child: [`Look::NoChildren`].
pub fn peek(pid: i32) -> Look {
    look(libc::P_PID, pid as u32, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// Waits for the child `pid` to end and lets it go.
pub fn reap(pid: i32) -> Look {
    look(libc::P_PID, pid as u32, libc::WEXITED)
}

fn look(kind: libc::idtype_t, id: u32, options: libc::c_int) -> Look {
    loop {
        // SAFETY: zeroed is a valid value of both plain structures, and the kernel fills them in.
        let (result, info, usage) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let mut usage: libc::rusage = std::mem::zeroed();
            let result = libc::syscall(libc::SYS_waitid, kind, id, &raw mut info, options, &raw mut usage);
            (result, info, usage)
        };
        if result < 0 {
            if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Look::NoChildren;
        }
        // SAFETY: the kernel filled in the SIGCHLD member of the union (or left zeroes).
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Look::NoneEnded;
        }
        return Look::Ended(Exit {
            pid,
            return_code: if info.si_code == libc::CLD_EXITED { status } else { -status },
            user_time_us: microseconds(usage.ru_utime),
            system_time_us: microseconds(usage.ru_stime),
            resident_bytes_max: usage.ru_maxrss as u64 * 1024,
        });
    }
}

fn microseconds(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64
}

/// Makes this process the parent of every descendant whose parent ends.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: plain system call.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal to one process. A process that is gone, or not ours to signal, is no error.
pub fn signal(pid: i32, signal: i32) {
    if pid > 0 {
        // SAFETY: plain system call.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Sends a signal to a process group.
pub fn signal_group(group: i32, signal: i32) {
    if group > 1 {
        // SAFETY: plain system call.
        unsafe { libc::kill(-group, signal) };
    }
}
