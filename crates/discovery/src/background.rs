//! A thread with a small runtime of its own for one handle. What it does is decided elsewhere.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Told to a task when its handle goes.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until the handle is told to stop or is gone.
    pub(crate) async fn wait(&mut self) {
        // An error means that the handle is gone.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// The thread of a handle. Dropped, it is told to stop and not waited for.
#[derive(Debug)]
pub(crate) struct Background {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread; it ends when its task does.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &str,
        task: impl FnOnce(Stop) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = runtime()?;
        let (stop, stopped) = watch::channel(false);
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(task(Stop(stopped))))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Tells the task to stop and waits for its end, at most this long; false if that was too short.
    pub(crate) fn stop(&mut self, limit: Duration) -> bool {
        self.stop.send_replace(true);
        let Some(thread) = self.thread.take() else { return true };
        let deadline = Instant::now() + limit;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        thread.join().is_ok()
    }
}

/// A runtime of one thread. The ZooKeeper client has its own reactor, so that only timers are needed.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()
}
