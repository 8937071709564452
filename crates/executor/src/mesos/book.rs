//! Tasks and updates that the agent has not stored yet. A new subscription tells them again (spec mesos 3.10), and the executor ends only
//! when nothing is left here.

use mesos::v1::TaskInfo;
use mesos::v1::executor::call::{Subscribe, Update};

/// The book.
#[derive(Debug, Default)]
pub(super) struct Book {
    tasks: Vec<TaskInfo>,
    updates: Vec<Update>,
}

impl Book {
    /// A task was delivered; it stays until one of its updates is stored.
    pub(super) fn add_task(&mut self, task: TaskInfo) {
        self.tasks.push(task);
    }

    /// An update was made.
    pub(super) fn add_update(&mut self, update: Update) {
        self.updates.push(update);
    }

    /// The agent has stored an update. Unknown ones change nothing.
    pub(super) fn acknowledge(&mut self, task_id: &str, uuid: &[u8]) {
        let before = self.updates.len();
        self.updates
            .retain(|update| update.status.task_id.value != task_id || update.status.uuid.as_deref() != Some(uuid));
        if self.updates.len() < before {
            self.tasks.retain(|task| task.task_id.value != task_id);
        }
    }

    /// Whether this update is still to be stored.
    pub(super) fn waits_for(&self, uuid: &[u8]) -> bool {
        self.updates.iter().any(|update| update.status.uuid.as_deref() == Some(uuid))
    }

    /// Whether every update was stored.
    pub(super) fn is_settled(&self) -> bool {
        self.updates.is_empty()
    }

    /// What a new subscription says.
    pub(super) fn subscribe(&self) -> Subscribe {
        Subscribe { unacknowledged_tasks: self.tasks.clone(), unacknowledged_updates: self.updates.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos::v1::{TaskId, TaskStatus};

    fn update(task: &str, uuid: u8) -> Update {
        let status = TaskStatus {
            task_id: TaskId { value: task.into() },
            uuid: Some(vec![uuid; 16].into()),
            ..TaskStatus::default()
        };
        Update { status }
    }

    #[test]
    fn a_task_goes_with_its_first_stored_update_and_each_update_with_its_own() {
        let mut book = Book::default();
        book.add_task(TaskInfo { task_id: TaskId { value: "a".into() }, ..TaskInfo::default() });
        book.add_update(update("a", 1));
        book.add_update(update("a", 2));
        book.add_update(update("b", 3));
        // Not known: another uuid, and another task's.
        book.acknowledge("a", &[9; 16]);
        book.acknowledge("b", &[1; 16]);
        assert_eq!(
            (book.subscribe().unacknowledged_tasks.len(), book.subscribe().unacknowledged_updates.len()),
            (1, 3)
        );
        book.acknowledge("a", &[2; 16]);
        let told = book.subscribe();
        assert_eq!(told.unacknowledged_tasks, []);
        assert_eq!(told.unacknowledged_updates, [update("a", 1), update("b", 3)]);
        assert!(book.waits_for(&[1; 16]) && !book.waits_for(&[2; 16]) && !book.is_settled());
        book.acknowledge("a", &[1; 16]);
        book.acknowledge("b", &[3; 16]);
        assert!(book.is_settled());
    }
}
