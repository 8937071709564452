//! The few file operations the journal needs, as a port, so that tests can tear, lose and refuse them.
//!
//! [`RealDisk`] passes them to the operating system. Nothing else in this crate touches a file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A file that is read and written at offsets.
pub trait DiskFile: Send + Sync {
    /// Reads the whole file.
    fn read_all(&self) -> io::Result<Vec<u8>>;
    /// The file's length in bytes.
    fn length_bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`; how many bytes there were before the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file if need be.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reserves room for `length_bytes` from the start, reading as zeros, so that later writes there cannot lack space.
    fn allocate(&self, length_bytes: u64) -> io::Result<()>;
    /// Waits until the file's content is on the device.
    fn sync_data(&self) -> io::Result<()>;
}

/// Whether a directory could be taken.
pub enum Lock {
    /// It is ours for as long as this lives.
    Held(Box<dyn Send + Sync>),
    /// Another process holds it; its pid, if it could be read.
    Busy(Option<u32>),
}

/// A tree of files.
pub trait Disk: Send + Sync {
    /// Makes a directory and those above it; fine if it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a directory, in no order. `NotFound` if there is no such directory.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes an empty file; one that was there is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading, and for writing if `write`.
    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Waits until creations, renames and removals in a directory are on the device.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock file at `path`, writing our pid into it.
    fn lock(&self, path: &Path) -> io::Result<Lock>;
    /// The pid of the process that holds the lock file, without taking it.
    fn lock_holder(&self, path: &Path) -> Option<u32>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_all(&self) -> io::Result<Vec<u8>> {
        let length = self.0.metadata()?.len();
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let read = self.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn length_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, length_bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, length_bytes) {
            Ok(()) => Ok(()),
            // A file system without reservations: writing zeros takes the room as surely, only slower.
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(&self.0, length_bytes),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn write_zeros(file: &File, length_bytes: u64) -> io::Result<()> {
    const CHUNK_BYTES: u64 = 1 << 20;
    let zeros = vec![0; CHUNK_BYTES as usize];
    let mut offset = file.metadata()?.len();
    while offset < length_bytes {
        let chunk = CHUNK_BYTES.min(length_bytes - offset);
        file.write_all_at(&zeros[..chunk as usize], offset)?;
        offset += chunk;
    }
    Ok(())
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(write).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                writeln!(file, "{}", std::process::id())?;
                Ok(Lock::Held(Box::new(file)))
            }
            Err(TryLockError::WouldBlock) => Ok(Lock::Busy(read_pid(&mut file))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_holder(&self, path: &Path) -> Option<u32> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => read_pid(&mut file),
            _ => None,
        }
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
