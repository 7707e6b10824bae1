//! The size of one item of a NumPy type, from its description.

use super::corrupt;
use super::literal::Literal;
use crate::error::DataError;

/// The size of an item; types that hold Python objects are refused.
pub(super) fn item_size(descr: &Literal) -> Result<u64, DataError> {
    match descr {
        Literal::Text(plain) => plain_size(plain),
        Literal::List(fields) => fields.iter().try_fold(0_u64, |sum, field| {
            let size = field_size(field)?;
            sum.checked_add(size)
                .ok_or_else(|| corrupt("a type's size exceeds 64 bits"))
        }),
        Literal::Tuple(parts) => match parts.as_slice() {
            [base, shape] => sub_array(item_size(base)?, shape),
            _ => Err(corrupt(format!("{descr} is not a type"))),
        },
        _ => Err(corrupt(format!("{descr} is not a type"))),
    }
}

/// `(name, type)` or `(name, type, shape)`; a name may be `(title, name)`.
fn field_size(field: &Literal) -> Result<u64, DataError> {
    let bad = || corrupt(format!("{field} is not a field"));
    let Literal::Tuple(parts) = field else {
        return Err(bad());
    };
    let named = match parts.first() {
        Some(Literal::Text(_)) => true,
        Some(Literal::Tuple(names)) => {
            names.len() == 2 && names.iter().all(|name| matches!(name, Literal::Text(_)))
        }
        _ => false,
    };
    match parts.get(1..) {
        Some([base]) if named => item_size(base),
        Some([base, shape]) if named => sub_array(item_size(base)?, shape),
        _ => Err(bad()),
    }
}

fn sub_array(size: u64, shape: &Literal) -> Result<u64, DataError> {
    let one;
    let axes = match shape {
        Literal::Tuple(axes) => axes.as_slice(),
        Literal::Int(_) => {
            one = [shape.clone()];
            &one
        }
        _ => return Err(corrupt(format!("{shape} is not a shape"))),
    };
    axes.iter().try_fold(size, |size, axis| match axis {
        Literal::Int(count) => size
            .checked_mul(*count)
            .ok_or_else(|| corrupt("a type's size exceeds 64 bits")),
        _ => Err(corrupt(format!("{shape} is not a shape"))),
    })
}

/// Byte order, kind, size; and a unit for times.
fn plain_size(plain: &str) -> Result<u64, DataError> {
    let bad = || corrupt(format!("{plain:?} is not a type"));
    let rest = plain.strip_prefix(['<', '>', '|', '=']).unwrap_or(plain);
    let kind = rest.chars().next().filter(char::is_ascii).ok_or_else(bad)?;
    let (digits, unit) = match rest[1..].find('[') {
        Some(at) => rest[1..].split_at(at),
        None => (&rest[1..], ""),
    };
    if kind == 'O' {
        return Err(DataError::unsupported(
            "an array of Python objects",
            "it is no memory to share",
        ));
    }
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(bad());
    }
    let size: u64 = digits.parse().map_err(|_| bad())?;
    let inner = unit
        .strip_prefix('[')
        .and_then(|unit| unit.strip_suffix(']'));
    let timed = inner.is_some_and(|unit| {
        !unit.is_empty() && unit.chars().all(|c| c.is_ascii_alphanumeric() || c == '/')
    });
    let known = match kind {
        'b' => size == 1 && unit.is_empty(),
        'i' | 'u' => matches!(size, 1 | 2 | 4 | 8) && unit.is_empty(),
        'f' => matches!(size, 2 | 4 | 8 | 10 | 12 | 16) && unit.is_empty(),
        'c' => matches!(size, 8 | 16 | 20 | 24 | 32) && unit.is_empty(),
        'm' | 'M' => size == 8 && (unit.is_empty() || timed),
        'S' | 'a' | 'V' | 'U' => unit.is_empty(),
        _ => false,
    };
    match kind {
        _ if !known => Err(bad()),
        // Code points of 4 bytes.
        'U' => size.checked_mul(4).ok_or_else(bad),
        _ => Ok(size),
    }
}
