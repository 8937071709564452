//! Signals as descriptors: launcher and supervisors block what they want to hear and read it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The signals that launcher and supervisors keep from having their default effect.
const HEARD: [libc::c_int; 6] =
    [libc::SIGCHLD, libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// A descriptor that becomes readable when a blocked signal is pending.
#[derive(Debug)]
pub struct SignalSource {
    descriptor: OwnedFd,
}

impl SignalSource {
    /// Blocks the signals and opens the descriptor. Children must unblock them before they execute.
    pub fn open() -> io::Result<Self> {
        // SAFETY: the set is initialised by sigemptyset; the descriptor is checked before it is owned.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in HEARD {
                libc::sigaddset(&mut set, signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) < 0 {
                return Err(io::Error::last_os_error());
            }
            let descriptor = libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { descriptor: OwnedFd::from_raw_fd(descriptor) })
        }
    }

    /// Takes all pending signals; returns whether any was another than SIGCHLD.
    pub fn drain(&self) -> bool {
        let mut other = false;
        self.drain_each(|signal| other |= signal != libc::SIGCHLD);
        other
    }

    /// Takes all pending signals and names each.
    pub fn drain_each(&self, mut heard: impl FnMut(libc::c_int)) {
        loop {
            const INFO_BYTES: usize = size_of::<libc::signalfd_siginfo>();
            // One more than there are signals that are heard: a full buffer means that more came meanwhile.
            let mut buffer = [0_u8; INFO_BYTES * (HEARD.len() + 1)];
            // SAFETY: the buffer has the length that is passed.
            let read = unsafe { libc::read(self.descriptor.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            let infos = buffer[..usize::try_from(read).unwrap_or(0)].chunks_exact(INFO_BYTES);
            // The number is the first field.
            infos.for_each(|info| heard(i32::from_ne_bytes([info[0], info[1], info[2], info[3]])));
            if read < buffer.len() as isize {
                return;
            }
        }
    }
}

impl AsFd for SignalSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Gives every signal its default effect back: children inherit what is ignored, be it SIGPIPE, which the runtime ignores, or SIGINT and
/// SIGHUP, when this program was started in the background. Sockets must be written to with MSG_NOSIGNAL afterwards.
pub fn restore_default_effects() {
    for signal in 1..=31 {
        // SAFETY: sets a default disposition; for the two signals that have no other the call fails, and nothing is lost.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Ends this process as `signal` does by default. Should the signal be ignored by the kernel, as for the first process of a container, it
/// goes on.
pub fn end_by(signal: i32) {
    // SAFETY: sets a default disposition, unblocks one signal for this thread and sends it to this process.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::signal(signal, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::raise(signal);
    }
}
