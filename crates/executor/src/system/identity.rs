//! Touching files with the rights of another user, for a moment.

use super::spawn::Identity;

/// Runs `action` with the file-system rights of `user` (uid and gid; this process must be root). With `None`, as this process.
pub fn acting_as<T>(user: Option<&Identity>, action: impl FnOnce() -> T) -> T {
    /// Gives the rights back, also when the action panics.
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            // SAFETY: plain system calls; they concern this thread only.
            unsafe {
                libc::syscall(libc::SYS_setfsuid, uid);
                libc::syscall(libc::SYS_setfsgid, gid);
            }
        }
    }
    let Some(user) = user else { return action() };
    let _restore = Restore;
    // SAFETY: as above. Giving up the uid also gives up the rights of root over files.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, user.gid);
        libc::syscall(libc::SYS_setfsuid, user.uid);
    }
    action()
}
