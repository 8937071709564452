//! What lies in a journal.

use journal::format::{self, FileHeader, FileKind, Found, Place};
use node::group;
use scheduler::{Input, Now, Scheduler, Settings};

/// A group of records is refused or taken whole; what was taken can be written and read again; a scheduler that starts with it lives.
pub fn records(data: &[u8]) {
    let Ok((read, link)) = group::decode(data) else { return };
    let mut written = Vec::new();
    group::encode(&read, link, &mut written);
    assert_eq!(group::decode(&written).expect("what was written can be read"), (read.clone(), link));
    let mut scheduler = Scheduler::new(Settings::default());
    for record in &read.records {
        if let Err(error) = scheduler.apply(record) {
            drop(error.to_string());
            return;
        }
    }
    let mut second = Scheduler::new(Settings::default());
    for record in Scheduler::records(&scheduler.freeze()) {
        second.apply(&record).expect("what was stored can be read");
    }
    let listed = |scheduler: &Scheduler| Scheduler::records(&scheduler.freeze()).collect::<Vec<_>>();
    assert_eq!(listed(&second), listed(&scheduler));
    let mut monotonic_ms = 1;
    let mut step = |input| {
        monotonic_ms += 1;
        scheduler.step(Now { wall_ms: 1_800_000_000_000, monotonic_ms }, input).more
    };
    let mut more = step(Input::Start { seed: [1; 32], epoch: 9 });
    for _ in 0..100 {
        more = step(if more { Input::Resume } else { Input::Tick });
    }
}

/// Nothing in a file is taken for a frame that was not written there; damage never makes the reader go astray.
pub fn frames(data: &[u8]) {
    let header = FileHeader::decode(FileKind::Segment, data);
    let _ = FileHeader::decode(FileKind::Snapshot, data);
    let (journal, number) = header.map_or(([7; 16], 3), |header| (header.journal, header.number));
    let place = Place { journal, number };
    let mut at = 0;
    while let Some(frame) = format::next_frame(place, data, at) {
        assert!(frame.offset >= at && frame.end > frame.offset && frame.end <= data.len());
        assert!(matches!(format::frame_at(place, data, frame.offset), Found::Frame(_)));
        let _ = (format::read_mark(frame.body), format::read_seal(frame.body), group::decode(frame.body));
        at = frame.end;
    }
    if let Ok(name) = std::str::from_utf8(data) {
        let _ = format::parse_name(name);
    }
}
