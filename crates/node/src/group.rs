//! The bytes of a group, the same in every storage: on disk, on a replica's wire, in the simulation.
//!
//! Format (all fixed-width numbers little-endian, `varint` is base 128 with the low bits first):
//!
//! ```text
//! u64 epoch   u64 position   u32 previous   u64 durable_before   u32 record count
//! per record: varint table   varint key length   key   varint (0 = delete, else value length + 1)   value
//! ```
//!
//! `previous` is the checksum of the group before, so that a group fits in one place only. `durable_before` is the
//! position known durable when the group was written: whatever is missing at or below it was lost, not unfinished.

use crate::storage::{Epoch, Group, Position, Record};

/// How a group hangs on what came before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// [`checksum`] of the group before this one; 0 for the first group.
    pub previous: u32,
    /// Every group up to here was durable before this one was written.
    pub durable_before: Position,
}

/// Why bytes are not a group. The bytes carry a checksum of their own wherever they are stored, so this means that the
/// writer was a different program, not that a bit flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes end or continue where a group does not")]
pub struct MalformedGroup;

const FIXED_BYTES: usize = 8 + 8 + 4 + 8 + 4;

/// Appends the bytes of a group to `out`.
pub fn encode(group: &Group, link: Link, out: &mut Vec<u8>) {
    let count = u32::try_from(group.records.len()).expect("a group has fewer than 2^32 records");
    out.extend_from_slice(&group.epoch.0.to_le_bytes());
    out.extend_from_slice(&group.position.0.to_le_bytes());
    out.extend_from_slice(&link.previous.to_le_bytes());
    out.extend_from_slice(&link.durable_before.0.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    for record in &group.records {
        encode_record(record, out);
    }
}

/// The checksum by which the next group refers to the group with these bytes.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Reads a group and its link from exactly these bytes.
pub fn decode(bytes: &[u8]) -> Result<(Group, Link), MalformedGroup> {
    let mut records = Vec::new();
    let (header, mut rest) = decode_header(bytes)?;
    for _ in 0..header.record_count {
        records.push(decode_record(&mut rest)?);
    }
    if !rest.is_empty() {
        return Err(MalformedGroup);
    }
    Ok((Group { epoch: header.epoch, position: header.position, records }, header.link))
}

/// The fields of a group before its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// The reign in which the group was decided.
    pub epoch: Epoch,
    /// The group's place.
    pub position: Position,
    /// How it hangs on what came before.
    pub link: Link,
    /// How many records follow.
    pub record_count: u32,
}

/// Reads the fields before the records; the rest of the bytes is returned beside them.
pub fn decode_header(bytes: &[u8]) -> Result<(GroupHeader, &[u8]), MalformedGroup> {
    let (fixed, rest) = bytes.split_at_checked(FIXED_BYTES).ok_or(MalformedGroup)?;
    let number = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("eight bytes"));
    let small = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().expect("four bytes"));
    let header = GroupHeader {
        epoch: Epoch(number(0)),
        position: Position(number(8)),
        link: Link { previous: small(16), durable_before: Position(number(20)) },
        record_count: small(28),
    };
    Ok((header, rest))
}

/// Appends the bytes of one record; snapshots use the same form.
pub fn encode_record(record: &Record, out: &mut Vec<u8>) {
    put_varint(u64::from(record.table), out);
    put_varint(record.key.len() as u64, out);
    out.extend_from_slice(&record.key);
    match &record.value {
        None => put_varint(0, out),
        Some(value) => {
            put_varint(value.len() as u64 + 1, out);
            out.extend_from_slice(value);
        }
    }
}

/// Takes one record off the front of `bytes`.
pub fn decode_record(bytes: &mut &[u8]) -> Result<Record, MalformedGroup> {
    let table = u32::try_from(take_varint(bytes)?).map_err(|_| MalformedGroup)?;
    let key_length = take_varint(bytes)?;
    let key = take(bytes, key_length)?.to_vec();
    let value = match take_varint(bytes)? {
        0 => None,
        length_plus_one => Some(take(bytes, length_plus_one - 1)?.to_vec()),
    };
    Ok(Record { table, key, value })
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, MalformedGroup> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(MalformedGroup)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(MalformedGroup);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(MalformedGroup)
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], MalformedGroup> {
    let length = usize::try_from(length).map_err(|_| MalformedGroup)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(MalformedGroup)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Group, Link) {
        let records = vec![
            Record { table: 1, key: b"k".to_vec(), value: Some(vec![7; 300]) },
            Record { table: u32::MAX, key: Vec::new(), value: None },
            Record { table: 0, key: vec![0; 200], value: Some(Vec::new()) },
        ];
        let group = Group { epoch: Epoch(3), position: Position(9), records };
        (group, Link { previous: 0xdead_beef, durable_before: Position(7) })
    }

    #[test]
    fn a_group_comes_back_from_its_bytes() {
        let (group, link) = sample();
        let mut bytes = Vec::new();
        encode(&group, link, &mut bytes);
        assert_eq!(decode(&bytes), Ok((group, link)));
    }

    #[test]
    fn a_group_cut_anywhere_or_lengthened_is_refused() {
        let (group, link) = sample();
        let mut bytes = Vec::new();
        encode(&group, link, &mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Err(MalformedGroup), "cut to {length}");
        }
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(MalformedGroup));
    }

    #[test]
    fn an_empty_value_and_a_delete_are_different_records() {
        let put = Record { table: 1, key: b"k".to_vec(), value: Some(Vec::new()) };
        let delete = Record { value: None, ..put.clone() };
        let (mut a, mut b) = (Vec::new(), Vec::new());
        encode_record(&put, &mut a);
        encode_record(&delete, &mut b);
        assert_ne!(a, b);
    }

    #[test]
    fn a_number_longer_than_64_bits_is_refused() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(take_varint(&mut bytes), Err(MalformedGroup));
    }
}
