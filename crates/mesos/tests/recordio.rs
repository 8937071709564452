//! The framing: any split of the stream gives the same records, hostile streams give an error and never a wrong record.

use mesos::recordio::{Decoder, RecordError, encode};
use proptest::prelude::*;

const LIMIT: u64 = 1 << 20;

/// Feeds the stream cut at the given places and gathers what comes out.
fn decode(stream: &[u8], cuts: &[usize]) -> Result<Vec<Vec<u8>>, RecordError> {
    let mut decoder = Decoder::new(LIMIT);
    let mut records = Vec::new();
    let mut from = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).chain([stream.len()]).collect();
    ends.sort_unstable();
    for end in ends {
        decoder.extend(&stream[from..end]);
        from = end;
        while let Some(record) = decoder.next_record()? {
            records.push(record.to_vec());
        }
    }
    Ok(records)
}

#[test]
fn the_bytes_of_the_documented_example() {
    let mut stream = Vec::new();
    encode(br#"{"type": "HEARTBEAT"}"#, &mut stream);
    encode(&[0; 120], &mut stream);
    assert_eq!(&stream[..24], b"21\n{\"type\": \"HEARTBEAT\"}");
    assert_eq!(&stream[24..28], b"120\n");
    assert_eq!(stream.len(), 28 + 120);
}

#[test]
fn an_empty_line_before_a_length_is_let_pass() {
    assert_eq!(decode(b"\n3\nabc\r\n\n2\nde", &[]), Ok(vec![b"abc".to_vec(), b"de".to_vec()]));
}

#[test]
fn what_is_not_whole_waits() {
    let mut decoder = Decoder::new(LIMIT);
    assert!(decoder.is_between_records());
    for piece in [&b"1"[..], b"0", b"\n", b"0123", b"45678"] {
        decoder.extend(piece);
        assert_eq!(decoder.next_record(), Ok(None));
        assert!(!decoder.is_between_records());
    }
    decoder.extend(b"91\n");
    assert_eq!(decoder.next_record().unwrap().unwrap(), &b"0123456789"[..]);
    assert_eq!(decoder.next_record(), Ok(None));
    assert!(!decoder.is_between_records(), "a length without its record has begun");
}

#[test]
fn absurd_lengths_are_errors_at_once_and_for_ever() {
    for (stream, error) in [
        (&b"-1\nabc"[..], RecordError::Length(b'-')),
        (b"3 \nabc", RecordError::Length(b' ')),
        (b"HTTP/1.1", RecordError::Length(b'H')),
        (b"0\n", RecordError::Empty),
        (b"123456789012345678901", RecordError::TooManyDigits),
        (b"1048577\n", RecordError::TooLong { length: 1_048_577, limit: LIMIT }),
        (b"99999999999999999999\n", RecordError::TooLong { length: u64::MAX, limit: LIMIT }),
    ] {
        let mut decoder = Decoder::new(LIMIT);
        decoder.extend(stream);
        assert_eq!(decoder.next_record(), Err(error));
        decoder.extend(b"3\nabc");
        assert_eq!(decoder.next_record(), Err(error), "nothing after an error can be trusted");
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_records(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let mut stream = Vec::new();
        for record in &records {
            encode(record, &mut stream);
        }
        prop_assert_eq!(decode(&stream, &cuts), Ok(records));
    }

    #[test]
    fn hostile_bytes_give_the_same_outcome_however_they_arrive(
        stream in prop::collection::vec(prop_oneof![Just(b'\n'), b'0'..=b'9', any::<u8>()], 0..400),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let whole = decode(&stream, &[]);
        let cut = decode(&stream, &cuts);
        prop_assert_eq!(&whole, &cut);
        if let Ok(records) = whole {
            prop_assert!(records.iter().map(Vec::len).sum::<usize>() <= stream.len());
        }
    }

    #[test]
    fn a_flipped_byte_never_makes_a_record_longer_than_the_limit(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 1..6),
        at in any::<usize>(),
        byte in any::<u8>(),
    ) {
        let mut stream = Vec::new();
        for record in &records {
            encode(record, &mut stream);
        }
        let at = at % stream.len();
        stream[at] = byte;
        if let Ok(records) = decode(&stream, &[]) {
            for record in records {
                prop_assert!(!record.is_empty() && record.len() as u64 <= LIMIT);
            }
        }
    }
}
