//! How far the instances of an update are, for drawing. What is recorded says most of it; what is known of an update that is
//! rolling says the rest: an instance that needed nothing has no event, and a failure has one only when it was the last.

use std::collections::{BTreeMap, BTreeSet};

use model::InstanceId;
use model::update::{InstanceConfig, InstanceUpdateEvent, Update, UpdateAction, UpdateStatus, from_ranges};
use scheduler::{InstanceProgress, InstanceStage, View};

use crate::words;

/// What is known of an instance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing<'a> {
    latest: Option<&'a InstanceUpdateEvent>,
    progress: Option<InstanceProgress>,
    /// Nothing is left to be done for it in the direction that the update has.
    pub done: bool,
}

/// Words, colour and mark of an instance.
pub struct Shown {
    /// For the title.
    pub words: String,
    /// Class.
    pub tone: &'static str,
    /// One character.
    pub mark: &'static str,
}

/// Everything that an update is about.
pub fn standings<'a>(view: &View, update: &'a Update) -> BTreeMap<InstanceId, Standing<'a>> {
    let progress = view.update_progress.get(&update.key);
    let named = update.desired.iter().chain(&update.initial).flat_map(|config| from_ranges(&config.instances));
    let mut standings: BTreeMap<InstanceId, Standing<'a>> = named.map(|id| (id, Standing::default())).collect();
    for event in &update.instance_events {
        standings.entry(event.instance).or_default().latest = Some(event);
    }
    for (instance, standing) in &mut standings {
        standing.progress = progress.and_then(|progress| progress.get(instance)).copied();
        standing.done = is_done(update, standing);
    }
    standings
}

/// Which way an update goes, or went when it ended.
fn is_forward(update: &Update) -> bool {
    use UpdateStatus::{RollBackAwaitingPulse, RollBackPaused, RolledBack, RollingBack};
    let back = |event: &model::update::UpdateEvent| {
        matches!(event.status, RollingBack | RollBackPaused | RollBackAwaitingPulse | RolledBack)
    };
    !update.events.iter().any(back)
}

fn is_done(update: &Update, standing: &Standing<'_>) -> bool {
    let action = standing.latest.map(|event| event.action);
    let has_failed = matches!(action, Some(UpdateAction::InstanceUpdateFailed | UpdateAction::InstanceRollbackFailed));
    let done = if is_forward(update) { UpdateAction::InstanceUpdated } else { UpdateAction::InstanceRolledBack };
    match update.status() {
        UpdateStatus::RolledForward | UpdateStatus::RolledBack => !has_failed,
        _ => action == Some(done) || standing.stage() == Some(InstanceStage::Succeeded),
    }
}

impl Standing<'_> {
    fn stage(&self) -> Option<InstanceStage> {
        self.progress.map(|known| known.stage)
    }

    /// For the grid.
    pub fn shown(&self, status: UpdateStatus) -> Shown {
        let action = self.latest.map(|event| event.action);
        let (text, tone, mark) = action_words(action);
        let (text, tone, mark) = match (action, status) {
            (None, _) if self.done => ("as it should be already", "done", "✓"),
            (Some(UpdateAction::InstanceUpdated), UpdateStatus::RollingBack) if !self.done => {
                ("updated, to be rolled back", "wait", "·")
            }
            _ if self.waits_for_policy() => ("waits until the SLA policy allows its kill", "wait", "·"),
            _ => (text, tone, mark),
        };
        let failures = self.progress.map_or(0, |known| known.failures.max(0) as u64);
        let words = match failures {
            0 => text.to_owned(),
            count => format!("{text}, {} so far", words::plural(count, "failure", "failures")),
        };
        Shown { words, tone, mark }
    }

    /// Its kill was asked for and not allowed yet.
    fn waits_for_policy(&self) -> bool {
        self.stage() == Some(InstanceStage::Working)
            && self.latest.is_some_and(|event| event.message.as_deref() == Some("checking SLA"))
    }
}

/// Words, colour and mark of what happened to an instance.
pub fn action_words(action: Option<UpdateAction>) -> (&'static str, &'static str, &'static str) {
    match action {
        None => ("waiting", "wait", "·"),
        Some(UpdateAction::InstanceUpdating) => ("updating", "move", "→"),
        Some(UpdateAction::InstanceUpdated) => ("updated", "done", "✓"),
        Some(UpdateAction::InstanceRollingBack) => ("rolling back", "flap", "←"),
        Some(UpdateAction::InstanceRolledBack) => ("rolled back", "flap", "↩"),
        Some(UpdateAction::InstanceUpdateFailed) => ("update failed", "bad", "✕"),
        Some(UpdateAction::InstanceRollbackFailed) => ("rollback failed", "bad", "✕"),
    }
}

fn ids<'a>(configs: impl IntoIterator<Item = &'a InstanceConfig>) -> BTreeSet<InstanceId> {
    configs.into_iter().flat_map(|config| from_ranges(&config.instances)).collect()
}

/// Which instances an update adds, changes and removes: `Adds 5–6, changes 0–4, removes 7.`
pub fn scope(update: &Update) -> String {
    let (before, after) = (ids(&update.initial), ids(&update.desired));
    let parts = [
        ("adds", after.difference(&before).copied().collect::<Vec<_>>()),
        ("changes", after.intersection(&before).copied().collect()),
        ("removes", before.difference(&after).copied().collect()),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, instances)| !instances.is_empty())
        .map(|(what, instances)| {
            let noun = if instances.len() == 1 { "instance" } else { "instances" };
            format!("{what} {noun} {}", words::ranges(instances))
        })
        .collect();
    let text = parts.join(", ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::update::{InstanceRange, UpdateEvent, UpdateSettings};
    use model::{JobKey, TaskConfig, UpdateKey};

    use super::*;

    fn update(status: UpdateStatus, instance_events: Vec<InstanceUpdateEvent>) -> Update {
        let job = JobKey::new("r", "devel", "j");
        let config = |first, last| InstanceConfig {
            task: TaskConfig::new(job.clone(), 1.0, 1, 1, "{}"),
            instances: vec![InstanceRange { first, last }],
        };
        Update {
            key: UpdateKey { job: job.clone(), id: "u".into() },
            user: "jane".into(),
            settings: UpdateSettings::default(),
            metadata: Default::default(),
            initial: vec![config(0, 3)],
            desired: Some(config(1, 5)),
            events: vec![UpdateEvent { status, timestamp_ms: 1, user: None, message: None }],
            instance_events,
        }
    }

    fn event(instance: InstanceId, action: UpdateAction, message: Option<&str>) -> InstanceUpdateEvent {
        InstanceUpdateEvent { instance, timestamp_ms: 2, action, message: message.map(str::to_owned) }
    }

    #[test]
    fn what_is_added_changed_and_removed() {
        let update = update(UpdateStatus::RollingForward, vec![]);
        assert_eq!(scope(&update), "Adds instances 4–5, changes instances 1–3, removes instance 0.");
    }

    #[test]
    fn instances_are_shown_as_they_stand_in_the_direction_of_the_update() {
        use UpdateAction::*;
        let events = vec![
            event(1, InstanceUpdating, None),
            event(1, InstanceUpdated, None),
            event(2, InstanceUpdating, Some("checking SLA")),
            event(3, InstanceUpdating, None),
        ];
        let forward = update(UpdateStatus::RollingForward, events.clone());
        let mut view = View::default();
        let known = |stage, failures| InstanceProgress { stage, failures, begun: false };
        let progress = [
            (0u32, known(InstanceStage::Succeeded, 0)),
            (2, known(InstanceStage::Working, 0)),
            (3, known(InstanceStage::Working, 2)),
        ];
        view.update_progress.insert(forward.key.clone(), progress.into_iter().collect());
        view.updates.insert(forward.key.clone(), Arc::new(forward.clone()));
        let words = |update: &Update| -> Vec<(String, bool)> {
            let standings = standings(&view, update);
            standings.values().map(|known| (known.shown(update.status()).words, known.done)).collect()
        };
        let owned = |text: &str, done| (text.to_owned(), done);
        assert_eq!(
            words(&forward),
            [
                owned("as it should be already", true),
                owned("updated", true),
                owned("waits until the SLA policy allows its kill", false),
                owned("updating, 2 failures so far", false),
                owned("waiting", false),
                owned("waiting", false),
            ]
        );
        let mut back = update(UpdateStatus::RollingBack, events);
        back.key.id = "other".into();
        assert_eq!(words(&back)[1], owned("updated, to be rolled back", false));
        // One that was stopped on its way is as far as it came.
        let mut stopped = back.clone();
        stopped.events[0].status = UpdateStatus::RollingForward;
        let end = UpdateEvent { status: UpdateStatus::Aborted, ..stopped.events[0].clone() };
        stopped.events.push(end);
        assert_eq!(words(&stopped)[1], owned("updated", true));
    }
}
