//! The part of `malachite-q` that the embedded interpreter uses, written anew so that no LGPL code is linked: the true
//! division of big integers (correctly rounded) and the exact ratio of a float.

use core::cmp::Ordering;
use malachite_base::{num::conversion::traits::RoundingInto, rounding_modes::RoundingMode};
use malachite_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// A quotient of two integers. Not reduced unless it came from a float.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rational {
    numerator: BigInt,
    denominator: BigInt,
}

/// The number is infinite or not a number, so it is no ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARatio;

impl Rational {
    /// The quotient `numerator / denominator`; the denominator must not be zero.
    pub fn from_integers_ref(numerator: &BigInt, denominator: &BigInt) -> Self {
        assert!(!denominator.is_zero(), "a ratio with the denominator zero");
        Self { numerator: numerator.clone(), denominator: denominator.clone() }
    }

    /// The magnitudes of both parts.
    pub fn into_numerator_and_denominator(self) -> (BigUint, BigUint) {
        (self.numerator.into_parts().1, self.denominator.into_parts().1)
    }
}

impl TryFrom<f64> for Rational {
    type Error = NotARatio;

    /// The exact value of a finite float in lowest terms.
    fn try_from(value: f64) -> Result<Self, NotARatio> {
        if !value.is_finite() {
            return Err(NotARatio);
        }
        let bits = value.to_bits();
        let biased = (bits >> 52) & 0x7ff;
        let fraction = bits & ((1 << 52) - 1);
        // Subnormal numbers have no hidden bit and the smallest exponent.
        let (mantissa, exponent) =
            if biased == 0 { (fraction, -1074) } else { (fraction | (1 << 52), biased as i64 - 1075) };
        let sign = if value < 0.0 { Sign::Minus } else { Sign::Plus };
        let mantissa = BigInt::from_biguint(sign, BigUint::from(mantissa));
        let (numerator, denominator) = if exponent >= 0 {
            (mantissa << exponent as usize, BigInt::one())
        } else {
            (mantissa, BigInt::one() << (-exponent) as usize)
        };
        let divisor = numerator.gcd(&denominator);
        Ok(Self { numerator: numerator / &divisor, denominator: denominator / divisor })
    }
}

impl RoundingInto<f64> for Rational {
    fn rounding_into(self, mode: RoundingMode) -> (f64, Ordering) {
        let RoundingMode::Nearest = mode;
        let negative = self.numerator.is_negative() != self.denominator.is_negative();
        let (numerator, denominator) = self.into_numerator_and_denominator();
        let (magnitude, order) = nearest(numerator, denominator);
        if negative { (-magnitude, order.reverse()) } else { (magnitude, order) }
    }
}

/// The float nearest to `numerator / denominator`, ties to even, and how it compares with the exact quotient.
/// Beyond the largest float the result is infinity.
fn nearest(numerator: BigUint, denominator: BigUint) -> (f64, Ordering) {
    if numerator.is_zero() {
        return (0.0, Ordering::Equal);
    }
    // The quotient lies in (2^(magnitude - 1), 2^(magnitude + 1)).
    let magnitude = numerator.bits() as i64 - denominator.bits() as i64;
    if magnitude > 1025 {
        return (f64::INFINITY, Ordering::Greater);
    }
    if magnitude < -1080 {
        return (0.0, Ordering::Less);
    }
    // Scale so that the integer quotient has 55 or 56 bits: 53 to keep and at least two to round by; fewer for subnormals,
    // whose last kept bit is worth 2^-1074.
    let scale = (55 - magnitude).min(1076);
    let (scaled, divisor) = if scale >= 0 {
        (numerator << scale as usize, denominator)
    } else {
        (numerator, denominator << (-scale) as usize)
    };
    let (quotient, remainder) = scaled.div_rem(&divisor);
    let quotient = quotient.to_u64().expect("at most 56 bits");
    let bits = 64 - i64::from(quotient.leading_zeros());
    // At least two and at most 56: a quotient has 55 or 56 bits, or fewer when its last bit is worth 2^-1076.
    let dropped = (bits - 53).max(scale - 1074) as u32;
    let (kept, rest) = (quotient >> dropped, quotient & ((1_u64 << dropped) - 1));
    let exact = rest == 0 && remainder.is_zero();
    let half = 1_u64 << (dropped - 1);
    let up = match rest.cmp(&half) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => !remainder.is_zero() || kept & 1 == 1,
    };
    let mantissa = kept + u64::from(up);
    let order = match (exact, up) {
        (true, _) => Ordering::Equal,
        (false, true) => Ordering::Greater,
        (false, false) => Ordering::Less,
    };
    (times_power_of_two(mantissa, i64::from(dropped) - scale), order)
}

/// `mantissa * 2^exponent`, where the mantissa has at most 54 bits and the product is representable or overflows.
fn times_power_of_two(mantissa: u64, exponent: i64) -> f64 {
    let mut value = mantissa as f64;
    let mut left = exponent;
    // Each step is a power that is itself a normal float, so no step rounds.
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        value *= f64::from_bits(((step + 1023) as u64) << 52);
        left -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(numerator: i128, denominator: i128) -> f64 {
        Rational::from_integers_ref(&numerator.into(), &denominator.into()).rounding_into(RoundingMode::Nearest).0
    }

    #[test]
    fn small_quotients_equal_the_float_division() {
        // Both operands are exact floats, so the processor's division is the correctly rounded quotient.
        for numerator in [-1_000_003_i128, -7, -1, 0, 1, 2, 3, 10, 12_345_678_901] {
            for denominator in [-49_i128, -3, -1, 1, 3, 7, 10, 1 << 40] {
                assert_eq!(
                    divide(numerator, denominator),
                    numerator as f64 / denominator as f64,
                    "{numerator}/{denominator}"
                );
            }
        }
    }

    #[test]
    fn large_quotients_round_to_nearest_even() {
        let two_53 = 1_i128 << 53;
        assert_eq!(divide(two_53 + 1, 1), two_53 as f64);
        assert_eq!(divide(two_53 + 3, 1), (two_53 + 4) as f64);
        assert_eq!(divide(2 * two_53 + 3, 2), (two_53 + 2) as f64);
        assert_eq!(divide(i128::MAX, 1), i128::MAX as f64);
        assert_eq!(divide(i128::MAX, i128::MAX - 1), 1.0);
        assert_eq!(divide(10_i128.pow(37) + 1, 10_i128.pow(36) * 3), 10.0 / 3.0);
    }

    #[test]
    fn the_ends_of_the_range_are_right() {
        let one = BigInt::one();
        let divide = |n: &BigInt, d: &BigInt| Rational::from_integers_ref(n, d).rounding_into(RoundingMode::Nearest).0;
        let largest = (BigInt::one() << 1024_usize) - (BigInt::one() << 971_usize);
        assert_eq!(divide(&largest, &one), f64::MAX);
        assert_eq!(divide(&(BigInt::one() << 1024_usize), &one), f64::INFINITY);
        assert_eq!(divide(&-(BigInt::one() << 2000_usize), &one), f64::NEG_INFINITY);
        let tiny = BigInt::one() << 1074_usize;
        assert_eq!(divide(&one, &tiny), f64::from_bits(1));
        assert_eq!(divide(&BigInt::from(3), &(&tiny * 2)), f64::from_bits(2));
        assert_eq!(divide(&one, &(&tiny * 2)), 0.0);
        assert_eq!(divide(&BigInt::from(3), &(&tiny * 4)), f64::from_bits(1));
        assert_eq!(divide(&one, &(BigInt::one() << 1022_usize)), f64::MIN_POSITIVE);
        assert_eq!(divide(&one, &(BigInt::one() << 5000_usize)), 0.0);
    }

    #[test]
    fn a_float_is_the_ratio_it_stands_for() {
        for value in [0.5, 1.0, -0.1, 1e300, 5e-324, -123.456, f64::MAX, f64::MIN_POSITIVE] {
            let ratio = Rational::try_from(value).expect("finite");
            assert_eq!(ratio.numerator.gcd(&ratio.denominator), BigInt::one(), "{value} is not reduced");
            assert_eq!(ratio.rounding_into(RoundingMode::Nearest), (value, Ordering::Equal));
        }
        assert_eq!(Rational::try_from(0.75).unwrap().into_numerator_and_denominator(), (3_u8.into(), 4_u8.into()));
        assert_eq!(Rational::try_from(f64::NAN), Err(NotARatio));
        assert_eq!(Rational::try_from(f64::INFINITY), Err(NotARatio));
    }
}
