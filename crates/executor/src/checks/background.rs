//! Something that may block, done by a thread of its own, while the supervisor's loop goes on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::EventfdFlags;

/// Stack of such a thread: what is done there is small.
const STACK_BYTES: usize = 192 << 10;

/// Work under way; its result can be taken once the descriptor is readable. Dropped, the work goes on unheard until its own end.
#[derive(Debug)]
pub struct Background<T> {
    result: Arc<Mutex<Option<T>>>,
    done: Arc<OwnedFd>,
}

impl<T: Send + 'static> Background<T> {
    /// Starts the work. Fails when the machine has no thread or descriptor left.
    pub fn start(name: &str, work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<Self> {
        let result = Arc::new(Mutex::new(None));
        let done = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (their_result, their_done) = (Arc::clone(&result), Arc::clone(&done));
        std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let made = work();
            *their_result.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            let _ = rustix::io::write(&their_done, &1_u64.to_ne_bytes());
        })?;
        Ok(Self { result, done })
    }

    /// The result, once.
    pub fn take(&self) -> Option<T> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> AsFd for Background<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }
}
