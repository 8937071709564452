//! A segment file that can be written on, and how one is prepared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::JournalError;
use crate::format::{FileHeader, HEADER_BYTES, segment_name};

/// A segment open for writing.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where the next frame goes, in bytes.
    pub(crate) offset: u64,
    /// How much of the file is reserved, in bytes.
    pub(crate) capacity: u64,
}

/// How much is written with one call while a segment is filled, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// Writes zeros over reserved room. Room that is only reserved has to be noted as written by the file system's own journal
/// at every later sync; room that was written once makes a sync several times quicker.
fn fill(file: &dyn DiskFile, path: &Path, capacity: u64) -> Result<(), JournalError> {
    let zeros = vec![0; CHUNK_BYTES.min(capacity as usize)];
    let mut offset = 0;
    while offset < capacity {
        let chunk = zeros.len().min((capacity - offset) as usize);
        file.write_all_at(&zeros[..chunk], offset).map_err(JournalError::io("write", path))?;
        offset += chunk as u64;
        // Piece by piece, so that groups synced meanwhile do not wait behind a long queue.
        file.sync_data().map_err(JournalError::io("sync", path))?;
    }
    Ok(())
}

/// Makes an empty segment whose room is reserved and whose name and header are on the device: from then on, writing
/// groups into it needs nothing new from the file system. `header.extra` is the room in bytes. On failure nothing stays.
pub(crate) fn prepare(disk: &dyn Disk, directory: &Path, header: FileHeader) -> Result<Segment, JournalError> {
    let path = directory.join(segment_name(header.number));
    let temporary = path.with_extension("tmp");
    let made = (|| {
        let file = disk.create(&temporary).map_err(JournalError::io("create", &temporary))?;
        file.allocate(header.extra).map_err(JournalError::io("reserve room for", &path))?;
        fill(&*file, &temporary, header.extra)?;
        file.write_all_at(&header.encode(), 0).map_err(JournalError::io("write", &temporary))?;
        file.sync_data().map_err(JournalError::io("sync", &temporary))?;
        disk.rename(&temporary, &path).map_err(JournalError::io("name", &path))?;
        disk.sync_dir(directory).map_err(JournalError::io("sync the directory", directory))?;
        Ok(file)
    })();
    match made {
        Ok(file) => {
            let offset = HEADER_BYTES as u64;
            Ok(Segment { number: header.number, path, file, offset, capacity: header.extra })
        }
        Err(error) => {
            // Best effort: what stays is removed at the next start, and an unused segment does no harm.
            let _ = disk.remove(&temporary);
            Err(error)
        }
    }
}
