//! What a Mesos master sends.

use mesos::recordio::Decoder;
use mesos::v1::{executor, scheduler};
use prost::Message;

const LIMIT: u64 = 1 << 16;

/// However a stream is cut into pieces, the same records come out, and the same error. The first byte says how it is cut.
pub fn recordio(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = records(&[stream]);
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(cut).max(1)).collect();
    assert_eq!(records(&pieces), whole);
    for record in whole.0 {
        if let Ok(event) = scheduler::Event::decode(&record[..]) {
            let again = scheduler::Event::decode(&event.encode_to_vec()[..]).expect("what was written can be read");
            assert_eq!(again.encode_to_vec(), event.encode_to_vec());
        }
        let _ = executor::Event::decode(&record[..]);
    }
}

fn records(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<String>) {
    let (mut decoder, mut records) = (Decoder::new(LIMIT), Vec::new());
    for piece in pieces {
        decoder.extend(piece);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record.to_vec()),
                Ok(None) => break,
                Err(error) => return (records, Some(error.to_string())),
            }
        }
    }
    (records, None)
}
