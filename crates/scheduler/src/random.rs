//! The core's only generator of random numbers: xoshiro256**, seeded by the input `Start`. Not for secrets.

/// A small deterministic generator; the same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// A generator for that seed. Any seed will do, the all-zero one included.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut state = [0u64; 4];
        let mut mixer = 0x9e37_79b9_7f4a_7c15u64;
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            mixer = mixer.wrapping_add(u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
            mixer = mixer.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = mixer;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *word = mixed ^ (mixed >> 31);
        }
        // All zero is the one state from which the generator never moves.
        if state == [0; 4] {
            state[0] = 1;
        }
        Self { state }
    }

    /// The next 64 random bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        let result = self.state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = self.state[1] << 17;
        self.state[2] ^= self.state[0];
        self.state[3] ^= self.state[1];
        self.state[1] ^= self.state[2];
        self.state[0] ^= self.state[3];
        self.state[2] ^= shifted;
        self.state[3] = self.state[3].rotate_left(45);
        result
    }

    /// The next 128 random bits, for task and update ids.
    pub(crate) fn next_u128(&mut self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A fraction in [0, 1).
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// The scheduler's back-off: each wait is the last one times a random factor of 1 to 2, within a cap; the first is drawn
/// from `initial` to twice that (spec scheduler 1.5).
pub(crate) fn backoff_ms(random: &mut Random, last_ms: u64, initial_ms: u64, max_ms: u64) -> u64 {
    let half = if last_ms == 0 { initial_ms } else { last_ms };
    let grown = half.saturating_add((random.fraction() * half as f64).round() as u64);
    grown.min(max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            (0..8).map(|_| random.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(numbers([7; 32]), numbers([7; 32]));
        assert_ne!(numbers([7; 32]), numbers([8; 32]));
        assert_ne!(numbers([0; 32]), vec![0; 8]);
    }

    #[test]
    fn bounds_hold() {
        let mut random = Random::new([1; 32]);
        for _ in 0..1000 {
            assert!(random.below(7) < 7);
            assert!((0.0..1.0).contains(&random.fraction()));
        }
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn backoff_starts_between_one_and_two_initials_grows_at_most_twofold_and_ends_at_the_cap() {
        let mut random = Random::new([3; 32]);
        for _ in 0..200 {
            let mut last = backoff_ms(&mut random, 0, 30_000, 300_000);
            assert!((30_000..=60_000).contains(&last));
            for _ in 0..40 {
                let next = backoff_ms(&mut random, last, 30_000, 300_000);
                assert!(next >= last && next <= 2 * last && next <= 300_000);
                last = next;
            }
            assert_eq!(last, 300_000);
        }
    }
}
