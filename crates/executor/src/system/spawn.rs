//! Starting a shell cheaply: a child that borrows this process' memory until it executes, placed in its control group from its first
//! instruction. Single-threaded callers only: launcher and supervisors are.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What to execute and how. Everything the child needs is prepared here, because between clone and exec it may not allocate.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Program, absolute.
    pub program: &'a CStr,
    /// Arguments, the program's name first.
    pub arguments: &'a [&'a CStr],
    /// Environment, `NAME=value`.
    pub environment: &'a [CString],
    /// Root directory to change to; unset keeps this process' own. The program and the working directory are below it.
    pub root: Option<&'a CStr>,
    /// Working directory.
    pub directory: &'a CStr,
    /// Standard input.
    pub stdin: BorrowedFd<'a>,
    /// Standard output.
    pub stdout: BorrowedFd<'a>,
    /// Standard error.
    pub stderr: BorrowedFd<'a>,
    /// Uid, gid and supplementary groups to change to.
    pub identity: Option<&'a Identity>,
    /// Directory of the control group on the unified hierarchy to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// What the OOM killer is to make of the child, as text: this process may be protected from it. Not being able to is no error.
    pub oom_score: &'a [u8],
    /// Soft limit of open files to restore, when this process raised its own.
    pub open_files_soft: Option<u64>,
}

/// A user's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Uid.
    pub uid: u32,
    /// Primary gid.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {error}")]
pub struct SpawnError {
    /// What was attempted.
    pub step: &'static str,
    /// What the kernel said.
    #[source]
    pub error: io::Error,
}

/// What the child reads and where it leaves an error. It shares this memory with its parent, which is stopped meanwhile.
struct ChildContext {
    program: *const libc::c_char,
    arguments: *const *const libc::c_char,
    environment: *const *const libc::c_char,
    /// Null where the root stays.
    root: *const libc::c_char,
    directory: *const libc::c_char,
    descriptors: [libc::c_int; 3],
    identity: Option<(u32, u32, *const libc::gid_t, usize)>,
    oom_score: (*const u8, usize),
    open_files_soft: Option<u64>,
    failed_step: *mut u32,
    failed_errno: *mut i32,
}

const STEPS: [&str; 9] = [
    "starting a process",
    "making a session",
    "connecting the output",
    "restoring the limit of open files",
    "changing to the user's groups",
    "changing to the user",
    "entering the working directory",
    "executing the shell",
    "changing the root directory",
];

const STACK_BYTES: usize = 64 << 10;

/// Starts the child and returns its pid once it has executed (or the reason why it has not; then no process is left). The child leads a
/// session of its own, has no descriptors but its three and no blocked signals.
pub fn spawn(request: &Spawn<'_>) -> Result<i32, SpawnError> {
    let arguments: Vec<*const libc::c_char> =
        request.arguments.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
    let environment: Vec<*const libc::c_char> =
        request.environment.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
    let mut failed_step = 0_u32;
    let mut failed_errno = 0_i32;
    let context = ChildContext {
        program: request.program.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        root: request.root.map_or(std::ptr::null(), CStr::as_ptr),
        directory: request.directory.as_ptr(),
        descriptors: [request.stdin.as_raw_fd(), request.stdout.as_raw_fd(), request.stderr.as_raw_fd()],
        identity: request.identity.map(|user| (user.uid, user.gid, user.groups.as_ptr(), user.groups.len())),
        oom_score: (request.oom_score.as_ptr(), request.oom_score.len()),
        open_files_soft: request.open_files_soft,
        failed_step: &mut failed_step,
        failed_errno: &mut failed_errno,
    };
    // What is in it does not matter, so it is not cleared.
    let mut stack = Vec::<u128>::with_capacity(STACK_BYTES / 16);
    let mut flags = libc::CLONE_VM as u64 | libc::CLONE_VFORK as u64;
    if request.cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let arguments = CloneArguments {
        flags,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: STACK_BYTES as u64,
        cgroup: request.cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..CloneArguments::default()
    };
    // SAFETY: CLONE_VFORK stops this (only) thread until the child has executed or ended, so `context`, `stack` and all they point to
    // outlive the child's use of them; the stack is 16-byte aligned and exclusively the child's; `child_main` never returns.
    let mut result = unsafe { clone_onto_stack(&arguments, true, child_main, (&raw const context).cast()) };
    if request.cgroup.is_none() && matches!(-result, REFUSED_BY_OLD_KERNEL | REFUSED_BY_FILTER) {
        // SAFETY: as above; the older call does the same where no control group is asked for.
        result = unsafe { clone_onto_stack(&arguments, false, child_main, (&raw const context).cast()) };
    }
    // The child wrote through raw pointers.
    // SAFETY: both point to initialised locals of this function.
    let (step, errno) =
        unsafe { (std::ptr::read_volatile(&raw const failed_step), std::ptr::read_volatile(&raw const failed_errno)) };
    if result < 0 {
        return Err(SpawnError { step: STEPS[0], error: io::Error::from_raw_os_error(-result as i32) });
    }
    let pid = result as i32;
    if errno != 0 {
        let _ = super::wait::reap(pid);
        return Err(SpawnError {
            step: STEPS[step as usize % STEPS.len()],
            error: io::Error::from_raw_os_error(errno),
        });
    }
    Ok(pid)
}

/// What kernels before 5.3 say to `clone3`.
const REFUSED_BY_OLD_KERNEL: i64 = libc::ENOSYS as i64;
/// What filters of containers say to calls they do not know.
const REFUSED_BY_FILTER: i64 = libc::EPERM as i64;

/// Flag of `clone3`: be born in the control group of the descriptor. The library's constant is too narrow for the value.
pub(super) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of the kernel.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct CloneArguments {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

/// `clone3`, or without `new` the older `clone`, with a stack for the child, which begins in `entry(context)`. Returns the pid or minus an
/// error number.
///
/// # Safety
/// The stack in `arguments` must be 16-byte aligned, large enough and unused by anyone else while the child lives on it; `entry` must not
/// return; what `context` points to must outlive the child's use.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_onto_stack(
    arguments: &CloneArguments,
    new: bool,
    entry: extern "C" fn(*const libc::c_void) -> !,
    context: *const libc::c_void,
) -> i64 {
    let result: i64;
    let (number, first, second) = call(arguments, new);
    // SAFETY: by the contract above. The child finds its own stack pointer, takes `entry` and `context` from registers that the kernel
    // preserves, and never comes back past the call; the parent continues at label 2 with everything as it was.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") 0_u64,
            in("r10") 0_u64,
            in("r8") 0_u64,
            in("r12") entry,
            in("r13") context,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Number and first two arguments of the call; `clone` takes the flags with the signal, and the upper end of the stack.
fn call(arguments: &CloneArguments, new: bool) -> (i64, u64, u64) {
    if new {
        (libc::SYS_clone3, std::ptr::from_ref(arguments) as u64, size_of::<CloneArguments>() as u64)
    } else {
        (libc::SYS_clone, arguments.flags | arguments.exit_signal, arguments.stack + arguments.stack_size)
    }
}

/// As above, for 64-bit ARM.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_onto_stack(
    arguments: &CloneArguments,
    new: bool,
    entry: extern "C" fn(*const libc::c_void) -> !,
    context: *const libc::c_void,
) -> i64 {
    let result: i64;
    let (number, first, second) = call(arguments, new);
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, {context}",
            "br {entry}",
            "2:",
            entry = in(reg) entry,
            context = in(reg) context,
            inlateout("x0") first => result,
            in("x1") second,
            in("x2") 0_u64,
            in("x3") 0_u64,
            in("x4") 0_u64,
            in("x8") number,
        );
    }
    result
}

/// The child, from clone to exec. Only system calls: the memory is the parent's.
extern "C" fn child_main(context: *const libc::c_void) -> ! {
    // SAFETY: the parent passes a live `ChildContext` and is stopped until this process executes or exits.
    let context = unsafe { &*context.cast::<ChildContext>() };
    // SAFETY: plain system calls on values prepared by the parent.
    let step = unsafe { child_steps(context) };
    // SAFETY: `failed_*` point to locals of the stopped parent; `_exit` ends only this process.
    unsafe {
        std::ptr::write_volatile(context.failed_step, step);
        std::ptr::write_volatile(context.failed_errno, *libc::__errno_location());
        libc::_exit(127)
    }
}

/// Does the steps in order; returns the number of the one that failed (on success it never returns).
///
/// # Safety
/// Called in the child of [`spawn`] only.
unsafe fn child_steps(context: &ChildContext) -> u32 {
    // SAFETY: see the caller; each call is async-signal-safe and gets valid pointers.
    unsafe {
        if libc::setsid() < 0 {
            return 1;
        }
        for (target, source) in context.descriptors.iter().enumerate() {
            // A descriptor that already has the right number would keep its close-on-exec flag.
            let done = if *source == target as i32 {
                libc::fcntl(*source, libc::F_SETFD, 0)
            } else {
                libc::dup2(*source, target as i32)
            };
            if done < 0 {
                return 2;
            }
        }
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, context.oom_score.0.cast(), context.oom_score.1);
            libc::close(file);
        }
        if let Some(soft) = context.open_files_soft {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
            limit.rlim_cur = soft.min(limit.rlim_max);
            if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) < 0 {
                return 3;
            }
        }
        if !context.root.is_null() && libc::chroot(context.root) < 0 {
            return 8;
        }
        if let Some((uid, gid, groups, count)) = context.identity {
            // Raw calls: the library's would try to change the threads of the parent as well.
            if libc::syscall(libc::SYS_setgroups, count, groups) < 0
                || libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0
            {
                return 4;
            }
            if libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0 {
                return 5;
            }
        }
        if libc::chdir(context.directory) < 0 {
            return 6;
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        libc::execve(context.program, context.arguments, context.environment);
        7
    }
}
