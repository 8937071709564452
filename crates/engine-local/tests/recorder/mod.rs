//! What an engine says, kept for tests to look at and to wait for.

use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use engine::{Event, EventSink, StatusUpdate};

#[derive(Default)]
pub struct Recorder {
    pub events: Mutex<Vec<Event>>,
    changed: Condvar,
}

impl EventSink for Recorder {
    fn send(&self, event: Event) -> bool {
        self.events.lock().unwrap().push(event);
        self.changed.notify_all();
        true
    }
}

impl Recorder {
    /// Waits until something is found among all events. In vain, the launcher of the state directory `root` is heard.
    pub fn wait<T>(
        &self,
        patience: Duration,
        root: &Path,
        what: &str,
        mut found: impl FnMut(&[Event]) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + patience;
        let mut events = self.events.lock().unwrap();
        loop {
            if let Some(found) = found(&events) {
                return found;
            }
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| {
                let log = std::fs::read_to_string(root.join("local/launcher.log")).unwrap_or_default();
                panic!("waited in vain for {what}; events: {events:#?}; launcher: {log}")
            });
            events = self.changed.wait_timeout(events, left).unwrap().0;
        }
    }
}

pub fn statuses_of(events: &[Event], task_id: &str) -> Vec<StatusUpdate> {
    let statuses =
        events.iter().filter_map(|event| if let Event::Status(status) = event { Some(status) } else { None });
    statuses.filter(|status| status.task_id.as_str() == task_id).cloned().collect()
}
