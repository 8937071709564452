//! The order in which a dictionary of CPython 2.7 gives its keys, and a set its elements.
//!
//! Aurora's client ran on it, and the data it gave to executors is JSON written in that order. Schedulers compare the data as text, so
//! whoever writes the same job must write the same order. The order follows from the hashes of the keys, the size of the table, and,
//! where hashes collide, from the order in which keys were put in. Nothing else of either is here.

use num_traits::ToPrimitive;

use super::raw::Raw;

/// Slots of a new table.
const SMALLEST: usize = 8;
/// How far a search's disturbance is shifted at each step.
const PERTURB_SHIFT: u32 = 5;

/// The hash of a text, of letters up to U+00FF as a string, beyond as a unicode string; equal for both where both can be.
fn hash(text: &str) -> u64 {
    let mut letters = text.chars().map(|letter| u64::from(u32::from(letter)));
    let Some(first) = letters.next() else { return 0 };
    let start = (first << 7).wrapping_mul(1_000_003) ^ first;
    let mixed = letters.fold(start, |hash, letter| hash.wrapping_mul(1_000_003) ^ letter);
    unmarked(mixed ^ text.chars().count() as u64)
}

/// The mark of an error is no hash.
fn unmarked(hash: u64) -> u64 {
    if hash == u64::MAX { u64::MAX - 1 } else { hash }
}

/// The hash of a tuple.
fn tuple_hash(items: &[u64]) -> u64 {
    let (mut hash, mut multiplier) = (0x0034_5678_u64, 1_000_003_u64);
    for (number, item) in items.iter().enumerate() {
        hash = (hash ^ item).wrapping_mul(multiplier);
        let left = (items.len() - number - 1) as u64;
        multiplier = multiplier.wrapping_add(82_520 + left + left);
    }
    unmarked(hash.wrapping_add(97_531))
}

/// The hash of what an object holds: dictionaries as tuples of their entries in the order of their keys. `None` where it would not be the
/// same in two runs, or is not known here.
fn value_hash(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Boolean(value) => Some(u64::from(*value)),
        Raw::Integer(value) => Some(unmarked(value.to_i64()? as u64)),
        Raw::Text(text) => Some(hash(text)),
        Raw::List(items) => Some(tuple_hash(&items.iter().map(value_hash).collect::<Option<Vec<_>>>()?)),
        Raw::Map(entries) => {
            let mut entries: Vec<(String, &Raw)> = entries.iter().map(|(key, value)| (key.shown(), value)).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let pairs = entries.into_iter().map(|(key, value)| Some(tuple_hash(&[hash(&key), value_hash(value)?])));
            Some(tuple_hash(&pairs.collect::<Option<Vec<_>>>()?))
        }
        Raw::Float(_) | Raw::None | Raw::Object(_) | Raw::Foreign { .. } => None,
    }
}

/// The numbers of different values in the order in which a set gives them into which they were put one by one; in that order itself where
/// a set's is not known.
pub fn set_order(values: &[Raw]) -> Vec<usize> {
    let hashes: Option<Vec<u64>> = values.iter().map(value_hash).collect();
    match hashes {
        Some(hashes) => Table::of(&hashes).keys().collect(),
        None => (0..values.len()).collect(),
    }
}

/// A table of keys, by number.
struct Table {
    slots: Vec<Option<(u64, usize)>>,
    used: usize,
}

impl Table {
    fn with_slots_beyond(least: usize) -> Self {
        let mut slots = SMALLEST;
        while slots <= least {
            slots *= 2;
        }
        Self { slots: vec![None; slots], used: 0 }
    }

    /// The table into which keys of these hashes were put one by one.
    fn of(hashes: &[u64]) -> Self {
        let mut table = Self::with_slots_beyond(0);
        for (number, hash) in hashes.iter().enumerate() {
            table.place(*hash, number);
            if table.is_crowded(table.used) {
                let factor = if table.used > 50_000 { 2 } else { 4 };
                table.grow(factor * table.used);
            }
        }
        table
    }

    fn place(&mut self, hash: u64, key: usize) {
        let mask = self.slots.len() as u64 - 1;
        let (mut at, mut perturb) = (hash & mask, hash);
        while self.slots[at as usize].is_some() {
            let (four, one) = (at << 2, at);
            at = four.wrapping_add(one).wrapping_add(perturb).wrapping_add(1);
            perturb >>= PERTURB_SHIFT;
            at &= mask;
        }
        self.slots[at as usize] = Some((hash, key));
        self.used += 1;
    }

    fn is_crowded(&self, entries: usize) -> bool {
        entries * 3 >= self.slots.len() * 2
    }

    fn grow(&mut self, least: usize) {
        let mut larger = Self::with_slots_beyond(least);
        for (hash, key) in self.slots.iter().flatten() {
            larger.place(*hash, *key);
        }
        *self = larger;
    }

    fn keys(self) -> impl Iterator<Item = usize> {
        self.slots.into_iter().flatten().map(|(_, key)| key)
    }
}

/// The keys of a dictionary into which they were put one by one. They must differ.
pub fn filled<'a>(keys: &[&'a str]) -> Vec<&'a str> {
    let hashes: Vec<u64> = keys.iter().map(|key| hash(key)).collect();
    Table::of(&hashes).keys().map(|number| keys[number]).collect()
}

/// The keys of a copy of a dictionary that gives them in this order.
pub fn copied<'a>(keys: &[&'a str]) -> Vec<&'a str> {
    let mut table = Table::with_slots_beyond(0);
    if table.is_crowded(keys.len()) {
        table.grow(keys.len() * 2);
    }
    for (number, key) in keys.iter().enumerate() {
        table.place(hash(key), number);
    }
    table.keys().map(|number| keys[number]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_python_2_7() {
        // As python2.7 prints them, on 64 bits, without -R.
        for (text, expected) in [
            ("", 0),
            ("a", 12_416_037_344),
            ("name", -4_166_578_487_145_698_715),
            ("environment", 4_675_311_066_165_635_120),
            ("graceful_shutdown_wait_secs", -2_453_289_787_206_547_544),
            ("a/b-c.d", -5_408_376_501_646_633_665),
            ("\u{fc}", 32_256_097_021),
            ("\u{6f22}x", 3_641_621_827_394_707_612),
        ] {
            assert_eq!(hash(text) as i64, expected, "{text}");
        }
    }

    #[test]
    fn keys_come_in_the_order_of_python_2_7() {
        let order = |keys: &str| filled(&keys.split(' ').collect::<Vec<_>>()).join(" ");
        for (given, expected) in [
            ("admin x2", "admin x2"),
            ("port-8 batch_size x2", "x2 port-8 batch_size"),
            ("longer_name_of_a_key a ram batch_size health", "a longer_name_of_a_key ram health batch_size"),
            (
                "longer_name_of_a_key value disk cluster ram with/slash",
                "longer_name_of_a_key with/slash ram value cluster disk",
            ),
            (
                "a environment zone port-8 health value admin name disk",
                "a name zone admin port-8 value environment health disk",
            ),
            (
                "value a port-8 environment UPPER longer_name_of_a_key x1 cluster x3 dedicated disk instances gpu health",
                "a longer_name_of_a_key dedicated disk UPPER port-8 value environment cluster health gpu x3 x1 instances",
            ),
            (
                "instances UPPER zone host value with/slash b cluster disk a x1 environment role admin x2 gpu http longer_name_of_a_key health rack batch_size key",
                "with/slash cluster disk zone environment health role http longer_name_of_a_key batch_size host key gpu x2 x1 a UPPER b instances admin value rack",
            ),
            (
                "with/slash a x2 host ram batch_size b value x1 longer_name_of_a_key instances gpu http environment role cluster UPPER x3 zone key disk port-8 cpu rack dedicated health name admin",
                "dedicated with/slash ram cluster disk zone environment health role gpu http UPPER port-8 batch_size host key x2 x3 x1 a longer_name_of_a_key b name instances admin value rack cpu",
            ),
        ] {
            assert_eq!(order(given), expected);
        }
        assert_eq!(filled(&[]), Vec::<&str>::new());
    }

    #[test]
    fn copies_are_made_at_their_size() {
        for (given, expected) in [
            ("admin x2", "admin x2"),
            ("port-8 batch_size x2", "x2 port-8 batch_size"),
            ("longer_name_of_a_key a ram batch_size health", "a longer_name_of_a_key ram health batch_size"),
            (
                "longer_name_of_a_key value disk cluster ram with/slash",
                "longer_name_of_a_key disk with/slash cluster ram value",
            ),
            (
                "a environment zone port-8 health value admin name disk",
                "a name zone admin port-8 value environment health disk",
            ),
            (
                "value a port-8 environment UPPER longer_name_of_a_key x1 cluster x3 dedicated disk instances gpu health",
                "a longer_name_of_a_key dedicated x1 UPPER port-8 value environment cluster health x3 gpu disk instances",
            ),
            (
                "instances UPPER zone host value with/slash b cluster disk a x1 environment role admin x2 gpu http longer_name_of_a_key health rack batch_size key",
                "with/slash UPPER batch_size cluster host b key gpu x2 http disk a longer_name_of_a_key x1 zone instances admin value environment health role rack",
            ),
            (
                "with/slash a x2 host ram batch_size b value x1 longer_name_of_a_key instances gpu http environment role cluster UPPER x3 zone key disk port-8 cpu rack dedicated health name admin",
                "dedicated with/slash longer_name_of_a_key ram port-8 batch_size cluster host b key gpu x2 http disk a UPPER x1 name zone instances admin value cpu environment health role x3 rack",
            ),
        ] {
            assert_eq!(copied(&filled(&given.split(' ').collect::<Vec<_>>())).join(" "), expected);
        }
    }
}
