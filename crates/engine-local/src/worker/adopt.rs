//! What an engine finds when it starts or gets a new launcher: runs on disk and supervisors that live.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use checkpoint::layout::RunDirectory;
use checkpoint::replay::RunState;
use engine::Event;
use model::TaskId;
use prost::Message;

use super::{Worker, monotonic_ms};
use crate::agents::{Agent, Holding};
use crate::collector::{Collector, Retention};
use crate::machine::Capacity;
use crate::tasks::{EngineData, Phase, Task, update};

impl Worker {
    /// The launcher has named every slot. The first time, what lies on disk is adopted and the scheduler told that the engine is
    /// there; after that, a launcher was replaced, and what it would have told is found on disk.
    pub(super) fn on_inventory_end(&mut self) {
        if !self.adopted {
            self.adopt();
            self.adopted = true;
            self.tell(Event::Registered { framework_id: None, master: None });
            let unacknowledged: Vec<_> = self
                .tasks
                .by_id
                .iter()
                .filter_map(|(task_id, task)| {
                    let status = task.last().filter(|_| task.waits_for_acknowledgement())?;
                    Some(update(task_id, &self.agents[task.agent].id, status))
                })
                .collect();
            for update in unacknowledged {
                self.tell(Event::Status(update));
            }
            return;
        }
        let out_of_reach: Vec<TaskId> = self
            .tasks
            .by_id
            .iter()
            .filter(|(_, task)| match &task.phase {
                Phase::Given(slot_id, _) | Phase::Begun(slot_id) => !self.channels.contains_key(slot_id),
                Phase::Awaited => true,
                Phase::Waiting(_) | Phase::Over => false,
            })
            .map(|(task_id, _)| task_id.clone())
            .collect();
        for task_id in out_of_reach {
            self.check_out_of_reach(&task_id);
        }
    }

    /// A task whose supervisor did not come along with the new launcher.
    fn check_out_of_reach(&mut self, task_id: &TaskId) {
        let Some(task) = self.tasks.by_id.get(task_id) else { return };
        let run = self.directory.run(&self.agents[task.agent].id, task_id.as_str());
        let alive = RunState::load(&run.checkpoint())
            .ok()
            .and_then(|state| state.header)
            .is_some_and(|header| supervisor_lives(header.supervisor_pid));
        if alive {
            // The launcher watches it and will tell of its end.
            self.reread(task_id);
            if let Some(task) = self.tasks.by_id.get_mut(task_id)
                && !task.is_over()
            {
                task.phase = Phase::Awaited;
            }
        } else {
            self.settle(task_id);
        }
    }

    fn adopt(&mut self) {
        let known: BTreeSet<String> =
            fs::read_to_string(self.directory.acknowledged()).unwrap_or_default().lines().map(str::to_owned).collect();
        let mut ended: Vec<(SystemTime, PathBuf)> = Vec::new();
        let mut still_there = Vec::new();
        for index in self.agents_on_disk() {
            let folder = self.directory.tasks(&self.agents[index].id);
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                if known.contains(&name) {
                    let time =
                        entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                    ended.push((time, entry.path()));
                    still_there.extend_from_slice(name.as_bytes());
                    still_there.push(b'\n');
                } else if !self.adopt_run(index, &name) {
                    ended.push((SystemTime::now(), entry.path()));
                }
            }
        }
        if let Err(error) = replace(&self.directory.acknowledged(), &still_there) {
            tracing::warn!("{}: {error}", self.directory.acknowledged().display());
        }
        let retention = Retention {
            age: self.options.retention_age,
            count: self.options.retention_count,
            free_percent: self.options.retention_free_percent,
        };
        match Collector::start(self.directory.root().to_owned(), retention, ended) {
            Ok(collector) => self.collector = Some(collector),
            Err(error) => tracing::warn!("old sandboxes are not removed: {error}"),
        }
        let running = self.tasks.by_id.values().filter(|task| !task.is_over()).count();
        if !self.tasks.by_id.is_empty() {
            tracing::info!("{running} running tasks and {} ended ones were adopted", self.tasks.by_id.len() - running);
        }
    }

    /// Leaves out the acknowledged tasks that have nothing on disk any more.
    pub(super) fn rewrite_acknowledged(&mut self) {
        self.acknowledged_bytes = 0;
        let path = self.directory.acknowledged();
        let Ok(text) = fs::read_to_string(&path) else { return };
        let mut on_disk = BTreeSet::new();
        for agent in &self.agents {
            let entries = fs::read_dir(self.directory.tasks(&agent.id)).into_iter().flatten().flatten();
            on_disk.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        let kept: String = text.split_inclusive('\n').filter(|line| on_disk.contains(line.trim_end())).collect();
        if let Err(error) = replace(&path, kept.as_bytes()) {
            tracing::warn!("{}: {error}", path.display());
        }
    }

    /// Indices of all agents that have a folder, those too that are not played any more: they offer nothing, and their tasks go on.
    fn agents_on_disk(&mut self) -> Vec<usize> {
        let names = fs::read_dir(self.directory.agents()).into_iter().flatten().flatten();
        for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
            if !self.agents.iter().any(|agent| agent.id == name) {
                let nothing = Capacity { resources: model::Resources::ZERO, ports: model::Ports::default() };
                let attributes = [("host".to_owned(), vec![name.clone()])].into();
                self.agents.push(Agent::new(name.clone(), name, attributes, nothing, self.epoch));
            }
        }
        (0..self.agents.len()).collect()
    }

    /// Adopts a run that is not acknowledged; false when there is nothing to adopt, because it never began.
    fn adopt_run(&mut self, index: usize, name: &str) -> bool {
        let task_id = TaskId(name.into());
        let run: RunDirectory = self.directory.run(&self.agents[index].id, name);
        let state = match RunState::load(&run.checkpoint()) {
            Ok(state) => state,
            Err(error) => {
                let detail = format!("its checkpoint in {} cannot be read: {error}", run.root().display());
                self.tell(Event::Stray { task_id, detail });
                return true;
            }
        };
        let Some(header) = &state.header else { return false };
        let holding =
            EngineData::decode(header.engine_data.as_slice()).map(|data| Holding::from(&data)).unwrap_or_default();
        let slot_id = header.slot_id;
        let phase = if self.channels.contains_key(&slot_id) { Phase::Begun(slot_id) } else { Phase::Awaited };
        let over = state.is_over();
        let mut task = Task::new(index, if over { Phase::Over } else { phase }, None);
        if !over {
            self.agents[index].hold_anyway(&holding);
            task.holding = Some(holding);
        }
        if let Some(last) = state.statuses.into_iter().next_back() {
            task.learn(last, monotonic_ms());
        }
        self.tasks.by_id.insert(task_id, task);
        true
    }
}

/// Whether the process exists. That it is still the supervisor is the launcher's to say.
fn supervisor_lives(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

fn replace(path: &std::path::Path, content: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(new, path)
}
