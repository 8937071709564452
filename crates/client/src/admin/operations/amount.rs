//! Amounts on the command line: a number and a unit, in either case, with or without a final `B` (spec client-cli 4).

/// Cores, e.g. `2.5`.
pub fn cores(text: &str) -> Result<f64, String> {
    let cores: f64 = text.parse().map_err(|_| format!("'{text}' is no number of cores: write for example 2.5"))?;
    if cores.is_finite() && (0.0..=1e9).contains(&cores) {
        Ok(cores)
    } else {
        Err(format!("'{text}' is no number of cores: it must be 0 or more"))
    }
}

/// Whole MB of an amount such as `10m`, `512MB`, `16g`; what is less than one MB is cut off.
pub fn megabytes(text: &str) -> Result<i64, String> {
    let wrong = || format!("'{text}' is no amount: write a number and a unit, for example 512MB, 16g or 1t");
    let upper = text.trim().to_ascii_uppercase();
    let digits = upper.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = upper.split_at(digits);
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let kilobytes = match unit.trim().trim_end_matches('B') {
        "K" => Some(number),
        "M" => number.checked_mul(1 << 10),
        "G" => number.checked_mul(1 << 20),
        "T" => number.checked_mul(1 << 30),
        "" if unit.trim() == "B" => Some(number / 1024),
        _ => return Err(wrong()),
    };
    kilobytes.map(|kilobytes| kilobytes / 1024).ok_or_else(|| format!("'{text}' is too much"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_every_form_scripts_use() {
        for (text, mb) in [
            ("10m", 10),
            ("10MB", 10),
            ("1MB", 1),
            ("0m", 0),
            ("2g", 2048),
            ("1TB", 1 << 20),
            ("2048KB", 2),
            ("3145728B", 3),
        ] {
            assert_eq!(megabytes(text), Ok(mb), "{text}");
        }
        for wrong in
            ["", "10", "m", "10x", "-1m", "1.5g", "10 m b", "99999999999999999999m", "9999999999999999t", "10BB"]
        {
            assert!(megabytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cores_are_a_number_that_is_not_negative() {
        assert_eq!(cores("2.5"), Ok(2.5));
        assert_eq!(cores("0"), Ok(0.0));
        for wrong in ["", "x", "-1", "inf", "NaN", "1e300"] {
            assert!(cores(wrong).is_err(), "{wrong}");
        }
    }
}
