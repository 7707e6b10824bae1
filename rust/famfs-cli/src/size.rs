//! Sizes and other numbers, as they are typed and printed.
//!
//! K, M, G and T are powers of 1024, as the reference has them. Nothing is guessed or rounded: a
//! size that isn't a whole number with a known unit is refused. Python reads its sizes here too.

use std::time::Duration;

use bytesize::ByteSize;

/// Reads a size: a whole number of bytes, or of a unit, with or without a space between.
///
/// ```
/// use famfs_cli::size::parse;
///
/// assert_eq!(parse("4096"), Ok(4096));
/// for text in ["8M", "8m", "8Mi", "8MiB", "8 MiB"] {
///     assert_eq!(parse(text), Ok(8 << 20));
/// }
/// assert!(parse("8MB").unwrap_err().contains("write 8M or 8MiB"));
/// ```
///
/// # Errors
/// What is wrong with the text. Decimal units are refused: MB is 10^6 to some and 2^20 to others.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let wrong = || format!("{text:?} is no size; expected a number such as 4096, 8M or 1GiB");
    let large = || format!("{text:?} is more than 2^64 bytes");
    let unit = suffix.strip_prefix(' ').unwrap_or(suffix);
    if number.is_empty() || !unit.is_ascii() || unit.is_empty() != suffix.is_empty() {
        return Err(wrong());
    }
    let (letter, rest) = unit.split_at(unit.len().min(1));
    let shift = match letter.to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    match rest.to_ascii_lowercase().as_str() {
        "" | "i" | "ib" => {}
        "b" => {
            let letter = letter.to_ascii_uppercase();
            return Err(format!(
                "{text:?}: units are powers of 1024; write {number}{letter} or {number}{letter}iB"
            ));
        }
        _ => return Err(wrong()),
    }
    let number: u64 = number.parse().map_err(|_| large())?;
    number.checked_mul(1 << shift).ok_or_else(large)
}

/// A size for people.
pub(crate) fn show(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// Reads seconds, such as `0.5`.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?}: seconds were expected, such as 0.5 or 30");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// Reads permission bits in octal, such as `0640`.
pub(crate) fn parse_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !digits.is_empty() && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| is_octal && *mode <= 0o7777)
        .ok_or_else(|| format!("{text:?} is no mode; expected permission bits such as 0644"))
}

/// Permission bits as they are printed.
pub(crate) fn show_mode(mode: u32) -> String {
    format!("{mode:04o}")
}

/// So many of something, in words.
pub(crate) fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_powers_of_1024() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("8M", 8 << 20),
            ("8m", 8 << 20),
            ("8MiB", 8 << 20),
            ("8Mi", 8 << 20),
            ("8 MiB", 8 << 20),
            ("8 m", 8 << 20),
            ("8mib", 8 << 20),
            ("3k", 3 << 10),
            ("1GiB", 1 << 30),
            ("2T", 2 << 40),
            ("18446744073709551615", u64::MAX),
            ("9007199254740993", (1 << 53) + 1),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "-1",
            "+1",
            "1.5G",
            "8  M",
            " 8M",
            "8M ",
            "8 ",
            "8X",
            "8Mx",
            "8MiBs",
            "8M iB",
            "8MB",
            "8kb",
            "0x10",
            "1e3",
            "8b",
            "8\u{b5}",
            "16777216T",
            "18446744073709551616",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let decimal = parse("64mb").unwrap_err();
        assert!(decimal.contains("write 64M or 64MiB"), "{decimal}");
        assert!(parse("99999999999999999999").unwrap_err().contains("2^64"));
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("0644"), Ok(0o644));
        assert_eq!(parse_mode("7777"), Ok(0o7777));
        for text in ["", "0o", "888", "-1", "+644", "17777", "rw"] {
            assert!(parse_mode(text).is_err(), "{text:?}");
        }
        assert_eq!(show_mode(0o644), "0644");
        assert_eq!(show_mode(0o4755), "4755");
    }

    #[test]
    fn one_is_no_plural() {
        let told: Vec<_> = (0..3).map(|number| count(number, "finding")).collect();
        assert_eq!(told, ["0 findings", "1 finding", "2 findings"]);
    }
}
