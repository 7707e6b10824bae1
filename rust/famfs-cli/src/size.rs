//! Sizes and other numbers, as they are typed and printed.
//!
//! K, M, G and T are powers of 1024, as the reference has them. Nothing is guessed or rounded: a
//! size that isn't a whole number with a known unit is refused.

use bytesize::{ByteSize, Unit};

/// Reads a size such as `4096`, `8M` or `1GiB`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let wrong = || format!("{text:?} is no size; expected a number such as 4096, 8M or 1GiB");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match suffix {
        "" => return Ok(number),
        "k" | "K" => Unit::KibiByte,
        "m" | "M" => Unit::MebiByte,
        "g" | "G" => Unit::GibiByte,
        "t" | "T" => Unit::TebiByte,
        other if other.is_ascii() && other.len() >= 2 => other.parse().map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    let factor: u64 = unit * 1u64;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("{text:?} is more than 2^64 bytes"))
}

/// A size for people.
pub(crate) fn show(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
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
            ("3k", 3 << 10),
            ("1GiB", 1 << 30),
            ("2T", 2 << 40),
            ("8MB", 8_000_000),
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
            "8 M",
            " 8M",
            "8M ",
            "8X",
            "0x10",
            "1e3",
            "8b",
            "8\u{b5}",
            "16777216T",
            "18446744073709551616",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
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
}
