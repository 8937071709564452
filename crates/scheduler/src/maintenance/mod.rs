//! Maintenance of hosts: modes, and the draining of hosts as the SLA policies of their tasks allow (spec scheduler 5.4).
//!
//! A host that is DRAINING takes no task; those it has are asked about in rounds: at once, every
//! [`crate::Settings::host_maintenance_polling_interval`], when enough of a job runs again, and when the request's time is up, after
//! which policies are not asked any more. Modes and requests are durable, rounds are not: a restart begins a new one. While the engine is
//! away or the journal is short of room nobody is moved.

mod drain;
pub mod table;

use model::task::SlaPolicy;
use model::{Host, MaintenanceMode, TaskId};

use crate::command::{MaintenanceCommand, Outcome, Reply};
use crate::core::{Core, ms};
use crate::task::Task;
use crate::timers::Timer;
use crate::view::{HostRecord, MaintenanceRequest};
pub(crate) use drain::Draining;
use table::{ModeChange, mode_after};

/// Message of the event of a task that is moved.
pub(crate) const DRAINING_MESSAGE: &str = "Draining machine for maintenance.";

impl Core {
    /// Maintenance mode of a host; one that was never heard of is in none.
    pub(crate) fn mode_of(&self, host: &str) -> MaintenanceMode {
        self.store.view.hosts.get(host).map(|record| record.mode).unwrap_or_default()
    }

    /// Changes a host's mode by the table, and all that hangs on it. False for unknown hosts and where the change means nothing.
    fn change_mode(&mut self, host: &Host, change: ModeChange) -> bool {
        let Some(record) = self.store.view.hosts.get(host).cloned() else { return false };
        let Some(mode) = mode_after(record.mode, change) else { return false };
        if mode != MaintenanceMode::Draining {
            self.stop_draining(host);
        }
        if mode == record.mode {
            return true;
        }
        self.store.put_host(host, HostRecord { mode, ..(*record).clone() });
        for slot in self.book.slots_on(host).to_vec() {
            self.book.set_mode(slot, mode);
            self.end_affinity_if_leaving(slot);
            self.publish_agent(slot);
            // Groups that wait may have been waiting for this host.
            if mode.takes_tasks() && !record.mode.takes_tasks() {
                self.book.fresh.push(slot);
            }
        }
        true
    }

    /// Those of the hosts that are known, each once, in order.
    fn known_hosts(&self, hosts: Vec<Host>) -> Vec<Host> {
        let mut hosts = hosts;
        hosts.sort_unstable();
        hosts.dedup();
        hosts.retain(|host| self.store.view.hosts.contains_key(host));
        hosts
    }

    fn modes(&self, hosts: Vec<Host>) -> Reply {
        let modes = hosts.into_iter().map(|host| (self.mode_of(&host), host)).map(|(mode, host)| (host, mode));
        Reply { outcome: Outcome::Hosts(modes.collect()), ..Reply::ok() }
    }

    /// A command about hosts. None is ever refused: hosts that are not known are passed over (spec scheduler 5.4).
    pub(crate) fn maintenance(&mut self, command: MaintenanceCommand) -> Reply {
        let created_ms = self.now.wall_ms;
        match command {
            MaintenanceCommand::Start { hosts } => self.start_maintenance(hosts),
            MaintenanceCommand::End { hosts } => self.end_maintenance(hosts),
            MaintenanceCommand::Drain { hosts } => {
                let default_policy = SlaPolicy::Percentage { percentage_bits: 0.0_f64.to_bits(), duration_secs: 0 };
                self.drain_hosts(hosts, &MaintenanceRequest { default_policy, timeout_secs: 0, created_ms }, true)
            }
            MaintenanceCommand::SlaDrain { hosts, default_policy, timeout_secs } => {
                self.drain_hosts(hosts, &MaintenanceRequest { default_policy, timeout_secs, created_ms }, false)
            }
        }
    }

    /// startMaintenance.
    fn start_maintenance(&mut self, hosts: Vec<Host>) -> Reply {
        let hosts = self.known_hosts(hosts);
        for host in &hosts {
            self.change_mode(host, ModeChange::Announce);
        }
        self.modes(hosts)
    }

    /// endMaintenance.
    fn end_maintenance(&mut self, hosts: Vec<Host>) -> Reply {
        let hosts = self.known_hosts(hosts);
        for host in &hosts {
            self.change_mode(host, ModeChange::End);
        }
        self.modes(hosts)
    }

    /// drainHosts and slaDrainHosts. Tasks are asked about in this very step, after the answer was made; hosts that are empty already
    /// are DRAINED in an answer to `at_once`, as Aurora's two calls have it.
    fn drain_hosts(&mut self, hosts: Vec<Host>, request: &MaintenanceRequest, at_once: bool) -> Reply {
        let hosts = self.known_hosts(hosts);
        for host in &hosts {
            self.change_mode(host, ModeChange::Drain);
            self.store.set_maintenance(host, Some(request.clone()));
            self.begin_draining(host);
            if at_once && !self.has_placed(host) {
                self.change_mode(host, ModeChange::Emptied);
            }
        }
        let reply = self.modes(hosts);
        let Outcome::Hosts(modes) = &reply.outcome else { return reply };
        for (host, _) in modes.iter().filter(|(_, mode)| *mode == MaintenanceMode::Draining) {
            self.queue_host(host);
        }
        reply
    }

    /// Whether a task holds room on a host.
    fn has_placed(&self, host: &str) -> bool {
        let slots = self.book.slots_on(host).iter();
        slots.filter_map(|slot| self.book.agent(*slot)).any(|agent| !agent.placed.is_empty())
    }

    /// Tasks that hold room on a host, in order.
    fn placed_on(&self, host: &str) -> Vec<TaskId> {
        let slots = self.book.slots_on(host).iter();
        let placed = slots.filter_map(|slot| self.book.agent(*slot)).flat_map(|agent| agent.placed.iter().cloned());
        let mut placed: Vec<TaskId> = placed.collect();
        placed.sort_unstable();
        placed
    }

    /// A task has left a host; the last one of a host that is being drained leaves it DRAINED, and its request is done.
    pub(crate) fn vacated(&mut self, slot: usize, task: &Task) {
        let Some(agent) = self.book.agent(slot) else { return };
        if agent.mode != MaintenanceMode::Draining {
            return;
        }
        let host = agent.host.clone();
        self.forget_countdown(task);
        if !self.has_placed(&host) {
            self.change_mode(&host, ModeChange::Emptied);
        }
    }

    /// After a restart: hosts that were being drained still are.
    pub(crate) fn resume_maintenance(&mut self) {
        let hosts = self.store.view.hosts.iter().filter(|(_, record)| record.mode == MaintenanceMode::Draining);
        let hosts: Vec<Host> = hosts.map(|(host, _)| host.clone()).collect();
        for host in hosts {
            self.begin_draining(&host);
            if !self.has_placed(&host) {
                self.change_mode(&host, ModeChange::Emptied);
            }
        }
    }

    /// A backup became the state: a host that was drained then and has tasks now is not drained any more. Nobody has said by which
    /// rules these are to leave, so they stay, and maintenance of the host is as good as announced.
    pub(crate) fn maintenance_restored(&mut self) {
        let drained = self.store.view.hosts.iter().filter(|(_, record)| record.mode == MaintenanceMode::Drained);
        let hosts: Vec<Host> = drained.map(|(host, _)| host.clone()).filter(|host| self.has_placed(host)).collect();
        for host in hosts {
            self.change_mode(&host, ModeChange::Announce);
            self.notice(format!(
                "{host} was drained when the backup was made, and tasks run there now: its maintenance is announced. Drain it again if \
                 they are to leave."
            ));
        }
    }

    /// Arranges the next round, while there is anybody to ask about.
    fn arm_maintenance_poll(&mut self) {
        if self.draining.poll.is_none() && !self.draining.hosts.is_empty() {
            let interval_ms = ms(self.settings.host_maintenance_polling_interval).max(1);
            self.draining.poll = Some(self.arm_after(interval_ms, Timer::MaintenancePoll));
        }
    }
}
