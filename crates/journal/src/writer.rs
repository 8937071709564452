//! The thread that writes groups and syncs them.
//!
//! It takes all groups that wait, writes them in one piece, syncs once, and says how far the log is durable; groups that
//! arrive meanwhile are the next piece. When nothing waits it writes a mark behind the last group, and after a while of
//! rest syncs the mark, so that later damage to the last group cannot pass for an unfinished write.

use std::sync::Arc;
use std::sync::PoisonError;

use node::group::{self, Link};
use node::storage::{Group, Position};

use crate::Setup;
use crate::error::JournalError;
use crate::format::{FrameKind, Place, TRAILER_BYTES, frame_bytes, put_frame, put_mark, put_seal};
use crate::segment::Segment;
use crate::shared::{Shared, State};

/// Groups of about this many bytes at most are written before a sync.
const BATCH_BYTES: usize = 8 << 20;

pub(crate) struct Writer {
    pub(crate) setup: Arc<Setup>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Option<Segment>,
    /// Checksum of the newest group.
    pub(crate) previous: u32,
    /// The newest group handed to the file.
    pub(crate) last: Position,
    pub(crate) durable: Position,
    /// Frames not yet handed to the file; they go to the active segment's offset.
    pub(crate) buffer: Vec<u8>,
    /// The body being built.
    pub(crate) body: Vec<u8>,
    /// A mark was written that is not synced.
    pub(crate) mark_unsynced: bool,
}

/// What the writer found when it looked for work.
enum Work {
    Groups(Vec<Group>),
    Rest,
    Close,
    /// Another thread failed: what the disk holds is left as it is.
    Stop,
}

impl Writer {
    /// Runs until the journal closes or fails.
    pub(crate) fn run(mut self) {
        let outcome = loop {
            let done = match self.wait() {
                Work::Groups(groups) => self.write_batch(groups),
                Work::Rest => self.settle(),
                Work::Close => break self.settle(),
                Work::Stop => break Ok(()),
            };
            if done.is_err() {
                break done;
            }
        };
        {
            let mut state = self.shared.lock();
            state.writer_ended = true;
            if let Err(error) = outcome {
                state.failure.get_or_insert(error);
            }
        }
        self.shared.to_preparer.notify_all();
        (self.setup.on_progress)();
    }

    fn wait(&self) -> Work {
        let mut state = self.shared.lock();
        loop {
            if state.failure.is_some() {
                return Work::Stop;
            }
            if !state.queue.is_empty() {
                return Work::Groups(take_batch(&mut state));
            }
            if state.closing {
                return Work::Close;
            }
            let (guard, timeout) = if self.mark_unsynced {
                let wait = self.shared.to_writer.wait_timeout(state, self.setup.options.settle_after);
                let (guard, timeout) = wait.unwrap_or_else(PoisonError::into_inner);
                (guard, timeout.timed_out())
            } else {
                (self.shared.to_writer.wait(state).unwrap_or_else(PoisonError::into_inner), false)
            };
            state = guard;
            if timeout && state.queue.is_empty() {
                return Work::Rest;
            }
        }
    }

    fn write_batch(&mut self, groups: Vec<Group>) -> Result<(), JournalError> {
        for group in &groups {
            self.put_group(group)?;
        }
        self.flush()?;
        if self.shared.lock().queue.is_empty() {
            self.write_mark()?;
        }
        Ok(())
    }

    fn put_group(&mut self, group: &Group) -> Result<(), JournalError> {
        self.encode(group);
        if !self.fits(frame_bytes(self.body.len())) {
            self.seal()?;
            self.active = Some(self.take_spare(frame_bytes(self.body.len()))?);
            // Sealing synced what came before: the group may say so.
            self.encode(group);
        }
        self.previous = group::checksum(&self.body);
        let (place, offset) = self.here();
        let body = &self.body;
        put_frame(place, offset, FrameKind::Group, &mut self.buffer, |out| out.extend_from_slice(body));
        self.last = group.position;
        Ok(())
    }

    fn encode(&mut self, group: &Group) {
        self.body.clear();
        let link = Link { previous: self.previous, durable_before: self.durable };
        group::encode(group, link, &mut self.body);
    }

    fn fits(&self, bytes: usize) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.offset + (self.buffer.len() + bytes + TRAILER_BYTES) as u64 <= active.capacity)
    }

    /// The place and offset of the next frame.
    fn here(&self) -> (Place, u64) {
        let active = self.active.as_ref().expect("a segment is taken before frames are put");
        (Place { journal: self.setup.journal, number: active.number }, active.offset + self.buffer.len() as u64)
    }

    /// Hands the buffer to the file without waiting for the device.
    fn write(&mut self) -> Result<(), JournalError> {
        if let Some(active) = &mut self.active
            && !self.buffer.is_empty()
        {
            let written = active.file.write_all_at(&self.buffer, active.offset);
            written.map_err(JournalError::io("write", &active.path))?;
            active.offset += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        if let Some(active) = &self.active {
            active.file.sync_data().map_err(JournalError::io("sync", &active.path))?;
            self.mark_unsynced = false;
        }
        Ok(())
    }

    /// Makes everything put so far durable, and says so.
    fn flush(&mut self) -> Result<(), JournalError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.len() as u64;
        self.write()?;
        self.sync()?;
        self.durable = self.last;
        {
            let mut state = self.shared.lock();
            state.durable = self.durable;
            state.written_bytes += bytes;
            state.syncs += 1;
        }
        (self.setup.on_progress)();
        Ok(())
    }

    /// Ends the active segment.
    fn seal(&mut self) -> Result<(), JournalError> {
        if self.active.is_none() {
            return Ok(());
        }
        let next = self.next_number()?;
        let (place, offset) = self.here();
        put_seal(place, offset, self.last, next, &mut self.buffer);
        self.flush()?;
        if let Some(active) = self.active.take() {
            self.shared.lock().sealed.push((active.path, self.last));
        }
        Ok(())
    }

    /// Waits for a prepared segment and names it. Lack of space is waited out; any other failure is final.
    fn next_number(&mut self) -> Result<u64, JournalError> {
        // What is already put must not wait for space that may not come.
        self.flush()?;
        let shared = Arc::clone(&self.shared);
        let state = self.wait_for_spare(&shared)?;
        Ok(state.spares.front().map_or(0, |spare| spare.number))
    }

    fn wait_for_spare<'a>(&self, shared: &'a Shared) -> Result<std::sync::MutexGuard<'a, State>, JournalError> {
        let mut state = shared.lock();
        while state.spares.is_empty() {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if let Some(failure) = &state.spare_failure
                && (state.closing || !failure.is_out_of_space())
            {
                return Err(failure.clone());
            }
            state = shared.to_writer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(state)
    }

    /// Takes the next prepared segment, made longer if one group needs more than a whole one.
    fn take_spare(&self, frame: usize) -> Result<Segment, JournalError> {
        let mut state = self.wait_for_spare(&self.shared)?;
        let mut spare = state.spares.pop_front().expect("waited for");
        drop(state);
        self.shared.to_preparer.notify_all();
        let needed = spare.offset + (frame + 2 * TRAILER_BYTES) as u64;
        while needed > spare.capacity {
            match spare.file.allocate(needed) {
                Ok(()) => spare.capacity = needed,
                Err(error) => self.wait_for_room(JournalError::io("reserve room in", &spare.path)(error))?,
            }
        }
        Ok(spare)
    }

    /// A group larger than a segment found no room: that is lack of space, not failure, so wait for it.
    fn wait_for_room(&self, error: JournalError) -> Result<(), JournalError> {
        let mut state = self.shared.lock();
        if state.closing || !error.is_out_of_space() {
            return Err(error);
        }
        state.spare_failure = Some(error);
        let wait = self.shared.to_writer.wait_timeout(state, self.setup.options.retry_space_after);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// Says in the log itself that everything so far is durable.
    fn write_mark(&mut self) -> Result<(), JournalError> {
        if self.fits(TRAILER_BYTES) {
            let (place, offset) = self.here();
            put_mark(place, offset, self.durable, &mut self.buffer);
            self.write()?;
            self.mark_unsynced = true;
        }
        Ok(())
    }

    /// Syncs the mark.
    fn settle(&mut self) -> Result<(), JournalError> {
        if self.mark_unsynced { self.sync() } else { Ok(()) }
    }
}

fn take_batch(state: &mut State) -> Vec<Group> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES
        && let Some(group) = state.queue.pop_front()
    {
        bytes += group.records.iter().map(node::storage::Record::size_bytes).sum::<usize>();
        batch.push(group);
    }
    batch
}
