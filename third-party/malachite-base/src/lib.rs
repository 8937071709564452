//! The three items of `malachite-base` that the embedded interpreter names, written anew so that no LGPL code is linked.

/// How an inexact result is rounded. The interpreter asks for one way only.
pub mod rounding_modes {
    /// The direction of rounding.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum RoundingMode {
        /// To the nearest representable value, ties to the even one.
        Nearest,
    }
}

/// Numeric traits.
pub mod num {
    /// Traits of primitive numbers.
    pub mod basic {
        /// Traits of primitive floats.
        pub mod floats {
            /// What the interpreter asks of a primitive float.
            pub trait PrimitiveFloat {
                /// True for `-0.0` only, neither for `0.0` nor for other negative numbers.
                fn is_negative_zero(&self) -> bool;
            }

            impl PrimitiveFloat for f64 {
                fn is_negative_zero(&self) -> bool {
                    *self == 0.0 && self.is_sign_negative()
                }
            }
        }
    }

    /// Conversions between kinds of numbers.
    pub mod conversion {
        /// Traits of conversions.
        pub mod traits {
            use crate::rounding_modes::RoundingMode;
            use core::cmp::Ordering;

            /// A conversion that may have to round.
            pub trait RoundingInto<T> {
                /// The converted value, and how it compares with the exact one.
                fn rounding_into(self, mode: RoundingMode) -> (T, Ordering);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::num::basic::floats::PrimitiveFloat;

    #[test]
    fn only_minus_zero_is_negative_zero() {
        assert!((-0.0_f64).is_negative_zero());
        for other in [0.0_f64, -1.0, f64::MIN_POSITIVE, -f64::MIN_POSITIVE, f64::NAN, -f64::INFINITY] {
            assert!(!other.is_negative_zero(), "{other}");
        }
    }
}
