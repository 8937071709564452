//! A reader that reads nothing: it invents a value of any type of the schema from a seed. So every struct, union and argument list can be
//! generated without saying again what the schema says.

use crate::error::Result;
use crate::wire::{EnumValue, FieldSpec, Reader, Remaining};
use crate::*;

const TEXTS: &[&str] = &[
    "",
    "vagrant",
    "quote \" backslash \\ slash / tab \t newline \n return \r feed \u{c} back \u{8} bell \u{7} nul \0 unit \u{1f} delete \u{7f}",
    "<b a='1'>&amp;</b>",
    "ünïcödé 漢字 🦀 \u{2028}\u{2029}\u{feff}\u{10ffff}",
    "{\"task\": {\"processes\": [{\"cmdline\": \"echo {{mesos.instance}}\"}]}}",
];

const UNIONS: &[&[FieldSpec]] = &[
    TaskConstraint::FIELDS,
    LockKey::FIELDS,
    Image::FIELDS,
    Container::FIELDS,
    Resource::FIELDS,
    SlaPolicy::FIELDS,
    JobUpdateStrategy::FIELDS,
    ResponseResult::FIELDS,
];

pub(super) struct RandomReader {
    state: u64,
    /// For each open struct: the fields still to be returned.
    open: Vec<Option<Vec<&'static FieldSpec>>>,
    current: Option<&'static FieldSpec>,
}

impl RandomReader {
    pub(super) fn new(seed: u64) -> Self {
        RandomReader { state: seed, open: Vec::new(), current: None }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

impl Reader for RandomReader {
    fn charge(&mut self, _bytes: usize) -> Result<()> {
        Ok(())
    }

    fn struct_begin(&mut self) -> Result<()> {
        self.open.push(None);
        Ok(())
    }

    fn field_begin(&mut self, fields: &'static [FieldSpec]) -> Result<Option<i16>> {
        if matches!(self.open.last(), Some(None)) {
            let chosen = if UNIONS.contains(&fields) {
                vec![&fields[self.below(fields.len())]]
            } else {
                fields.iter().filter(|_| self.below(4) > 0).collect()
            };
            *self.open.last_mut().expect("a struct is open") = Some(chosen);
        }
        let left = self.open.last_mut().and_then(Option::as_mut).expect("a struct is open");
        self.current = left.pop();
        if self.current.is_none() {
            self.open.pop();
        }
        Ok(self.current.map(|field| field.id))
    }

    fn field_end(&mut self) -> Result<()> {
        Ok(())
    }

    fn list_begin(&mut self, _element: Kind) -> Result<Remaining> {
        Ok(Remaining(Some(self.below(4))))
    }

    fn list_next(&mut self, remaining: &mut Remaining) -> Result<bool> {
        Ok(remaining.step() == Some(true))
    }

    fn map_begin(&mut self, _value: Kind) -> Result<Remaining> {
        Ok(Remaining(Some(self.below(4))))
    }

    fn map_next(&mut self, remaining: &mut Remaining) -> Result<Option<String>> {
        if self.list_next(remaining)? { self.string().map(Some) } else { Ok(None) }
    }

    fn boolean(&mut self) -> Result<bool> {
        Ok(self.below(2) == 1)
    }

    fn i32(&mut self) -> Result<i32> {
        Ok([0, 1, -1, i32::MIN, i32::MAX, self.next() as i32][self.below(6)])
    }

    fn i64(&mut self) -> Result<i64> {
        Ok([0, 1, -1, i64::MIN, i64::MAX, self.next() as i64][self.below(6)])
    }

    fn double(&mut self) -> Result<f64> {
        let any = f64::from_bits(self.next());
        let any = if any.is_nan() { 0.25 } else { any };
        Ok([0.0, -0.0, 0.1, 1e16, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY, any][self.below(9)])
    }

    fn string(&mut self) -> Result<String> {
        let text = TEXTS[self.below(TEXTS.len())].to_owned();
        Ok(if self.below(3) == 0 { format!("{text}{}", self.next()) } else { text })
    }

    fn binary(&mut self) -> Result<Vec<u8>> {
        let length = self.below(7);
        Ok((0..length).map(|_| self.next() as u8).collect())
    }

    fn enumeration(&mut self) -> Result<EnumValue> {
        // Every enum of the schema has a constant of one of these numbers.
        let name = self.current.map_or("", |field| field.name);
        let constants: &[i32] = match name {
            "responseCode" => &[0, 1, 2, 3, 4, 5, 6],
            "mode" => &[1, 2],
            "cronCollisionPolicy" => &[0, 1, 2],
            "updateStatuses" => &[0, 4, 6, 9, 10],
            "action" => &[1, 2, 3, 4, 5, 6],
            _ => &[1, 2],
        };
        Ok(EnumValue::Number(constants[self.below(constants.len())]))
    }
}
