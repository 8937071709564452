//! Control groups: who belongs to a slot, killing all of them, and limits. Works with version 2, version 1 and both at once.
//!
//! Membership and killing use the unified (version 2) hierarchy wherever there is one; limits use whichever version has the controller.
//! A slot's group on the unified hierarchy holds its supervisor and, one level below in `task`, the processes of the task, which are
//! born there. On version 1 they inherit the supervisor's groups.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};

/// Where groups can be made, found out once at start.
#[derive(Debug, Default)]
pub struct Cgroups {
    unified: Option<PathBuf>,
    memory: Option<Controller>,
    cpu: Option<Controller>,
    /// Why something is not enforced; empty when all is.
    pub unenforced_reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

#[derive(Clone, Debug)]
struct Controller {
    version: Version,
    base: PathBuf,
}

/// A mounted hierarchy and the group of this process in it.
#[derive(Debug)]
struct Hierarchy {
    version: Version,
    controllers: Vec<String>,
    mount: PathBuf,
    own: PathBuf,
}

impl Cgroups {
    /// Finds the hierarchies and makes a group called `name` in each that is needed. Never fails: what cannot be had is not used, and
    /// [`Cgroups::unenforced_reason`] says so.
    pub fn open(name: &str) -> Self {
        let mut found = Self::default();
        let hierarchies = match hierarchies() {
            Ok(hierarchies) => hierarchies,
            Err(error) => {
                found.unenforced_reason = format!("control groups cannot be found: {error}");
                return found;
            }
        };
        let mut reasons = Vec::new();
        for hierarchy in &hierarchies {
            match hierarchy.version {
                Version::Two => found.open_unified(hierarchy, name, &mut reasons),
                Version::One => found.open_version_one(hierarchy, name, &mut reasons),
            }
        }
        for (missing, what) in [(found.memory.is_none(), "memory"), (found.cpu.is_none(), "cpu")] {
            if missing && reasons.is_empty() {
                reasons.push(format!("there is no {what} controller"));
            }
        }
        if found.memory.is_none() || found.cpu.is_none() {
            reasons.dedup();
            found.unenforced_reason = reasons.join("; ");
        }
        found
    }

    fn open_unified(&mut self, hierarchy: &Hierarchy, name: &str, reasons: &mut Vec<String>) {
        // At the root of the whole hierarchy processes and controllers may live side by side; elsewhere they may not.
        for parent in [&hierarchy.mount, &hierarchy.own] {
            let base = parent.join(name);
            if let Err(error) = make_group(&base) {
                reasons.push(format!("{}: {error}", base.display()));
                continue;
            }
            let offered = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
            let mut all = true;
            for (slot, wanted) in [(&mut self.memory, "memory"), (&mut self.cpu, "cpu")] {
                if slot.is_some() || !offered.split_ascii_whitespace().any(|controller| controller == wanted) {
                    continue;
                }
                match enable(parent, wanted).and_then(|()| enable(&base, wanted)) {
                    Ok(()) => *slot = Some(Controller { version: Version::Two, base: base.clone() }),
                    Err(error) => {
                        all = false;
                        reasons.push(format!("{wanted} controller of {}: {error}", parent.display()));
                    }
                }
            }
            self.unified = Some(base);
            if all {
                return;
            }
        }
    }

    fn open_version_one(&mut self, hierarchy: &Hierarchy, name: &str, reasons: &mut Vec<String>) {
        for (slot, wanted) in [(&mut self.memory, "memory"), (&mut self.cpu, "cpu")] {
            if slot.is_some() || !hierarchy.controllers.iter().any(|controller| controller == wanted) {
                continue;
            }
            let base = hierarchy.own.join(name);
            match make_group(&base) {
                Ok(()) => *slot = Some(Controller { version: Version::One, base }),
                Err(error) => reasons.push(format!("{}: {error}", base.display())),
            }
        }
    }

    /// Whether memory limits can be set.
    pub fn enforces_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether processor weights can be set.
    pub fn enforces_cpu(&self) -> bool {
        self.cpu.is_some()
    }

    /// Puts this process into a group of its own on the unified hierarchy, beside those of the slots.
    pub fn enter_launcher_group(&self) -> io::Result<()> {
        let Some(base) = &self.unified else { return Ok(()) };
        let group = base.join("launcher");
        make_group(&group)?;
        fs::write(group.join("cgroup.procs"), "0")
    }

    /// Removes the groups of slots that nobody is in any more: a launcher that was killed could not.
    pub fn sweep(&self) {
        for base in self.bases() {
            for entry in fs::read_dir(base).into_iter().flatten().flatten() {
                let group = entry.path();
                let is_slot = entry.file_name().to_str().is_some_and(|name| name.starts_with("slot-"));
                // A supervisor that is alive still needs the (empty) group of its task.
                let is_empty = fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| pids.trim().is_empty());
                if is_slot && is_empty {
                    let _ = fs::remove_dir(group.join("task"));
                    let _ = fs::remove_dir(&group);
                }
            }
        }
    }

    /// Removes everything that was made, as far as nobody is in it. For a launcher that ends.
    pub fn close(&self) {
        self.sweep();
        if let Some(base) = &self.unified
            && let Some(parent) = base.parent()
        {
            // Out of its own group first; a parent that takes no processes keeps it where it is.
            let _ = fs::write(parent.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(base.join("launcher"));
        }
        for base in self.bases() {
            let _ = fs::remove_dir(base);
        }
    }

    fn bases(&self) -> std::collections::BTreeSet<&Path> {
        let controllers = [&self.memory, &self.cpu].into_iter().flatten().map(|controller| controller.base.as_path());
        self.unified.as_deref().into_iter().chain(controllers).collect()
    }

    /// Makes the groups of a slot. What cannot be made is an error: a slot without its limits would pretend.
    pub fn create_slot(&self, name: &str) -> io::Result<SlotCgroup> {
        let mut slot = SlotCgroup { unified: None, inherited: Vec::new(), memory: None, cpu: None };
        if let Some(base) = &self.unified {
            let group = base.join(name);
            make_group(&group.join("task"))?;
            slot.unified = Some(group);
        }
        for (controller, kept) in [(&self.memory, &mut slot.memory), (&self.cpu, &mut slot.cpu)] {
            let Some(controller) = controller else { continue };
            let group = controller.base.join(name);
            if controller.version == Version::One {
                make_group(&group)?;
                slot.inherited.push(group.clone());
            }
            *kept = Some(Controller { version: controller.version, base: group });
        }
        Ok(slot)
    }
}

/// The groups of one slot.
#[derive(Clone, Debug)]
pub struct SlotCgroup {
    unified: Option<PathBuf>,
    /// Groups of version 1, entered by the supervisor.
    inherited: Vec<PathBuf>,
    memory: Option<Controller>,
    cpu: Option<Controller>,
}

impl SlotCgroup {
    /// The groups by path, the one to kill through first (see [`kill_paths`]).
    pub fn paths(&self) -> Vec<String> {
        self.unified.iter().chain(&self.inherited).map(|path| path.to_string_lossy().into_owned()).collect()
    }

    /// Directory for a supervisor to be born in; `None` without a unified hierarchy.
    pub fn supervisor_directory(&self) -> Option<OwnedFd> {
        open_directory(self.unified.as_deref()?).ok()
    }

    /// Directory for the task's processes to be born in; `None` without a unified hierarchy.
    pub fn task_directory(&self) -> Option<OwnedFd> {
        open_directory(&self.unified.as_deref()?.join("task")).ok()
    }

    /// Moves this process into the groups that are inherited (version 1).
    pub fn enter_inherited(&self) -> io::Result<()> {
        for group in &self.inherited {
            fs::write(group.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// Sets the limits: memory in bytes (0 for none), processor in thousandths of a core (0 for none), as weight and, with `quota`, as a
    /// hard limit.
    pub fn set_limits(&self, memory_bytes: u64, cpu_milli: u64, quota: bool) -> io::Result<()> {
        if let Some(memory) = self.memory.as_ref().filter(|_| memory_bytes > 0) {
            let file = match memory.version {
                Version::One => "memory.limit_in_bytes",
                Version::Two => "memory.max",
            };
            fs::write(memory.base.join(file), memory_bytes.to_string())?;
            // Swapping out is no way around the limit. The files exist only where swap is accounted for.
            let (swap, bytes) = match memory.version {
                Version::One => ("memory.memsw.limit_in_bytes", memory_bytes),
                Version::Two => ("memory.swap.max", 0),
            };
            let _ = fs::write(memory.base.join(swap), bytes.to_string());
        }
        if let Some(cpu) = self.cpu.as_ref().filter(|_| cpu_milli > 0) {
            let shares = (cpu_milli * 1024 / 1000).clamp(2, 262_144);
            match cpu.version {
                Version::One => fs::write(cpu.base.join("cpu.shares"), shares.to_string())?,
                Version::Two => {
                    let weight = 1 + (shares - 2) * 9999 / 262_142;
                    fs::write(cpu.base.join("cpu.weight"), weight.to_string())?;
                }
            }
            if quota {
                // Below a hundredth of a core the kernel refuses.
                let quota_us = (cpu_milli * 100).max(1000);
                match cpu.version {
                    Version::One => {
                        fs::write(cpu.base.join("cpu.cfs_period_us"), "100000")?;
                        fs::write(cpu.base.join("cpu.cfs_quota_us"), quota_us.to_string())?;
                    }
                    Version::Two => fs::write(cpu.base.join("cpu.max"), format!("{quota_us} 100000"))?,
                }
            }
        }
        Ok(())
    }

    /// Kills every process of the task at once, however it daemonised. False without a unified hierarchy (or with a kernel that lacks it).
    pub fn kill_task(&self) -> bool {
        self.unified.as_ref().is_some_and(|group| fs::write(group.join("task/cgroup.kill"), "1").is_ok())
    }

    /// Makes the task's group anew. A group that was killed once must not be used again: kernels from 6.13 on compare its count of kills
    /// with that of the parent's group, and kill what is born into it at once.
    pub fn renew_task_group(&self) -> io::Result<Option<OwnedFd>> {
        let Some(group) = &self.unified else { return Ok(None) };
        let task = group.join("task");
        fs::remove_dir(&task)?;
        make_group(&task)?;
        Ok(Some(open_directory(&task)?))
    }

    /// Whether a process other than the supervisor is in the slot's groups, whose directory for tasks is `task_group`; unknown without a
    /// unified hierarchy.
    pub fn has_strays(&self, task_group: Option<BorrowedFd<'_>>) -> Option<bool> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let procs = rustix::fs::openat(task_group?, c"cgroup.procs", flags, Mode::empty()).ok()?;
        Some(rustix::io::read(&procs, &mut [0_u8; 64]).ok()? > 0)
    }

    /// Number of times the kernel killed a process of the slot for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let Some(memory) = &self.memory else { return 0 };
        let file = match memory.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        field(&memory.base.join(file), "oom_kill").unwrap_or(0)
    }

    /// Highest memory use since the last [`SlotCgroup::reset_memory_peak`], bytes.
    pub fn memory_peak_bytes(&self) -> Option<u64> {
        let memory = self.memory.as_ref()?;
        let file = match memory.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        };
        fs::read_to_string(memory.base.join(file)).ok()?.trim().parse().ok()
    }

    /// Forgets the highest use, where the kernel can.
    pub fn reset_memory_peak(&self) {
        if let Some(memory) = self.memory.as_ref().filter(|memory| memory.version == Version::One) {
            let _ = fs::write(memory.base.join("memory.max_usage_in_bytes"), "0");
        }
    }

    /// A descriptor that tells when the kernel kills for want of memory.
    pub fn watch_oom(&self) -> Option<OomWatch> {
        let memory = self.memory.as_ref()?;
        match memory.version {
            Version::One => {
                let event = rustix::event::eventfd(
                    0,
                    rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
                )
                .ok()?;
                let control = fs::File::open(memory.base.join("memory.oom_control")).ok()?;
                use std::os::fd::AsRawFd;
                let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
                fs::write(memory.base.join("cgroup.event_control"), line).ok()?;
                Some(OomWatch { descriptor: event, flags: PollFlags::IN, _control: Some(control) })
            }
            Version::Two => {
                let file = fs::File::open(memory.base.join("memory.events")).ok()?;
                Some(OomWatch { descriptor: file.into(), flags: PollFlags::PRI, _control: None })
            }
        }
    }

    /// Removes the groups; those that still hold a process stay.
    pub fn remove(&self) {
        remove_paths(&self.paths());
    }
}

/// Tells when the kernel kills in a group for want of memory.
#[derive(Debug)]
pub struct OomWatch {
    descriptor: OwnedFd,
    flags: PollFlags,
    _control: Option<fs::File>,
}

impl OomWatch {
    /// What to poll for.
    pub fn flags(&self) -> PollFlags {
        self.flags
    }

    /// Makes the descriptor quiet again.
    pub fn drain(&self) {
        let mut buffer = [0_u8; 4096];
        if self.flags == PollFlags::PRI {
            // Reading from the beginning is what acknowledges the change.
            let _ = rustix::fs::seek(&self.descriptor, rustix::fs::SeekFrom::Start(0));
        }
        let _ = rustix::io::read(&self.descriptor, &mut buffer);
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Kills everything in groups named by [`SlotCgroup::paths`], at once where the kernel can, else process by process.
pub fn kill_paths(paths: &[String]) {
    for path in paths {
        let path = Path::new(path);
        if fs::write(path.join("cgroup.kill"), "1").is_ok() {
            continue;
        }
        for group in [path.to_owned(), path.join("task")] {
            for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().split_ascii_whitespace() {
                super::wait::signal(pid.parse().unwrap_or(0), libc::SIGKILL);
            }
        }
    }
}

/// Removes groups named by [`SlotCgroup::paths`]; returns whether all are gone.
pub fn remove_paths(paths: &[String]) -> bool {
    let mut gone = true;
    for path in paths {
        let path = Path::new(path);
        let _ = fs::remove_dir(path.join("task"));
        gone &= fs::remove_dir(path).is_ok() || !path.exists();
    }
    gone
}

fn make_group(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Enables a controller for the children of `group`, unless it is.
fn enable(group: &Path, controller: &str) -> io::Result<()> {
    let file = group.join("cgroup.subtree_control");
    if fs::read_to_string(&file)?.split_ascii_whitespace().any(|enabled| enabled == controller) {
        return Ok(());
    }
    fs::write(file, format!("+{controller}"))
}

fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    Ok(parse_hierarchies(&fs::read_to_string("/proc/self/mountinfo")?, &fs::read_to_string("/proc/self/cgroup")?))
}

/// Matches the mounts of hierarchies with this process' groups; hierarchies of version 2 come first.
fn parse_hierarchies(mounts: &str, groups: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (left, right): (Vec<&str>, Vec<&str>) = (left.split(' ').collect(), right.split(' ').collect());
        let (Some(root), Some(mount), Some(kind)) = (left.get(3), left.get(4), right.first()) else { continue };
        let (version, controllers) = match *kind {
            "cgroup2" => (Version::Two, Vec::new()),
            "cgroup" => {
                let options = right.get(2).copied().unwrap_or_default();
                (Version::One, options.split(',').map(str::to_owned).collect::<Vec<_>>())
            }
            _ => continue,
        };
        let own = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
            let same = match version {
                Version::Two => names.is_empty(),
                Version::One => names.split(',').any(|name| !name.is_empty() && controllers.iter().any(|c| c == name)),
            };
            same.then_some(path)
        });
        let Some(own) = own else { continue };
        // The mount may show only a part of the hierarchy.
        let relative = if *root == "/" { own } else { own.strip_prefix(*root).unwrap_or("") };
        let mount = PathBuf::from(unescape(mount));
        let own = mount.join(relative.trim_start_matches('/'));
        found.push(Hierarchy { version, controllers, mount, own });
    }
    found.sort_by_key(|hierarchy| hierarchy.version == Version::One);
    found
}

/// Undoes the octal escapes of mount tables.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hierarchies_are_matched_with_the_groups_of_the_process() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      22 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
        let groups = "4:memory:/outer/inner\n2:cpu,cpuacct:/\n0::/user.slice\n";
        let found = parse_hierarchies(mounts, groups);
        let own: Vec<&str> = found.iter().map(|hierarchy| hierarchy.own.to_str().unwrap()).collect();
        assert_eq!(
            own,
            ["/sys/fs/cgroup/unified/user.slice", "/sys/fs/cgroup/memory/outer/inner", "/sys/fs/cgroup/cpu,cpuacct/"]
        );
        assert_eq!(found[0].version, Version::Two);
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_hides_what_is_above_it() {
        let mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let found = parse_hierarchies(mounts, "0::/docker/abc/x\n");
        assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/x"));
    }
}
