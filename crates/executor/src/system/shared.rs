//! One page that launcher and supervisor share: the supervisor notes what it is doing, and the launcher reads it after the supervisor's death.

use std::sync::atomic::{AtomicU32, Ordering};

const PAGE_BYTES: usize = 8192;
const HEAD_BYTES: usize = 4;
/// Longest note in bytes.
pub const NOTE_BYTES_MAX: usize = PAGE_BYTES - HEAD_BYTES;

/// The page. It is never unmapped by the supervisor's copy; the launcher unmaps its own on drop.
#[derive(Debug)]
pub struct SharedNote {
    page: *mut u8,
}

impl SharedNote {
    /// Maps a page that is shared with children forked afterwards.
    pub fn new() -> std::io::Result<Self> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(Self { page: page.cast() }) }
    }

    fn length(&self) -> &AtomicU32 {
        // SAFETY: the mapping is page-aligned, lives as long as `self`, and its first four bytes are only used atomically.
        unsafe { AtomicU32::from_ptr(self.page.cast()) }
    }

    /// Writes the note; longer ones than [`NOTE_BYTES_MAX`] are refused.
    pub fn set(&self, note: &[u8]) -> bool {
        if note.len() > NOTE_BYTES_MAX {
            return false;
        }
        self.length().store(0, Ordering::Release);
        // SAFETY: within the mapping; only the supervisor writes, and the launcher reads only after its death.
        unsafe { std::ptr::copy_nonoverlapping(note.as_ptr(), self.page.add(HEAD_BYTES), note.len()) };
        self.length().store(note.len() as u32, Ordering::Release);
        true
    }

    /// Empties the note.
    pub fn clear(&self) {
        self.length().store(0, Ordering::Release);
    }

    /// The note. Only meaningful when the writer is dead.
    pub fn get(&self) -> Vec<u8> {
        let length = (self.length().load(Ordering::Acquire) as usize).min(NOTE_BYTES_MAX);
        // SAFETY: within the mapping.
        unsafe { std::slice::from_raw_parts(self.page.add(HEAD_BYTES), length) }.to_vec()
    }
}

impl Drop for SharedNote {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size.
        unsafe { libc::munmap(self.page.cast(), PAGE_BYTES) };
    }
}
