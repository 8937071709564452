//! The launcher's slots: making supervisors, handing them to the engine, and noticing their end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use checkpoint::protocol::{
    Attach, FromLauncherBody, FromLauncherToSlot, FromLauncherToSlotBody, Rejoin, SlotEnded, SlotReady,
    SlotSpecification, ToLauncher, ToLauncherBody,
};
use rustix::event::epoll;

use super::{ATTACH_MS_MAX, Launcher, SPARES, Source, log};
use crate::aftermath::{self, Endings};
use crate::supervisor::{self, Birth, Parent};
use crate::system::cgroup::{self, SlotCgroup};
use crate::system::shared::SharedNote;
use crate::system::wait::Look;
use crate::system::{fork, monotonic_ms, procfs, wait};
use checkpoint::channel::Channel;

/// How long killed strays may take to disappear before a run is completed without them, milliseconds. Only a process that the kernel
/// itself holds takes longer than an instant.
const STRAYS_MS_MAX: u64 = 10_000;

/// How long containers of a dead supervisor's task may take to be removed before its run is completed all the same, milliseconds.
const SWEEP_MS_MAX: u64 = 30_000;

/// Pause after a spare could not be made or died unused, milliseconds.
const SPARE_PAUSE_MS: u64 = 1_000;

/// A supervisor and what the launcher knows of it.
pub(super) struct Slot {
    pub(super) pid: i32,
    start_ticks: u64,
    control: Channel,
    control_token: u64,
    /// What the supervisor is doing; `None` for one that a former launcher forked.
    note: Option<SharedNote>,
    /// `None` for one that a former launcher forked; then only the paths are known.
    cgroup: Option<SlotCgroup>,
    cgroup_paths: Vec<String>,
    /// What it is for; `None` for a spare.
    pub(super) specification: Option<SlotSpecification>,
    /// The engine's end of the task channel, until the supervisor has turned to it.
    pub(super) engine_end: Option<OwnedFd>,
    pub(super) attach_deadline_ms: Option<u64>,
    /// Its last word about its run directory, for one that a former launcher forked.
    run_directory: String,
    aftermath: Option<Aftermath>,
}

/// What is left to do after the death of a supervisor.
struct Aftermath {
    run_directory: String,
    endings: Endings,
    deadline_ms: u64,
    /// The helper that removes the task's containers, and when it is given up.
    sweeping: Option<(i32, u64)>,
}

impl Slot {
    pub(super) fn is_spare(&self) -> bool {
        self.specification.is_none() && self.aftermath.is_none()
    }

    pub(super) fn is_used(&self) -> bool {
        self.specification.is_some() && self.aftermath.is_none()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.aftermath.is_some()
    }

    pub(super) fn is_attaching(&self) -> bool {
        self.attach_deadline_ms.is_some() && self.aftermath.is_none()
    }
}

impl Launcher {
    /// Whether there are too few supervisors in advance, and an engine may want one.
    pub(super) fn wants_spare(&self) -> bool {
        let spares = self.slots.values().filter(|slot| slot.is_spare()).count();
        self.engine.is_some() && !self.shutting_down && spares < SPARES && monotonic_ms() >= self.no_spares_before_ms
    }

    /// Makes one supervisor in advance.
    pub(super) fn replenish_spares(&mut self) {
        if !self.wants_spare() {
            return;
        }
        if let Err(error) = self.fork_supervisor() {
            log(&format!("no spare supervisor: {error}"));
            self.no_spares_before_ms = monotonic_ms() + SPARE_PAUSE_MS;
        }
    }

    /// Forks a supervisor into groups of its own; returns its key.
    fn fork_supervisor(&mut self) -> io::Result<u64> {
        let key = self.next_slot_key;
        self.next_slot_key += 1;
        let own_pid = rustix::process::getpid().as_raw_nonzero();
        let group = self.cgroups.create_slot(&format!("slot-{own_pid}-{key}"))?;
        let result = self.fork_into(key, &group);
        if result.is_err() {
            group.remove();
        }
        result
    }

    fn fork_into(&mut self, key: u64, group: &SlotCgroup) -> io::Result<u64> {
        let note = SharedNote::new()?;
        let (control, far) = Channel::pair()?;
        let control_token = self.register(&control, Source::Control(key))?;
        let directory = group.supervisor_directory();
        let birth = |control| {
            let entered = group.enter_inherited();
            entered.map_err(|error| io::Error::other(format!("cannot enter its control groups: {error}")))?;
            let (group, parent) = (group.clone(), Parent::Launcher(self.directory.clone()));
            Ok(Birth { control, group, note: &note, parent, root: self.root, open_files_soft: self.open_files_soft })
        };
        let born = fork::fork(directory.as_ref().map(AsFd::as_fd), || supervisor::become_supervisor(&far, birth));
        let pid = match born {
            Ok(pid) => pid,
            Err(error) => {
                self.sources.remove(&control_token);
                return Err(error);
            }
        };
        let slot = Slot {
            pid,
            start_ticks: procfs::stat(pid).map_or(0, |stat| stat.start_ticks),
            control,
            control_token,
            note: Some(note),
            cgroup_paths: group.paths(),
            cgroup: Some(group.clone()),
            specification: None,
            engine_end: None,
            attach_deadline_ms: None,
            run_directory: String::new(),
            aftermath: None,
        };
        self.slots.insert(key, slot);
        Ok(key)
    }

    /// The engine wants a slot.
    pub(super) fn create_slot(&mut self, specification: SlotSpecification) {
        let slot_id = specification.slot_id;
        if self.slots.values().any(|slot| slot.specification.as_ref().is_some_and(|known| known.slot_id == slot_id)) {
            return;
        }
        let spare = self.slots.iter().find(|(_, slot)| slot.is_spare()).map(|(key, _)| *key);
        let key = match spare.map_or_else(|| self.fork_supervisor(), Ok) {
            Ok(key) => key,
            Err(error) => return self.tell_slot_failed(slot_id, format!("cannot make a supervisor: {error}")),
        };
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let limits = slot.cgroup.as_ref().map(|group| {
            group.set_limits(specification.memory_limit_bytes, specification.cpu_milli, specification.cpu_quota)
        });
        if let Some(Err(error)) = limits {
            return self.tell_slot_failed(slot_id, format!("cannot set its limits: {error}"));
        }
        let (near, far) = match Channel::pair().and_then(|(near, far)| Ok((near.as_fd().try_clone_to_owned()?, far))) {
            Ok(ends) => ends,
            Err(error) => return self.tell_slot_failed(slot_id, format!("cannot make a channel: {error}")),
        };
        slot.specification = Some(specification.clone());
        let attach = Attach { epoch: self.epoch, specification: Some(specification.clone()) };
        slot.control.send(&FromLauncherToSlot { body: Some(FromLauncherToSlotBody::Attach(attach)) }, Some(far));
        let (pid, token) = (slot.pid, slot.control_token);
        self.update_interest(token, &self.slots[&key].control);
        // Nobody else has ever had a channel to this supervisor, so the engine need not wait for its answer.
        let ready = SlotReady { specification: Some(specification), pid, run_directory: String::new() };
        self.tell_engine(FromLauncherBody::SlotReady(ready), Some(near));
    }

    /// Has a supervisor turn to the present engine.
    pub(super) fn attach_slot(&mut self, key: u64) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let ends = Channel::pair().and_then(|(near, far)| Ok((near.as_fd().try_clone_to_owned()?, far)));
        let (near, far) = match ends {
            Ok(ends) => ends,
            Err(error) => {
                log(&format!("no channel for supervisor {}: {error}", slot.pid));
                return;
            }
        };
        let attach = Attach { epoch: self.epoch, specification: slot.specification.clone() };
        slot.engine_end = Some(near);
        slot.attach_deadline_ms = Some(monotonic_ms() + ATTACH_MS_MAX);
        slot.control.send(&FromLauncherToSlot { body: Some(FromLauncherToSlotBody::Attach(attach)) }, Some(far));
        let token = slot.control_token;
        self.update_interest(token, &self.slots[&key].control);
    }

    /// A supervisor of a former launcher presents itself.
    pub(super) fn adopt_slot(&mut self, rejoin: Rejoin, control: Channel) {
        let Some(specification) = rejoin.specification else { return };
        let pidfd = rustix::process::Pid::from_raw(rejoin.pid)
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()));
        let Ok(pidfd) = pidfd else { return };
        log(&format!("supervisor {} of a former launcher is adopted", rejoin.pid));
        let key = self.next_slot_key;
        self.next_slot_key += 1;
        let Ok(control_token) = self.register(&control, Source::Control(key)) else { return };
        let Ok(end_token) = self.register(&pidfd, Source::SlotEnd(key)) else { return };
        self.keep_until_end(end_token, pidfd, &rejoin.run_directory);
        self.slots.insert(
            key,
            Slot {
                pid: rejoin.pid,
                start_ticks: rejoin.start_ticks,
                control,
                control_token,
                note: None,
                cgroup: None,
                cgroup_paths: rejoin.cgroups,
                specification: Some(specification),
                engine_end: None,
                attach_deadline_ms: None,
                run_directory: rejoin.run_directory,
                aftermath: None,
            },
        );
        if self.engine.is_some() {
            self.attach_slot(key);
        }
    }

    pub(super) fn on_control(&mut self, key: u64) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        slot.control.flush();
        slot.control.receive();
        let mut answers = Vec::new();
        while let Ok(Some(message)) = slot.control.next_message::<ToLauncher>() {
            if let Some(ToLauncherBody::Attached(attached)) = message.body {
                slot.run_directory.clone_from(&attached.run_directory);
                answers.push(attached);
            }
        }
        let token = slot.control_token;
        if slot.control.is_ended() {
            // The supervisor is about to end; its end itself is heard of elsewhere.
            let _ = epoll::delete(&self.epoll, &slot.control);
            self.sources.remove(&token);
        } else {
            self.update_interest(token, &self.slots[&key].control);
        }
        for attached in answers {
            self.on_attached(key, &attached);
        }
    }

    /// Children have ended: supervisors, or strays of dead supervisors that were passed on to this process.
    pub(super) fn on_children(&mut self) {
        // First look at all, so that what ended by itself is known before anything is killed.
        let mut ended = Vec::new();
        while let Look::Ended(exit) = wait::peek_any() {
            wait::reap(exit.pid);
            self.sweepers.remove(&exit.pid);
            ended.push(exit);
        }
        let mut dead = Vec::new();
        for exit in &ended {
            let slot = self.slots.iter().find(|(_, slot)| slot.pid == exit.pid && slot.note.is_some());
            if let Some(key) = slot.map(|(key, _)| *key) {
                dead.push(key);
            }
        }
        for key in dead {
            let run_directory =
                self.slots.get(&key).and_then(|slot| slot.note.as_ref()).map_or_else(Vec::new, SharedNote::get);
            self.begin_aftermath(key, String::from_utf8_lossy(&run_directory).into_owned());
        }
        for exit in ended {
            for slot in self.slots.values_mut() {
                if let Some(aftermath) = &mut slot.aftermath {
                    aftermath.endings.add(exit);
                }
            }
        }
        self.kill_strays();
    }

    pub(super) fn on_foreign_slot_end(&mut self, key: u64, token: u64) {
        self.forget_awaited(token);
        let Some(slot) = self.slots.get(&key) else { return };
        let run_directory = slot.run_directory.clone();
        self.begin_aftermath(key, run_directory);
        self.kill_strays();
    }

    fn begin_aftermath(&mut self, key: u64, run_directory: String) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let child = slot.note.is_some();
        if slot.specification.is_none() && !self.shutting_down {
            self.no_spares_before_ms = monotonic_ms() + SPARE_PAUSE_MS;
        }
        slot.attach_deadline_ms = None;
        slot.engine_end = None;
        slot.aftermath = Some(Aftermath {
            run_directory,
            endings: Endings::new(child),
            deadline_ms: monotonic_ms() + STRAYS_MS_MAX,
            sweeping: None,
        });
    }

    /// Kills whatever dead supervisors have left. A child of this process that is no supervisor is such a thing.
    fn kill_strays(&mut self) {
        let dead: Vec<&Slot> = self.slots.values().filter(|slot| slot.is_dead()).collect();
        if dead.is_empty() {
            return;
        }
        for slot in dead {
            cgroup::kill_paths(&slot.cgroup_paths);
            if slot.note.is_none()
                && let Some(aftermath) = &slot.aftermath
            {
                aftermath::kill_recorded(&aftermath.run_directory);
            }
        }
        for pid in self.strays() {
            wait::signal(pid, libc::SIGKILL);
        }
    }

    fn strays(&self) -> Vec<i32> {
        let mut children = procfs::own_children();
        children.retain(|pid| !self.sweepers.contains(pid) && !self.slots.values().any(|slot| slot.pid == *pid));
        children
    }

    /// Completes the checkpoints of dead supervisors' runs once nothing of them lives any more.
    pub(super) fn finish_aftermaths(&mut self) {
        if !self.slots.values().any(Slot::is_dead) {
            return;
        }
        self.on_children();
        let strays = !self.strays().is_empty();
        let now_ms = monotonic_ms();
        let dead: Vec<u64> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.aftermath.as_ref().is_some_and(|after| !strays || now_ms >= after.deadline_ms))
            .map(|(key, _)| *key)
            .collect();
        for key in dead {
            if !self.is_swept(key, now_ms) {
                continue;
            }
            let Some(slot) = self.slots.remove(&key) else { continue };
            self.sources.remove(&slot.control_token);
            let Some(aftermath) = slot.aftermath else { continue };
            if !cgroup::remove_paths(&slot.cgroup_paths) {
                log(&format!("the control groups of supervisor {} cannot be removed yet", slot.pid));
            }
            if !aftermath.run_directory.is_empty() {
                aftermath::complete(&aftermath.run_directory, &aftermath.endings);
            }
            if let Some(specification) = slot.specification {
                let ended = SlotEnded { slot_id: specification.slot_id, run_directory: aftermath.run_directory };
                self.tell_engine(FromLauncherBody::SlotEnded(ended), None);
            }
        }
    }

    /// Whether the containers of a dead supervisor's run are removed, or it is given up; begins with it.
    fn is_swept(&mut self, key: u64, now_ms: u64) -> bool {
        let Some(aftermath) = self.slots.get(&key).and_then(|slot| slot.aftermath.as_ref()) else { return true };
        if let Some((pid, until_ms)) = aftermath.sweeping {
            return !self.sweepers.contains(&pid) || now_ms >= until_ms;
        }
        let Some(pid) = aftermath::sweep(&aftermath.run_directory) else { return true };
        self.sweepers.insert(pid);
        if let Some(aftermath) = self.slots.get_mut(&key).and_then(|slot| slot.aftermath.as_mut()) {
            aftermath.sweeping = Some((pid, now_ms + SWEEP_MS_MAX));
        }
        false
    }

    /// Ends a slot and everything in it at once.
    pub(super) fn destroy_slot(&mut self, slot_id: u64) {
        for slot in self.slots.values() {
            if slot.specification.as_ref().is_some_and(|known| known.slot_id == slot_id) {
                cgroup::kill_paths(&slot.cgroup_paths);
                if procfs::is_alive(slot.pid, slot.start_ticks) {
                    wait::signal(slot.pid, libc::SIGKILL);
                }
            }
        }
    }

    /// Ends everything; the launcher ends when it is done.
    pub(super) fn shut_down(&mut self) {
        log("asked to end everything");
        self.shutting_down = true;
        let used: Vec<u64> =
            self.slots.values().filter_map(|slot| Some(slot.specification.as_ref()?.slot_id)).collect();
        for slot_id in used {
            self.destroy_slot(slot_id);
        }
    }

    pub(super) fn destroy_spares(&mut self) {
        for slot in self.slots.values().filter(|slot| slot.is_spare()) {
            wait::signal(slot.pid, libc::SIGKILL);
            wait::reap(slot.pid);
            cgroup::remove_paths(&slot.cgroup_paths);
        }
    }
}
