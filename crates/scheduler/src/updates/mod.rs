//! Updates.
use crate::command::{Reply, ReplyCode, UpdateControl};
use crate::commands::{Checked, refuse};
use crate::input::Principal;
use crate::scheduler::Scheduler;
use model::{InstanceId, UpdateKey, update::UpdateRequest};

#[derive(Debug, Default)]
pub(crate) struct Updates {}

impl Scheduler {
    pub(crate) fn follow_changes(&mut self) {
        self.core.changes.clear();
    }
    pub(crate) fn prune_updates(&mut self) {}
    pub(crate) fn watch_ended(&mut self, _key: &UpdateKey, _instance: InstanceId) {}
    pub(crate) fn resume_updates(&mut self) {}
    pub(crate) fn start_update(&mut self, _: &Principal, _: UpdateRequest, _: Option<String>) -> Checked<Reply> {
        refuse(ReplyCode::Error, "Updates are not ready yet.")
    }
    pub(crate) fn control_update(
        &mut self,
        _: &Principal,
        _: &UpdateKey,
        _: UpdateControl,
        _: Option<String>,
    ) -> Checked<Reply> {
        refuse(ReplyCode::Error, "Updates are not ready yet.")
    }
    pub(crate) fn pulse_update(&mut self, _: &UpdateKey) -> Checked<Reply> {
        refuse(ReplyCode::Error, "Updates are not ready yet.")
    }
}
