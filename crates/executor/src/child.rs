//! The supervisor of the task: a fork of this process, made while it has one thread. What is left of a task whose supervisor died is
//! killed and recorded here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use checkpoint::channel::Channel;
use checkpoint::protocol::{
    Attach, FromLauncherToSlot, FromLauncherToSlotBody, FromSlot, FromSlotBody, Kill, Launch, SlotSpecification,
    ToSlot, ToSlotBody,
};

use crate::aftermath::{self, Endings};
use crate::supervisor::{self, Birth, Parent};
use crate::system::cgroup::Cgroups;
use crate::system::shared::SharedNote;
use crate::system::wait::Look;
use crate::system::{fork, procfs, wait};

/// How long killed leftovers may take to disappear, in attempts with a pause between them.
const ATTEMPTS_MAX: u32 = 500;
const ATTEMPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// The supervisor.
pub(crate) struct Child {
    pid: i32,
    /// Its end tells the supervisor that this process is gone.
    _control: Channel,
    tasks: Channel,
    endings: Endings,
    dead: bool,
}

impl Child {
    /// Forks the supervisor. This process must have one thread.
    pub(crate) fn start(root: bool) -> io::Result<Self> {
        // The agent has put this process into the container's control groups, and watches over its limits.
        let group = Cgroups::default().create_slot("")?;
        let note = SharedNote::new()?;
        let (mut control, far) = Channel::pair()?;
        let birth = |control| {
            let (group, parent) = (group.clone(), Parent::Executor);
            Ok(Birth { control, group, note: &note, parent, root, open_files_soft: None })
        };
        let pid = fork::fork(None, || supervisor::become_supervisor(&far, birth))?;
        drop(far);
        let (tasks, tasks_far) = Channel::pair()?;
        // One task, and then no other.
        let specification = SlotSpecification { slot_id: 1, tasks_max: 1, ..SlotSpecification::default() };
        let attach = Attach { epoch: 1, specification: Some(specification) };
        control.send(&FromLauncherToSlot { body: Some(FromLauncherToSlotBody::Attach(attach)) }, Some(tasks_far));
        Ok(Self { pid, _control: control, tasks, endings: Endings::new(true), dead: false })
    }

    pub(crate) fn launch(&mut self, launch: Launch) {
        self.tasks.send(&ToSlot { body: Some(ToSlotBody::Launch(launch)) }, None);
    }

    pub(crate) fn kill(&mut self, kill: Kill) {
        self.tasks.send(&ToSlot { body: Some(ToSlotBody::Kill(kill)) }, None);
    }

    pub(crate) fn wants_to_send(&self) -> bool {
        self.tasks.wants_to_send()
    }

    /// What it has said since the last call.
    pub(crate) fn receive(&mut self) -> Vec<FromSlotBody> {
        self.tasks.flush();
        self.tasks.receive();
        let mut told = Vec::new();
        while let Ok(Some(message)) = self.tasks.next_message::<FromSlot>() {
            told.extend(message.body);
        }
        told
    }

    /// Children have ended: the supervisor, or what a dead one has left. True once the supervisor is dead.
    pub(crate) fn on_children(&mut self) -> bool {
        while let Look::Ended(exit) = wait::peek_any() {
            wait::reap(exit.pid);
            if exit.pid == self.pid {
                self.dead = true;
            } else {
                self.endings.add(exit);
            }
        }
        self.dead
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }

    /// After its death: kills what it has left and completes the record of the run.
    pub(crate) fn clean_up(&mut self, run_directory: &str) {
        for _ in 0..ATTEMPTS_MAX {
            // What ended by itself is known before the rest is killed.
            self.on_children();
            let own = rustix::process::getpid().as_raw_nonzero().get();
            let left = procfs::descendants(&[own]);
            if left.is_empty() {
                break;
            }
            for signal in [libc::SIGSTOP, libc::SIGKILL] {
                for pid in &left {
                    wait::signal(*pid, signal);
                }
            }
            std::thread::sleep(ATTEMPT_PAUSE);
        }
        aftermath::complete(run_directory, &self.endings);
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tasks.as_fd()
    }
}
