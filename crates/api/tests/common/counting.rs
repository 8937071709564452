//! An allocator that counts what the process has in use, its peak, and the largest allocation.

#![allow(dead_code, reason = "not everybody asks for all of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What was allocated since a moment, in bytes.
pub struct Counted {
    before: usize,
}

/// What one piece of work took, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The peak above what was in use before.
    pub peak: usize,
    /// The largest allocation.
    pub largest: usize,
}

impl Counted {
    /// From now on. Counts the whole process, so that one piece of work is counted at a time.
    pub fn begin() -> Self {
        let before = IN_USE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        LARGEST.store(0, Ordering::Relaxed);
        Self { before }
    }

    /// Until now.
    pub fn taken(&self) -> Taken {
        let peak = PEAK.load(Ordering::Relaxed).saturating_sub(self.before);
        Taken { peak, largest: LARGEST.load(Ordering::Relaxed) }
    }
}
