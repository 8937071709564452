//! Opening files below a directory whose content is not trusted: never outside it, never through `/proc`, never anything but regular
//! files and directories, never waiting.
//!
//! A file is first found without opening it (`O_PATH`), then looked at, and only then opened: so a FIFO gets no reader, a device no
//! visit, and no exchange of names in between matters.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use engine::files::FilesError;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat, openat2};
use rustix::io::Errno;

/// How often a name is looked up anew while others rename around it.
const ATTEMPTS_MAX: usize = 16;

/// Why something was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// It is not there.
    NotFound,
    /// It is not to be opened.
    Refused(&'static str),
    /// The system failed.
    Io(io::Error),
}

impl OpenError {
    /// The error of the port, about `what`.
    pub fn named(self, what: &str) -> FilesError {
        match self {
            Self::NotFound => FilesError::NotFound(what.to_owned()),
            Self::Refused(why) => FilesError::Refused(what.to_owned(), why),
            Self::Io(error) => FilesError::Io(what.to_owned(), error),
        }
    }
}

impl From<Errno> for OpenError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            Errno::XDEV => Self::Refused("it leads out of the sandbox"),
            Errno::LOOP => Self::Refused("its links lead nowhere, or into /proc"),
            Errno::NAMETOOLONG | Errno::INVAL => Self::Refused("it is no possible name"),
            other => Self::Io(other.into()),
        }
    }
}

/// A directory below which files are opened.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    owner: u32,
}

impl Root {
    /// The directory at `path`, which is trusted except for its last segment: that must be no link.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let directory =
            open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let owner = fstat(&directory)?.st_uid;
        Ok(Self { directory, owner })
    }

    /// Opens the regular file at the relative `path` for reading.
    pub fn open_file(&self, path: &str) -> Result<File, OpenError> {
        let found = self.find(path)?;
        let stat = fstat(&found)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(OpenError::Refused("it is a directory")),
            _ => return Err(OpenError::Refused("it is no regular file")),
        }
        self.check_hard_links(&stat)?;
        // The number names the very file that was looked at, whatever its name means by now.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = openat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty())
            .map_err(|error| OpenError::Io(error.into()))?;
        Ok(File::from(opened))
    }

    /// Opens the directory at the relative `path` for listing; an empty path is the root itself.
    pub fn open_directory(&self, path: &str) -> Result<OwnedFd, OpenError> {
        let found = self.find(if path.is_empty() { "." } else { path })?;
        if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::Directory {
            return Err(OpenError::Refused("it is no directory"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat(&found, ".", flags, Mode::empty()).map_err(|error| OpenError::Io(error.into()))
    }

    /// A second name of a file of someone else would show it to the owner of the sandbox.
    fn check_hard_links(&self, stat: &Stat) -> Result<(), OpenError> {
        if stat.st_nlink > 1 && stat.st_uid != self.owner {
            return Err(OpenError::Refused("it is another user's file under a second name"));
        }
        Ok(())
    }

    /// Finds what `path` means, without opening it. Links are followed while they stay below the root.
    fn find(&self, path: &str) -> Result<OwnedFd, OpenError> {
        if path.contains('\0') {
            return Err(OpenError::Refused("it is no possible name"));
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS_MAX {
            match openat2(&self.directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // Someone renamed a directory on the way.
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS | Errno::PERM) => return self.find_by_steps(path),
                other => return Ok(other?),
            }
        }
        Err(OpenError::Refused("its directories are being renamed; try again"))
    }

    /// The same for kernels without `openat2` and sandboxes that forbid it: one step at a time, without links.
    fn find_by_steps(&self, path: &str) -> Result<OwnedFd, OpenError> {
        if path.starts_with('/') {
            return Err(Errno::XDEV.into());
        }
        let mut at = self.directory.try_clone().map_err(OpenError::Io)?;
        for step in path.split('/') {
            match step {
                "" | "." => continue,
                ".." => return Err(Errno::XDEV.into()),
                name => {
                    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let next = openat(at.as_fd(), name, flags, Mode::empty())?;
                    if FileType::from_raw_mode(fstat(&next)?.st_mode) == FileType::Symlink {
                        return Err(OpenError::Refused("it is a link, and this kernel cannot follow links safely"));
                    }
                    at = next;
                }
            }
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
    }

    impl Fixture {
        /// A root with a file and a directory in it, and a secret beside it.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("root/sub/deep")).unwrap();
            fs::write(folder.path().join("root/file"), "inside").unwrap();
            fs::write(folder.path().join("root/sub/deep/file"), "deep inside").unwrap();
            fs::write(folder.path().join("secret"), "secret").unwrap();
            Self { folder }
        }

        fn path(&self, below: &str) -> std::path::PathBuf {
            self.folder.path().join("root").join(below)
        }

        fn root(&self) -> Root {
            Root::open(&self.path("")).unwrap()
        }

        fn text(&self, path: &str) -> Result<String, OpenError> {
            let mut text = String::new();
            self.root().open_file(path)?.read_to_string(&mut text).unwrap();
            Ok(text)
        }
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, OpenError>) -> &'static str {
        match result {
            Err(OpenError::Refused(why)) => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn files_and_links_that_stay_inside_are_opened() {
        let fixture = Fixture::new();
        symlink("sub/deep", fixture.path("down")).unwrap();
        symlink("../../file", fixture.path("sub/deep/up")).unwrap();
        symlink("down/up", fixture.path("twice")).unwrap();
        assert_eq!(fixture.text("file").unwrap(), "inside");
        assert_eq!(fixture.text("./sub//deep/file").unwrap(), "deep inside");
        assert_eq!(fixture.text("down/file").unwrap(), "deep inside");
        assert_eq!(fixture.text("sub/deep/up").unwrap(), "inside");
        assert_eq!(fixture.text("twice").unwrap(), "inside");
        assert_eq!(fixture.text("sub/../file").unwrap(), "inside");
        assert!(fixture.root().open_directory("down").is_ok());
        assert!(fixture.root().open_directory("").is_ok());
    }

    #[test]
    fn nothing_outside_is_opened_by_any_kind_of_path_or_link() {
        let fixture = Fixture::new();
        let secret = fixture.folder.path().join("secret");
        symlink(&secret, fixture.path("absolute")).unwrap();
        symlink("../secret", fixture.path("upwards")).unwrap();
        symlink("..", fixture.path("parent")).unwrap();
        symlink("/", fixture.path("slash")).unwrap();
        symlink("/proc/self/root", fixture.path("magic")).unwrap();
        symlink("/proc/self/fd/0", fixture.path("descriptor")).unwrap();
        for path in [
            "../secret",
            "sub/../../secret",
            secret.to_str().unwrap(),
            "/etc/passwd",
            "absolute",
            "upwards",
            "parent/secret",
            "slash/etc/passwd",
            "magic/etc/passwd",
            "descriptor",
        ] {
            assert_eq!(refused(fixture.text(path)), "it leads out of the sandbox", "{path}");
        }
        for path in ["..", "parent", "slash", "magic", "/"] {
            assert_eq!(refused(fixture.root().open_directory(path)), "it leads out of the sandbox", "{path}");
        }
    }

    #[test]
    fn links_through_proc_are_not_followed_even_below_a_root_that_holds_it() {
        // As if a task had /proc in its sandbox: `cwd` and `exe` there jump anywhere.
        let root = Root::open(Path::new("/proc")).unwrap();
        let own = std::process::id();
        for name in ["cwd", "root", "exe", "fd/0"] {
            let found = root.open_file(&format!("{own}/{name}"));
            assert!(matches!(found, Err(OpenError::Refused(_))), "{name}: {found:?}");
        }
    }

    #[test]
    fn loops_missing_files_and_impossible_names_are_told_apart() {
        let fixture = Fixture::new();
        symlink("loop", fixture.path("loop")).unwrap();
        symlink("gone", fixture.path("dangling")).unwrap();
        assert_eq!(refused(fixture.text("loop")), "its links lead nowhere, or into /proc");
        assert!(matches!(fixture.text("dangling"), Err(OpenError::NotFound)));
        assert!(matches!(fixture.text("nothing"), Err(OpenError::NotFound)));
        assert!(matches!(fixture.text("file/below"), Err(OpenError::NotFound)));
        assert!(matches!(fixture.text(""), Err(OpenError::NotFound)));
        assert_eq!(refused(fixture.text("a\0b")), "it is no possible name");
        assert_eq!(refused(fixture.text(&"x".repeat(300))), "it is no possible name");
        assert_eq!(refused(fixture.text("sub")), "it is a directory");
        assert_eq!(refused(fixture.root().open_directory("file")), "it is no directory");
        assert!(matches!(Root::open(&fixture.path("nothing")), Err(OpenError::NotFound)));
        symlink("/etc", fixture.folder.path().join("link")).unwrap();
        assert!(Root::open(&fixture.folder.path().join("link")).is_err(), "the root itself must be no link");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once_and_untouched() {
        let fixture = Fixture::new();
        let fifo = fixture.path("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(fixture.path("socket")).unwrap();
        let begin = Instant::now();
        assert_eq!(refused(fixture.text("fifo")), "it is no regular file");
        assert_eq!(refused(fixture.text("socket")), "it is no regular file");
        assert!(begin.elapsed() < Duration::from_secs(5), "it must not wait for a writer");
        // A FIFO that had been opened for reading would let a writer in.
        let writer = open(&fifo, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
        assert_eq!(writer.unwrap_err(), Errno::NXIO);
    }

    #[test]
    fn devices_are_refused() {
        let root = Root::open(Path::new("/dev")).unwrap();
        assert_eq!(refused(root.open_file("null")), "it is no regular file");
    }

    #[test]
    fn a_second_name_of_a_file_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            // Only root can make a file of another user, and only root reads sandboxes of others.
            return;
        }
        let fixture = Fixture::new();
        fs::hard_link(fixture.folder.path().join("secret"), fixture.path("second")).unwrap();
        assert_eq!(fixture.text("second").unwrap(), "secret", "one's own file may have two names");
        std::os::unix::fs::chown(fixture.path(""), Some(1234), None).unwrap();
        assert_eq!(refused(fixture.text("second")), "it is another user's file under a second name");
        assert_eq!(fixture.text("file").unwrap(), "inside", "a file with one name was put there");
    }

    #[test]
    fn step_by_step_the_same_files_are_found_but_no_links_are_followed() {
        let fixture = Fixture::new();
        symlink("file", fixture.path("link")).unwrap();
        symlink("/etc", fixture.path("etc")).unwrap();
        let root = fixture.root();
        for path in ["file", "./sub//deep/file", "sub", "."] {
            assert!(root.find_by_steps(path).is_ok(), "{path}");
        }
        for path in ["..", "sub/../file", "/etc/passwd", "link", "etc/passwd"] {
            assert!(matches!(root.find_by_steps(path), Err(OpenError::Refused(_))), "{path}");
        }
        assert!(matches!(root.find_by_steps("nothing"), Err(OpenError::NotFound)));
    }

    #[test]
    fn exchanging_a_directory_for_a_link_while_files_are_opened_never_shows_what_is_outside() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.folder.path().join("outside")).unwrap();
        fs::write(fixture.folder.path().join("outside/file"), "secret").unwrap();
        fs::create_dir(fixture.path("door")).unwrap();
        fs::write(fixture.path("door/file"), "inside").unwrap();
        symlink("../outside", fixture.path("trap")).unwrap();
        let (door, trap) = (fixture.path("door"), fixture.path("trap"));
        let stop = AtomicBool::new(false);
        let (mut shown, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &door, CWD, &trap, rustix::fs::RenameFlags::EXCHANGE).unwrap();
                }
            });
            let root = fixture.root();
            // Both sides of the exchange must be met often, however the two threads are scheduled.
            while shown < 500 || refused < 500 {
                match root.open_file("door/file") {
                    Ok(mut file) => {
                        let mut text = String::new();
                        file.read_to_string(&mut text).unwrap();
                        assert_eq!(text, "inside");
                        shown += 1;
                    }
                    Err(OpenError::Refused(_)) => refused += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
