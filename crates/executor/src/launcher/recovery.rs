//! What a new launcher finds: runs of an earlier boot, runs whose supervisor is dead and runs whose supervisor lives on without a launcher.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;

use checkpoint::protocol::{FromLauncherBody, SlotEnded};
use checkpoint::replay::RunState;

use super::{Launcher, Source, log};
use crate::aftermath;
use crate::system::procfs;

/// A living supervisor that is no child of this launcher, and its run.
pub(super) struct Awaited {
    _pidfd: OwnedFd,
    run_directory: String,
}

impl Launcher {
    /// Completes every run that nobody looks after, and watches the supervisors that may still present themselves.
    pub(super) fn recover(&mut self) {
        let Ok(boot_id) = procfs::boot_id() else { return };
        let over: BTreeSet<String> =
            fs::read_to_string(self.directory.acknowledged()).unwrap_or_default().lines().map(str::to_owned).collect();
        let Ok(agents) = fs::read_dir(self.directory.agents()) else { return };
        for agent in agents.flatten() {
            let Ok(tasks) = fs::read_dir(agent.path().join("tasks")) else { continue };
            for task in tasks.flatten() {
                if task.file_name().to_str().is_some_and(|name| over.contains(name)) {
                    continue;
                }
                self.recover_run(&task.path().to_string_lossy(), &boot_id);
            }
        }
    }

    fn recover_run(&mut self, run_directory: &str, boot_id: &str) {
        let path = checkpoint::layout::RunDirectory::new(run_directory).checkpoint();
        let state = match RunState::load(&path) {
            Ok(state) => state,
            Err(error) => {
                // A directory without a checkpoint is a start that did not get that far: the engine sees that by itself.
                log(&format!("{}: {error}", path.display()));
                return;
            }
        };
        let Some(header) = state.header.as_ref().filter(|_| !state.is_over()) else { return };
        let same_boot = header.boot_id == boot_id;
        if same_boot && procfs::is_alive(header.supervisor_pid, header.supervisor_start_ticks) {
            let pidfd = rustix::process::Pid::from_raw(header.supervisor_pid)
                .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
            if let Some(pidfd) = pidfd
                && let Ok(token) = self.register(&pidfd, Source::AwaitedEnd)
            {
                self.keep_until_end(token, pidfd, run_directory);
                return;
            }
        }
        log(&format!("{run_directory}: nobody looks after this run any more"));
        aftermath::complete_abandoned(run_directory, &state, same_boot);
    }

    /// Removes the containers of tasks that are over, where tasks have ever had any.
    pub(super) fn sweep_all(&mut self) {
        let Ok(docker_host) = fs::read_to_string(self.directory.containers()) else { return };
        self.sweepers.extend(aftermath::sweep_all(docker_host.trim(), &self.directory));
    }

    pub(super) fn keep_until_end(&mut self, token: u64, pidfd: OwnedFd, run_directory: &str) {
        self.awaited.insert(token, Awaited { _pidfd: pidfd, run_directory: run_directory.to_owned() });
    }

    pub(super) fn forget_awaited(&mut self, token: u64) {
        self.awaited.remove(&token);
        self.sources.remove(&token);
    }

    /// A supervisor that was alive when this launcher started has ended. It may have presented itself meanwhile; completing is harmless
    /// then, because a run that is over stays as it is.
    pub(super) fn on_awaited_end(&mut self, token: u64) {
        let Some(awaited) = self.awaited.remove(&token) else { return };
        self.sources.remove(&token);
        let path = checkpoint::layout::RunDirectory::new(&awaited.run_directory).checkpoint();
        if let Ok(state) = RunState::load(&path)
            && !state.is_over()
        {
            aftermath::complete_abandoned(&awaited.run_directory, &state, true);
            self.sweepers.extend(aftermath::sweep(&awaited.run_directory));
        }
        let slot_id = RunState::load(&path).ok().and_then(|state| state.header).map_or(0, |header| header.slot_id);
        let ended = SlotEnded { slot_id, run_directory: awaited.run_directory };
        self.tell_engine(FromLauncherBody::SlotEnded(ended), None);
    }
}
