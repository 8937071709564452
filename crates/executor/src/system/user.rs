//! Looking up users of the machine.
//!
//! A static executable cannot use the machine's name services: their modules belong to the machine's own C library. It reads
//! `/etc/passwd` and `/etc/group` itself and asks `getent`, a program of the machine, for whoever is not there.

use std::ffi::CString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::spawn::Identity;

/// A user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numbers.
    pub identity: Identity,
}

/// Whether this executable is static.
static IS_STATIC: AtomicBool = AtomicBool::new(false);

/// Says that this executable is static. Called first of all by one that is.
pub fn set_static() {
    IS_STATIC.store(true, Ordering::Relaxed);
}

/// Where a user that is not known was looked for, for messages.
pub fn looked_in() -> &'static str {
    if !IS_STATIC.load(Ordering::Relaxed) || getent().is_some() {
        "this machine"
    } else {
        "this machine's /etc/passwd (there is no getent to ask for others)"
    }
}

fn getent() -> Option<&'static str> {
    ["/usr/bin/getent", "/bin/getent"].into_iter().find(|path| Path::new(path).exists())
}

/// What `getent` says; nothing when it knows nothing, or is not there.
fn ask(database: &str, key: &str) -> String {
    let Some(program) = getent() else { return String::new() };
    let mut command = Command::new(program);
    command.args([database, "--", key]).stdin(Stdio::null()).stderr(Stdio::null());
    command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// The first user of a table in the form of `/etc/passwd` that is wanted.
fn in_table(table: &str, wanted: impl Fn(&str, u32) -> bool) -> Option<(String, u32, u32)> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        wanted(name, uid).then(|| (name.to_owned(), uid, gid))
    })
}

/// The groups that list a user, in the form of `/etc/group`.
fn groups_in_table(table: &str, name: &str) -> Vec<u32> {
    let listed = table.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let gid = fields.nth(2)?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == name).then_some(gid)
    });
    listed.collect()
}

/// Name of a group of the machine.
pub fn group_name(gid: u32) -> Option<String> {
    let named = |table: &str| {
        table.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
        })
    };
    let table = std::fs::read_to_string("/etc/group").unwrap_or_default();
    named(&table).or_else(|| named(&ask("group", &gid.to_string())))
}

/// A look-up without the C library.
fn without_library(key: &str, wanted: impl Fn(&str, u32) -> bool) -> io::Result<Option<User>> {
    let table = match std::fs::read_to_string("/etc/passwd") {
        Ok(table) => table,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let found = in_table(&table, &wanted).or_else(|| in_table(&ask("passwd", key), &wanted));
    let Some((name, uid, gid)) = found else { return Ok(None) };
    let mut groups = vec![gid];
    // `initgroups` answers with the name and then the groups.
    let told = ask("initgroups", &name);
    groups.extend(told.split_whitespace().skip(1).filter_map(|group| group.parse::<u32>().ok()));
    groups.extend(groups_in_table(&std::fs::read_to_string("/etc/group").unwrap_or_default(), &name));
    groups.sort_unstable();
    groups.dedup();
    Ok(Some(User { name, identity: Identity { uid, gid, groups } }))
}

/// The user called `name`; `None` when there is none.
pub fn by_name(name: &str) -> io::Result<Option<User>> {
    if IS_STATIC.load(Ordering::Relaxed) {
        return without_library(name, |known, _| known == name);
    }
    let Ok(wanted) = CString::new(name) else { return Ok(None) };
    lookup(|entry, buffer, result| {
        // SAFETY: all pointers are valid for the call; the buffer has the stated length.
        unsafe { libc::getpwnam_r(wanted.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), result) }
    })
}

/// The user with this uid; `None` when there is none.
pub fn by_uid(uid: u32) -> io::Result<Option<User>> {
    if IS_STATIC.load(Ordering::Relaxed) {
        return without_library(&uid.to_string(), |_, known| known == uid);
    }
    lookup(|entry, buffer, result| {
        // SAFETY: as above.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), result) }
    })
}

/// A user of a container in the words of Docker's `--user`: a name or a number, then perhaps `:` and a group, by name or number. Somebody
/// without an entry is their number in the group 0; one with a group given is in no other. `None` for a name that nobody has.
pub fn of_container(text: &str) -> io::Result<Option<User>> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let found = match (by_name(user)?, user.parse::<u32>()) {
        (Some(found), _) => Some(found),
        (None, Ok(uid)) => Some(
            by_uid(uid)?
                .unwrap_or_else(|| User { name: uid.to_string(), identity: Identity { uid, gid: 0, groups: vec![0] } }),
        ),
        (None, Err(_)) => None,
    };
    let Some(mut found) = found else { return Ok(None) };
    if !group.is_empty() {
        let Some(gid) = group_number(group).or_else(|| group.parse().ok()) else { return Ok(None) };
        (found.identity.gid, found.identity.groups) = (gid, vec![gid]);
    }
    Ok(Some(found))
}

/// Number of a group of the machine.
fn group_number(name: &str) -> Option<u32> {
    let numbered = |table: &str| {
        table.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
        })
    };
    let table = std::fs::read_to_string("/etc/group").unwrap_or_default();
    numbered(&table).or_else(|| numbered(&ask("group", name)))
}

/// The user this process runs as; when the user database has no entry, the uid serves as name.
pub fn current() -> User {
    let uid = rustix::process::geteuid().as_raw();
    match by_uid(uid) {
        Ok(Some(user)) => user,
        _ => User {
            name: uid.to_string(),
            identity: Identity { uid, gid: rustix::process::getegid().as_raw(), groups: Vec::new() },
        },
    }
}

/// Home of the user called `name`, as the machine's table of users has it; `/` for one who has none.
pub fn home_of(name: &str) -> String {
    let home = |table: &str| {
        let own =
            table.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&name));
        own.and_then(|fields| fields.get(5).map(|home| (*home).to_owned())).filter(|home| !home.is_empty())
    };
    let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    home(&table).or_else(|| home(&ask("passwd", name))).unwrap_or_else(|| "/".to_owned())
}

/// Looks up the present user once, so that the libraries that are needed for it are there in processes forked afterwards.
pub fn prepare_lookups() {
    let _ = current();
}

fn lookup(
    mut call: impl FnMut(*mut libc::passwd, &mut Vec<libc::c_char>, *mut *mut libc::passwd) -> libc::c_int,
) -> io::Result<Option<User>> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        // SAFETY: zeroed is a valid passwd for the library to fill in.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut result: *mut libc::passwd = std::ptr::null_mut();
        match call(&mut entry, &mut buffer, &mut result) {
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 2, 0),
            libc::EINTR => {}
            // These are the ways in which libraries say "no such user" although the interface has another one.
            0 | libc::ENOENT | libc::ESRCH if result.is_null() => return Ok(None),
            0 => {
                // SAFETY: on success the name is a terminated string within `buffer`.
                let name = unsafe { std::ffi::CStr::from_ptr(entry.pw_name) };
                let groups = groups(name, entry.pw_gid);
                return Ok(Some(User {
                    name: name.to_string_lossy().into_owned(),
                    identity: Identity { uid: entry.pw_uid, gid: entry.pw_gid, groups },
                }));
            }
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn groups(name: &std::ffi::CStr, gid: u32) -> Vec<u32> {
    let mut count: libc::c_int = 64;
    loop {
        let mut groups = vec![0_u32; count as usize];
        // SAFETY: the array has `count` elements; the library stores the number wanted in `count`.
        let result = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &mut count) };
        if result >= 0 {
            groups.truncate(count as usize);
            return groups;
        }
        if count as usize <= groups.len() || count > 1 << 16 {
            return vec![gid];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_look_users_up_agree() {
        for name in ["root", "nobody", "daemon", "no-such-user", "a:b", ""] {
            let with = by_name(name).unwrap();
            let mut without = without_library(name, |known, _| known == name).unwrap();
            if let (Some(with), Some(without)) = (&with, &mut without) {
                let mut groups = with.identity.groups.clone();
                groups.sort_unstable();
                groups.dedup();
                assert_eq!(without.identity.groups, groups, "{name}");
                without.identity.groups.clone_from(&with.identity.groups);
            }
            assert_eq!(with, without, "{name}");
        }
        assert_eq!(without_library("0", |_, uid| uid == 0).unwrap().unwrap().name, "root");
    }

    #[test]
    fn users_of_containers_are_named_as_docker_does() {
        let known = |text: &str| of_container(text).unwrap().map(|user| (user.identity.uid, user.identity.gid));
        assert_eq!((known("root"), known("0"), known("root:7")), (Some((0, 0)), Some((0, 0)), Some((0, 7))));
        let stranger = of_container("4000000:root").unwrap().unwrap();
        assert_eq!((stranger.name.as_str(), stranger.identity.gid), ("4000000", 0));
        assert_eq!(stranger.identity.groups, [0]);
        assert_eq!(known("4000000"), Some((4_000_000, 0)));
        for unknown in ["no-such-user", "root:no-such-group", "", ":", "-1"] {
            assert_eq!(known(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn tables_are_read_line_by_line() {
        let table = "broken\nx:y\n+::::::\nann:x:1001:100:Ann:/home/ann:/bin/sh\nbob:x:1002:100::/:/bin/sh\n";
        assert_eq!(in_table(table, |name, _| name == "bob"), Some(("bob".into(), 1002, 100)));
        assert_eq!(in_table(table, |_, uid| uid == 7), None);
        let groups = "users:x:100:\nstaff:x:50:ann,bob\nwheel:x:10:bobby\n";
        assert_eq!(groups_in_table(groups, "bob"), [50]);
        assert_eq!((home_of("root").as_str(), home_of("no-such-user").as_str()), ("/root", "/"));
        assert_eq!((group_name(0).as_deref(), group_name(4_000_000)), (Some("root"), None));
    }
}
