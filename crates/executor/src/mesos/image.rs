//! Tasks in images of the Mesos containerizer (spec executor 3.3): the agent has provisioned the image as a folder of the run directory;
//! here it is made fit for the task. Processes enter it through the agent's own `mesos-containerizer`.
//!
//! All mounts are made in the mount namespace that the agent gave this process, and vanish with it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use checkpoint::protocol::ImageRoot;
use mesos::v1::ExecutorInfo;

use super::options::Options;
use crate::system::user::{self, User};

/// Folder of the image in the run directory, and name of its volume in the executor's container.
const ROOT: &str = "taskfs";
/// Files of the machine that the image gets as they are.
const NETWORK_FILES: [&str; 3] = ["etc/resolv.conf", "etc/hosts", "etc/hostname"];
/// Kernel file systems that programs expect. Agents before 1.9 have them mounted by their containerizer, which does it again then.
const KERNEL_FOLDERS: [&str; 3] = ["proc", "sys", "dev"];
/// What `groupadd` and `useradd` say when the number, or the name, is there already.
const THERE_ALREADY: [Option<i32>; 2] = [Some(4), Some(9)];

/// What is known of an image before the task is prepared.
#[derive(Debug)]
pub(super) struct Image<'a> {
    options: &'a Options,
    root: PathBuf,
    /// Paths in this container that the image gets as well.
    volumes: Vec<String>,
}

impl<'a> Image<'a> {
    /// Of the run in this directory. The error says what the agent lacks.
    pub(super) fn new(options: &'a Options, directory: &Path, executor: Option<&ExecutorInfo>) -> Result<Self, String> {
        let path = &options.containerizer;
        let metadata = fs::metadata(path).map_err(|error| {
            format!(
                "Tasks in images need mesos-containerizer: {}: {error}; see --mesos-containerizer-path",
                path.display()
            )
        })?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            let path = path.display();
            return Err(format!("Tasks in images need mesos-containerizer: {path} is no executable file"));
        }
        let container = executor.and_then(|executor| executor.container.as_ref());
        let paths = container.map(|container| container.volumes.iter().map(|volume| volume.container_path.clone()));
        Ok(Self {
            options,
            root: directory.join(ROOT),
            volumes: paths.into_iter().flatten().filter(|path| path != ROOT).collect(),
        })
    }

    /// Makes the image fit: its user, its mounts, its network files. The sandbox exists.
    pub(super) fn prepare(&self, sandbox: &Path, role: &str) -> Result<ImageRoot, String> {
        let user = match user::by_name(role) {
            Ok(Some(user)) => user,
            Ok(None) => return Err(format!("role {role} is no user of {}", user::looked_in())),
            Err(error) => return Err(format!("looking up user {role}: {error}")),
        };
        self.make_writable()?;
        if !self.options.no_create_user {
            self.make_user(&user)?;
        }
        for volume in &self.volumes {
            self.mount(Path::new(volume), volume)?;
        }
        self.mount(sandbox, &self.options.sandbox_mount_point)?;
        for folder in KERNEL_FOLDERS {
            let empty = fs::read_dir(self.root.join(folder)).map_or(true, |mut entries| entries.next().is_none());
            if empty {
                self.mount(&Path::new("/").join(folder), folder)?;
            }
        }
        for file in NETWORK_FILES {
            let source = Path::new("/").join(file);
            if source.exists() {
                let target = self.root.join(file);
                fs::copy(&source, &target).map_err(|error| format!("{}: {error}", target.display()))?;
            }
        }
        Ok(ImageRoot {
            root: self.root.display().to_string(),
            sandbox: self.options.sandbox_mount_point.clone(),
            containerizer: self.options.containerizer.display().to_string(),
            takes_launch_info: self.takes_launch_info(),
            user: user.name,
        })
    }

    /// Agents since 1.8 mount the image read-only, as its volume says; what is below is this container's own copy.
    fn make_writable(&self) -> Result<(), String> {
        let shown = self.root.display().to_string();
        let status = rustix::fs::statvfs(&self.root).map_err(|error| format!("{shown}: {error}"))?;
        if !status.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Ok(());
        }
        let mounted = run("mount", &["-n", "-o", "remount,bind,rw", &shown])?;
        if mounted.code == Some(0) {
            Ok(())
        } else {
            Err(format!("making the image writable: {}", mounted.output.trim()))
        }
    }

    /// The user and the group of the machine, with the same numbers.
    fn make_user(&self, user: &User) -> Result<(), String> {
        let (uid, gid) = (user.identity.uid.to_string(), user.identity.gid.to_string());
        let group =
            user::group_name(user.identity.gid).ok_or_else(|| format!("group {gid} of {} has no name", user.name))?;
        let root = self.root.display().to_string();
        let made = run("groupadd", &["-R", &root, "-g", &gid, &group])?;
        if THERE_ALREADY.contains(&made.code) {
            let found = run("chroot", &[&root, "getent", "group", &group])?;
            let mut fields = found.output.trim().split(':');
            if (fields.next(), fields.nth(1)) != (Some(group.as_str()), Some(gid.as_str())) {
                return Err(format!("group {group} ({gid}) is another one in the image: {}", found.output.trim()));
            }
        } else if made.code != Some(0) {
            return Err(format!("groupadd in the image: {}", made.output.trim()));
        }
        let made = run("useradd", &["-R", &root, "-u", &uid, "-g", &gid, &user.name])?;
        if THERE_ALREADY.contains(&made.code) {
            let found = run("chroot", &[&root, "id", &user.name])?;
            let expected = format!("uid={uid}({}) gid={gid}({group}) groups=", user.name);
            if !found.output.starts_with(&expected) {
                return Err(format!("user {} ({uid}) is another one in the image: {}", user.name, found.output.trim()));
            }
        } else if made.code != Some(0) {
            return Err(format!("useradd in the image: {}", made.output.trim()));
        }
        Ok(())
    }

    /// Makes `source` visible in the image below `inside`.
    fn mount(&self, source: &Path, inside: &str) -> Result<(), String> {
        let target = self.root.join(inside.trim_start_matches('/'));
        let failed = |error: io::Error| format!("{}: {error}", target.display());
        if !target.exists() {
            if source.is_file() {
                fs::create_dir_all(target.parent().unwrap_or(&self.root)).map_err(failed)?;
                fs::write(&target, "").map_err(failed)?;
            } else {
                fs::create_dir_all(&target).map_err(failed)?;
            }
        }
        let (source, target) = (source.display().to_string(), target.display().to_string());
        let mounted = run("mount", &["-n", "--rbind", &source, &target])?;
        if mounted.code == Some(0) {
            Ok(())
        } else {
            Err(format!("mounting {source} in the image: {}", mounted.output.trim()))
        }
    }

    /// Agents before 1.2 have a containerizer that takes its orders as flags.
    fn takes_launch_info(&self) -> bool {
        let path = self.options.containerizer.display().to_string();
        run(&path, &["launch", "--help"]).is_ok_and(|usage| usage.output.contains("launch_info"))
    }
}

struct Ran {
    code: Option<i32>,
    /// Both streams.
    output: String,
}

fn run(program: &str, arguments: &[&str]) -> Result<Ran, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let output_text = [output.stdout, output.stderr].concat();
    Ok(Ran { code: output.status.code(), output: String::from_utf8_lossy(&output_text).into_owned() })
}
