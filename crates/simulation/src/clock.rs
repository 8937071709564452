//! A clock that the test moves, and a source of chance that a seed determines.

use std::cell::Cell;
use std::rc::Rc;

use node::{Clock, Entropy, Now};

/// Time by hand. Clones show the same time. The two clocks move apart as on a real machine: the wall clock can be set, the
/// monotonic one only goes on.
#[derive(Clone, Debug)]
pub struct HandClock(Rc<Cell<Now>>);

impl HandClock {
    /// A clock at the given wall time, in ms since the epoch; its monotonic time begins at 0.
    pub fn at(wall_ms: i64) -> HandClock {
        HandClock(Rc::new(Cell::new(Now { wall_ms, monotonic_ms: 0 })))
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, ms: u64) {
        let now = self.0.get();
        self.0.set(Now { wall_ms: now.wall_ms + ms as i64, monotonic_ms: now.monotonic_ms + ms });
    }

    /// Sets the wall clock, forwards or backwards, as an administrator or a time server does.
    pub fn step_wall(&self, by_ms: i64) {
        let now = self.0.get();
        self.0.set(Now { wall_ms: now.wall_ms + by_ms, ..now });
    }

    /// A restarted machine: the monotonic clock begins again.
    pub fn reboot(&self) {
        self.0.set(Now { monotonic_ms: 0, ..self.0.get() });
    }

    /// The time it shows.
    pub fn show(&self) -> Now {
        self.0.get()
    }
}

impl Clock for HandClock {
    fn now(&mut self) -> Now {
        self.0.get()
    }
}

/// A generator (SplitMix64) whose whole future is its seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// True once in `times` on average.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

impl Entropy for Dice {
    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        seed.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.roll().to_le_bytes()));
        seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_can_be_set_and_the_monotonic_one_cannot() {
        let clock = HandClock::at(1_000_000);
        clock.advance(50);
        clock.step_wall(-3_600_000);
        assert_eq!(clock.show(), Now { wall_ms: 1_000_050 - 3_600_000, monotonic_ms: 50 });
        clock.reboot();
        assert_eq!(clock.clone().now().monotonic_ms, 0);
    }

    #[test]
    fn the_same_seed_gives_the_same_chance_and_another_gives_other() {
        let (mut one, mut same, mut other) = (Dice::new(7), Dice::new(7), Dice::new(8));
        let seed = one.seed();
        assert_eq!(seed, same.seed());
        assert_ne!(seed, other.seed());
        assert_ne!(seed, one.seed());
    }
}
