//! Looking up users of the machine.

use std::ffi::CString;
use std::io;

use super::spawn::Identity;

/// A user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numbers.
    pub identity: Identity,
}

/// The user called `name`; `None` when there is none.
pub fn by_name(name: &str) -> io::Result<Option<User>> {
    let Ok(wanted) = CString::new(name) else { return Ok(None) };
    lookup(|entry, buffer, result| {
        // SAFETY: all pointers are valid for the call; the buffer has the stated length.
        unsafe { libc::getpwnam_r(wanted.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), result) }
    })
}

/// The user with this uid; `None` when there is none.
pub fn by_uid(uid: u32) -> io::Result<Option<User>> {
    lookup(|entry, buffer, result| {
        // SAFETY: as above.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), result) }
    })
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
