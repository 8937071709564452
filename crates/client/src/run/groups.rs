//! The control groups of a private cluster. The processes in them are gone before the groups can be, so they are noted while the cluster
//! lives and removed after it. Only empty groups can be removed at all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::processes;

/// How the engine names the group of a cluster: this and 16 hexadecimal digits.
const PREFIX: &str = "daybreak-";

/// Groups that the processes of the cluster in `directory` are in, as directories; not those we are in ourselves.
pub fn of_cluster(directory: &Path) -> BTreeSet<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").map(|text| groups(&text)).unwrap_or_default();
    processes::find(directory)
        .into_iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok())
        .flat_map(|text| groups(&text))
        .filter(|group| !own.contains(group))
        .collect()
}

/// The engine's groups in the text of `/proc/<pid>/cgroup`; each where the usual mounts would have it.
fn groups(text: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let Some(group) = cluster_part(path) else { continue };
        let root = Path::new("/sys/fs/cgroup");
        if controllers.is_empty() {
            found.insert(root.join(&group));
            found.insert(root.join("unified").join(&group));
        } else {
            found.insert(root.join(controllers.trim_start_matches("name=")).join(&group));
        }
    }
    found
}

/// The path up to the innermost group of an engine, without the first slash.
fn cluster_part(path: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let last = parts.iter().rposition(|part| {
        part.strip_prefix(PREFIX)
            .is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })?;
    Some(parts[..=last].iter().collect())
}

/// Removes the groups and all below them, as far as they are empty.
pub fn remove(groups: &BTreeSet<PathBuf>) {
    for group in groups {
        remove_tree(group);
    }
}

fn remove_tree(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_group_of_an_engine_is_found_in_either_hierarchy() {
        let text = "4:memory:/daybreak-0123456789abcdef/3\n1:name=systemd:/user.slice\n0::/a/daybreak-0123456789abcdef/launcher\n";
        let found: Vec<PathBuf> = groups(text).into_iter().collect();
        assert_eq!(
            found,
            [
                PathBuf::from("/sys/fs/cgroup/a/daybreak-0123456789abcdef"),
                PathBuf::from("/sys/fs/cgroup/memory/daybreak-0123456789abcdef"),
                PathBuf::from("/sys/fs/cgroup/unified/a/daybreak-0123456789abcdef"),
            ]
        );
        let nested = "/daybreak-aaaaaaaaaaaaaaaa/7/task/daybreak-bbbbbbbbbbbbbbbb/launcher";
        let expected = PathBuf::from("daybreak-aaaaaaaaaaaaaaaa/7/task/daybreak-bbbbbbbbbbbbbbbb");
        assert_eq!(cluster_part(nested), Some(expected));
        for other in ["/", "/daybreak-short", "/user.slice/daybreak.service"] {
            assert_eq!(cluster_part(other), None, "{other}");
        }
    }

    #[test]
    fn only_empty_directories_go() {
        let directory = tempfile::tempdir().unwrap();
        let group = directory.path().join("group");
        std::fs::create_dir_all(group.join("a/b")).unwrap();
        std::fs::create_dir_all(group.join("c")).unwrap();
        std::fs::write(group.join("c/file"), "busy").unwrap();
        remove(&[group.clone()].into());
        assert!(!group.join("a").exists() && group.join("c/file").exists());
    }
}
