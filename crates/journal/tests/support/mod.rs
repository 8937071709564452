//! A disk in memory that forgets, tears, refuses and lies, and small helpers around a journal on it.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use journal::disk::{Disk, DiskFile, Lock};
use journal::{Journal, JournalError, Options};
use node::storage::{Epoch, Group, Position, Record, Recovered, RestoreError, Storage, StorageError};

pub const SECTOR_BYTES: usize = 512;

/// A small generator, so that a seed tells the whole story.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    volatile: Vec<u8>,
    /// Writes since the last sync, oldest first; `None` bytes are a change of length.
    pending: Vec<(usize, Option<Vec<u8>>)>,
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// What goes wrong, and when.
#[derive(Clone, Default, Debug)]
pub struct Plan {
    /// The power goes with this operation (counted from 1): it and all later ones fail.
    pub power_off_at: Option<u64>,
    /// This sync of the first segment's data (counted from 1) fails, once. What it should have stored counts as clean and is lost.
    pub sync_error_at: Option<u64>,
    /// Syncs say they worked and do nothing.
    pub syncs_lie: bool,
    /// How many bytes all files together may take.
    pub room_bytes: Option<u64>,
}

#[derive(Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    name_changes: Vec<NameChange>,
    plan: Plan,
    operations: u64,
    syncs: u64,
    log: Vec<String>,
}

impl World {
    fn operation(&mut self, what: impl FnOnce() -> String) -> io::Result<()> {
        self.operations += 1;
        if self.plan.power_off_at.is_some_and(|at| self.operations >= at) {
            return Err(io::Error::other("the power is off"));
        }
        self.log.push(what());
        Ok(())
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].volatile.len() as u64).sum()
    }

    fn grow(&mut self, inode: usize, length: usize) -> io::Result<()> {
        let missing = length.saturating_sub(self.inodes[inode].volatile.len()) as u64;
        if missing > 0 && self.plan.room_bytes.is_some_and(|room| self.used_bytes() + missing > room) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if missing > 0 {
            self.inodes[inode].volatile.resize(length, 0);
        }
        Ok(())
    }
}

/// The disk.
#[derive(Clone, Default)]
pub struct FaultDisk(Arc<Mutex<World>>);

struct FaultFile {
    world: Arc<Mutex<World>>,
    inode: usize,
    path: PathBuf,
}

impl FaultDisk {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test thread panics while it holds the disk")
    }

    pub fn set_plan(&self, plan: Plan) {
        let mut world = self.world();
        world.operations = 0;
        world.syncs = 0;
        world.log.clear();
        world.plan = plan;
    }

    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    pub fn operation_log(&self) -> Vec<String> {
        self.world().log.clone()
    }

    pub fn used_bytes(&self) -> u64 {
        self.world().used_bytes()
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        self.world().names.keys().cloned().collect()
    }

    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let world = self.world();
        world.inodes[world.names[path]].volatile.clone()
    }

    /// Changes a file behind everyone's back, durably.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let inode = world.names[path];
        let inode = &mut world.inodes[inode];
        change(&mut inode.volatile);
        inode.durable = inode.volatile.clone();
        inode.pending.clear();
    }

    /// A disk with the same content on which nothing is pending.
    pub fn copy(&self) -> FaultDisk {
        let world = self.world();
        let mut copy = World::default();
        for (path, inode) in &world.names {
            let bytes = world.inodes[*inode].volatile.clone();
            copy.names.insert(path.clone(), copy.inodes.len());
            copy.inodes.push(Inode { durable: bytes.clone(), volatile: bytes, pending: Vec::new() });
        }
        copy.durable_names = copy.names.clone();
        FaultDisk(Arc::new(Mutex::new(copy)))
    }

    /// What is found after the power went: everything that was synced, and of the rest what chance spared, sector by
    /// sector for content and up to some moment for names.
    pub fn after_power_loss(&self, random: &mut Random) -> FaultDisk {
        let world = self.world();
        let mut names = world.durable_names.clone();
        let spared = random.below(world.name_changes.len() as u64 + 1) as usize;
        for change in &world.name_changes[..spared] {
            apply(&mut names, change);
        }
        let mut after = World::default();
        for (path, inode) in names {
            let bytes = torn(&world.inodes[inode], random);
            after.names.insert(path, after.inodes.len());
            after.inodes.push(Inode { durable: bytes.clone(), volatile: bytes, pending: Vec::new() });
        }
        after.durable_names = after.names.clone();
        FaultDisk(Arc::new(Mutex::new(after)))
    }

    /// What is found after only the process died: everything.
    pub fn after_kill(&self) -> FaultDisk {
        self.copy()
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &NameChange) {
    match change {
        NameChange::Link(path, inode) => {
            names.insert(path.clone(), *inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
    }
}

fn torn(inode: &Inode, random: &mut Random) -> Vec<u8> {
    let mut bytes = inode.durable.clone();
    let mode = random.below(4);
    for (offset, written) in &inode.pending {
        let Some(written) = written else {
            if mode > 0 {
                bytes.resize((*offset).max(bytes.len()), 0);
            }
            continue;
        };
        let mut at = 0;
        while at < written.len() {
            let in_sector = SECTOR_BYTES - (offset + at) % SECTOR_BYTES;
            let end = (at + in_sector).min(written.len());
            let keep = match mode {
                0 => false,
                1 => true,
                _ => random.below(2) == 0,
            };
            if keep {
                bytes.resize(bytes.len().max(offset + end), 0);
                bytes[offset + at..offset + end].copy_from_slice(&written[at..end]);
            }
            at = end;
        }
    }
    bytes
}

impl FaultFile {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test thread panics while it holds the disk")
    }

    /// The name the file has now.
    fn name(&self, world: &World) -> String {
        let now = world.names.iter().find(|(_, inode)| **inode == self.inode).map(|(path, _)| path);
        now.unwrap_or(&self.path).file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl DiskFile for FaultFile {
    fn read_all(&self) -> io::Result<Vec<u8>> {
        Ok(self.world().inodes[self.inode].volatile.clone())
    }

    fn length_bytes(&self) -> io::Result<u64> {
        Ok(self.world().inodes[self.inode].volatile.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.world();
        let bytes = &world.inodes[self.inode].volatile;
        let from = (offset as usize).min(bytes.len());
        let length = buffer.len().min(bytes.len() - from);
        buffer[..length].copy_from_slice(&bytes[from..from + length]);
        Ok(length)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = offset as usize;
        let mut world = self.world();
        let name = self.name(&world);
        world.operation(|| format!("write {name}"))?;
        world.grow(self.inode, offset + bytes.len())?;
        let inode = &mut world.inodes[self.inode];
        inode.volatile[offset..offset + bytes.len()].copy_from_slice(bytes);
        inode.pending.push((offset, Some(bytes.to_vec())));
        Ok(())
    }

    fn allocate(&self, length_bytes: u64) -> io::Result<()> {
        let mut world = self.world();
        let name = self.name(&world);
        world.operation(|| format!("allocate {name}"))?;
        world.grow(self.inode, length_bytes as usize)?;
        world.inodes[self.inode].pending.push((length_bytes as usize, None));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world();
        let name = self.name(&world);
        world.operation(|| format!("sync {name}"))?;
        if name == "segment-000000000001.log" {
            world.syncs += 1;
            if world.plan.sync_error_at == Some(world.syncs) {
                world.plan.sync_error_at = None;
                world.inodes[self.inode].pending.clear();
                return Err(io::Error::from_raw_os_error(5));
            }
        }
        if !world.plan.syncs_lie {
            let inode = &mut world.inodes[self.inode];
            // After a failed sync, what it dropped is in memory only: apply what is pending, not what is visible.
            for (offset, written) in std::mem::take(&mut inode.pending) {
                match written {
                    None => inode.durable.resize(offset.max(inode.durable.len()), 0),
                    Some(written) => {
                        let end = offset + written.len();
                        inode.durable.resize(end.max(inode.durable.len()), 0);
                        inode.durable[offset..end].copy_from_slice(&written);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Disk for FaultDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        let inside = world.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        world.operation(|| format!("create {}", path.display()))?;
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        let change = NameChange::Link(path.to_owned(), inode);
        apply(&mut world.names, &change);
        world.name_changes.push(change);
        Ok(Arc::new(FaultFile { world: Arc::clone(&self.0), inode, path: path.to_owned() }))
    }

    fn open(&self, path: &Path, _: bool) -> io::Result<Arc<dyn DiskFile>> {
        let inode = *self.world().names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultFile { world: Arc::clone(&self.0), inode, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operation(|| format!("rename {}", to.display()))?;
        let change = NameChange::Rename(from.to_owned(), to.to_owned());
        apply(&mut world.names, &change);
        world.name_changes.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operation(|| format!("remove {}", path.display()))?;
        let change = NameChange::Remove(path.to_owned());
        apply(&mut world.names, &change);
        world.name_changes.push(change);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operation(|| "sync directory".to_owned())?;
        if !world.plan.syncs_lie {
            world.durable_names = world.names.clone();
            world.name_changes.clear();
        }
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Lock> {
        Ok(Lock::Held(Box::new(())))
    }

    fn lock_holder(&self, _: &Path) -> Option<u32> {
        None
    }
}

pub type State = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

/// Applies a record to a plain map: what the core's `apply` amounts to.
pub fn put(state: &mut State, record: Record) {
    let key = (record.table, record.key);
    match record.value {
        Some(value) => state.insert(key, value),
        None => state.remove(&key),
    };
}

/// The bell a journal rings; waits with a limit far above anything healthy.
#[derive(Clone, Default)]
pub struct Bell(Arc<(Mutex<u64>, Condvar)>);

impl Bell {
    pub fn ringer(&self) -> journal::OnProgress {
        let bell = self.clone();
        Arc::new(move || {
            *bell.0.0.lock().expect("no panic under the bell's lock") += 1;
            bell.0.1.notify_all();
        })
    }

    pub fn wait(&self) {
        let count = self.0.0.lock().expect("no panic under the bell's lock");
        let _ = self.0.1.wait_timeout(count, Duration::from_micros(300)).expect("no panic under the bell's lock");
    }
}

/// A recovered journal and what it held.
pub struct Opened {
    pub journal: Journal,
    pub bell: Bell,
    pub recovered: Recovered,
    pub state: State,
    pub head: Position,
    pub epoch: Epoch,
}

pub fn directory() -> PathBuf {
    PathBuf::from("/journal")
}

pub fn small() -> Options {
    Options {
        segment_bytes: 4096,
        settle_after: Duration::from_secs(3600),
        retry_space_after: Duration::from_millis(5),
        new_journal_id: Some(*b"a journal's name"),
    }
}

pub fn open(disk: &FaultDisk, options: Options) -> Result<Opened, StorageError> {
    open_at(Arc::new(disk.clone()), &directory(), options)
}

pub fn open_at(disk: Arc<dyn Disk>, directory: &Path, options: Options) -> Result<Opened, StorageError> {
    let bell = Bell::default();
    let mut journal = Journal::open_on(disk, directory, options, bell.ringer())?;
    let mut state = State::new();
    let recovered = journal.recover(&mut |record: Record| -> Result<(), RestoreError> {
        put(&mut state, record);
        Ok(())
    })?;
    let (head, epoch) = (recovered.position, recovered.epoch.next());
    Ok(Opened { journal, bell, recovered, state, head, epoch })
}

impl Opened {
    /// Appends a group without waiting.
    pub fn append(&mut self, records: Vec<Record>) -> Result<Position, StorageError> {
        let position = self.head.next();
        self.journal.append(Group { epoch: self.epoch, position, records: records.clone() })?;
        self.head = position;
        records.into_iter().for_each(|record| put(&mut self.state, record));
        Ok(position)
    }

    /// Waits until a position is durable, or the journal fails.
    pub fn wait_durable(&mut self, position: Position) -> Result<(), StorageError> {
        while self.journal.progress()?.durable < position {
            self.bell.wait();
        }
        Ok(())
    }

    pub fn append_durably(&mut self, records: Vec<Record>) -> Result<Position, StorageError> {
        let position = self.append(records)?;
        self.wait_durable(position)?;
        Ok(position)
    }

    pub fn snapshot(&mut self) -> Result<(), StorageError> {
        let records: Vec<Record> = self
            .state
            .iter()
            .map(|((table, key), value)| Record { table: *table, key: key.clone(), value: Some(value.clone()) })
            .collect();
        self.journal.start_snapshot(self.head, self.epoch, Box::new(records.into_iter()))?;
        while self.journal.progress()?.snapshot_running {
            self.bell.wait();
        }
        Ok(())
    }
}

pub fn record(key: u64, value: &[u8]) -> Record {
    Record { table: 1, key: key.to_be_bytes().to_vec(), value: Some(value.to_vec()) }
}

/// The journal's own error inside a storage error.
pub fn cause(error: &StorageError) -> &JournalError {
    match error {
        StorageError::Failed(error) => error.downcast_ref().expect("an error of the journal"),
        StorageError::EpochEnded { .. } => panic!("a journal on disk has no other leader"),
    }
}
