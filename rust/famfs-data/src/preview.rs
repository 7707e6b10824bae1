//! The first values of a dataset as text, for people.
//!
//! Owns how a value looks. It reads a few values, and judges those first: what was published may
//! have come from anywhere, and text that is no UTF-8 is never taken for text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Float16Type};
use arrow_array::{
    Array, ArrayRef, DurationMicrosecondArray, DurationMillisecondArray, DurationNanosecondArray,
    DurationSecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, make_array,
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, FieldRef};

use crate::arrow::ArrowFile;
use crate::error::DataError;
use crate::file::File;
use crate::npy::Npy;
use crate::place::Peek;

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// A value as text; `None` where it is null.
pub type Cell = Option<String>;

/// The first `limit` rows of a table, of its first `columns` columns: each a line of values.
///
/// # Errors
/// Those of [`File::table`] and [`File::column`], and where strings are not UTF-8.
pub fn rows(file: &File, limit: usize, columns: usize) -> Result<Vec<Vec<Cell>>, DataError> {
    file.check_there()?;
    rows_of(file.table()?, limit, columns).map_err(|error| file.in_file(error))
}

/// As [`rows`], of a table whose memory is there.
///
/// # Errors
/// Those of [`ArrowFile::column`], and where strings are not UTF-8.
pub fn rows_of(
    table: &ArrowFile,
    limit: usize,
    columns: usize,
) -> Result<Vec<Vec<Cell>>, DataError> {
    let columns = columns.min(table.metadata().num_columns()?);
    let mut lines: Vec<Vec<Cell>> = Vec::new();
    for batch in 0..table.metadata().num_batches()? {
        let room = limit - lines.len();
        let count = table.metadata().batch_rows(batch)?.min(room);
        if room == 0 {
            break;
        }
        let first = lines.len();
        lines.resize(first + count, Vec::with_capacity(columns));
        for index in 0..columns {
            let column = table.column(batch, index)?.slice(0, count);
            // Formatting takes strings for UTF-8.
            column.to_data().validate_full().map_err(DataError::Arrow)?;
            let cells = cells(&column)?;
            for (line, cell) in lines.iter_mut().skip(first).zip(cells) {
                line.push(cell);
            }
        }
    }
    Ok(lines)
}

fn cells(column: &ArrayRef) -> Result<Vec<Cell>, DataError> {
    let options = FormatOptions::default();
    let utc = in_utc(column)?;
    let formatter = ArrayFormatter::try_new(utc.as_ref(), &options).map_err(DataError::Arrow)?;
    let nulls = column.logical_nulls();
    (0..column.len())
        .map(|row| {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                return Ok(None);
            }
            let text = formatter.value(row).try_to_string();
            Ok(Some(text.unwrap_or_else(|error| plain(&utc, row, &error))))
        })
        .collect()
}

/// What no calendar has, such as a time of day of 25 hours, as the number that it is; within lists
/// and the like what is wrong with it.
fn plain(column: &ArrayRef, row: usize, error: &ArrowError) -> String {
    let (data, data_type) = (column.to_data(), column.data_type());
    match data_type.primitive_width() {
        Some(4) => format!("{} {data_type}", data.buffer::<i32>(0)[row]),
        Some(8) => format!("{} {data_type}", data.buffer::<i64>(0)[row]),
        _ => format!("({error})"),
    }
}

/// The same values, their times of day those of UTC, which each says: the names of zones are not known
/// here, and a file may have any.
fn in_utc(column: &ArrayRef) -> Result<ArrayRef, DataError> {
    let data_type = utc(column.data_type());
    if data_type == *column.data_type() {
        return Ok(column.clone());
    }
    let data = retyped(&column.to_data(), &data_type)?;
    Ok(make_array(data))
}

/// The type with no other zone than UTC, however deep they lie.
fn utc(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| {
        let data_type = utc(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::ListView(item) => DataType::ListView(field(item)),
        DataType::LargeListView(item) => DataType::LargeListView(field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::Map(item, sorted) => DataType::Map(field(item), *sorted),
        DataType::Union(fields, mode) => {
            let fields = fields.iter().map(|(id, item)| (id, field(item)));
            DataType::Union(fields.collect(), *mode)
        }
        DataType::RunEndEncoded(ends, values) => {
            DataType::RunEndEncoded(ends.clone(), field(values))
        }
        DataType::Dictionary(key, values) => {
            DataType::Dictionary(key.clone(), Box::new(utc(values)))
        }
        other => other.clone(),
    }
}

/// The same values by a type that has only other zones.
fn retyped(data: &ArrayData, data_type: &DataType) -> Result<ArrayData, DataError> {
    let inner = match data_type {
        DataType::Dictionary(_, values) => vec![values.as_ref()],
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|item| item.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, item)| item.data_type()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    };
    let children = data.child_data().iter().zip(inner);
    let children = children.map(|(child, data_type)| retyped(child, data_type));
    let builder = data.clone().into_builder().data_type(data_type.clone());
    let builder = builder.child_data(children.collect::<Result<_, _>>()?);
    builder.build().map_err(DataError::Arrow)
}

/// The first values of an array: of the first `limit` items of its first axis the first `width`
/// values each, in C order. An array of no axes is one item.
///
/// # Errors
/// Where its memory is lost.
pub fn items(
    file: &dyn Peek,
    array: &Npy,
    limit: usize,
    width: usize,
) -> Result<Vec<Vec<String>>, DataError> {
    let shape = array.shape();
    let (first, inner) = shape
        .split_first()
        .map_or((1, &[][..]), |(n, rest)| (*n, rest));
    let per_item = inner.iter().copied().fold(1, u64::saturating_mul);
    let lines = first.min(limit as u64);
    (0..lines)
        .map(|line| {
            (0..per_item.min(width as u64))
                .map(|at| value(file, array, line, inner, at))
                .collect()
        })
        .collect()
}

/// The value at place `at`, in C order, of item `line`.
fn value(
    file: &dyn Peek,
    array: &Npy,
    line: u64,
    inner: &[u64],
    mut at: u64,
) -> Result<String, DataError> {
    let mut index = vec![0; inner.len() + 1];
    index[0] = line;
    for (axis, length) in inner.iter().enumerate().rev() {
        index[axis + 1] = at % length;
        at /= length;
    }
    // The axis that comes first counts in the largest steps; in Fortran order it is the last one.
    let first = array.shape().first().copied().unwrap_or(1);
    let lengths: Vec<u64> = std::iter::once(first)
        .chain(inner.iter().copied())
        .collect();
    // Saturating, for items of no bytes: of those there may be more than there are numbers.
    let step = |place: u64, (index, length): (&u64, &u64)| {
        place.saturating_mul(*length).saturating_add(*index)
    };
    let axes = index.iter().zip(&lengths);
    let place = if array.fortran_order() {
        axes.rev().fold(0, step)
    } else {
        axes.fold(0, step)
    };
    let size = array.item_size();
    let mut bytes = vec![0; usize::try_from(size.min(SHOWN)).unwrap_or(0)];
    let at = array.data_at().saturating_add(place.saturating_mul(size));
    file.read(at, &mut bytes)?;
    Ok(text(array.descr(), &mut bytes))
}

/// Bytes of a value that are looked at: what is longer is cut.
const SHOWN: u64 = 256;

/// A value of a type as an NPY header says it.
fn text(descr: &str, bytes: &mut [u8]) -> String {
    let Some((order, kind)) = descr.split_at_checked(1) else {
        return hex(bytes);
    };
    if order == ">" {
        let part = match kind.as_bytes().first() {
            Some(b'c') => bytes.len() / 2,
            Some(b'U') => 4,
            _ => bytes.len(),
        };
        bytes.chunks_mut(part.max(1)).for_each(<[u8]>::reverse);
    }
    number(kind, bytes).unwrap_or_else(|| hex(bytes))
}

fn number(kind: &str, bytes: &[u8]) -> Option<String> {
    macro_rules! of {
        ($type:ty) => {
            <$type>::from_le_bytes(bytes.try_into().ok()?)
        };
    }
    Some(match kind.as_bytes() {
        b"b1" => (of!(u8) != 0).to_string(),
        b"i1" => of!(i8).to_string(),
        b"i2" => of!(i16).to_string(),
        b"i4" => of!(i32).to_string(),
        b"i8" => of!(i64).to_string(),
        b"u1" => of!(u8).to_string(),
        b"u2" => of!(u16).to_string(),
        b"u4" => of!(u32).to_string(),
        b"u8" => of!(u64).to_string(),
        b"f2" => format!("{:?}", f32::from(of!(F16))),
        b"f4" => format!("{:?}", of!(f32)),
        b"f8" => format!("{:?}", of!(f64)),
        b"c8" | b"c16" => {
            let part = if kind == "c8" { "f4" } else { "f8" };
            let (real, imaginary) = bytes.split_at(bytes.len() / 2);
            let (real, imaginary) = (number(part, real)?, number(part, imaginary)?);
            let sign = if imaginary.starts_with('-') { "" } else { "+" };
            format!("{real}{sign}{imaginary}j")
        }
        [b'S', ..] => {
            let end = bytes
                .iter()
                .rposition(|&byte| byte != 0)
                .map_or(0, |at| at + 1);
            format!("\"{}\"", bytes[..end].escape_ascii())
        }
        [b'U', ..] => {
            let mut letters = String::new();
            for four in bytes.chunks_exact(4) {
                let code = u32::from_le_bytes(four.try_into().ok()?);
                letters.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            format!("{:?}", letters.trim_end_matches('\0'))
        }
        [b'M' | b'm', b'8', ..] => time(kind, of!(i64))?,
        _ => return None,
    })
}

/// A date, time or duration, in NumPy's words for its unit.
fn time(kind: &str, count: i64) -> Option<String> {
    if count == i64::MIN {
        return Some("NaT".into());
    }
    let unit = kind.get(2..)?.trim_matches(['[', ']']);
    let array: ArrayRef = match (kind.starts_with('M'), unit) {
        (true, "s") => Arc::new(TimestampSecondArray::from(vec![count])),
        (true, "ms") => Arc::new(TimestampMillisecondArray::from(vec![count])),
        (true, "us") => Arc::new(TimestampMicrosecondArray::from(vec![count])),
        (true, "ns") => Arc::new(TimestampNanosecondArray::from(vec![count])),
        (true, "D") => {
            let seconds = count.checked_mul(86_400)?;
            let midnight: ArrayRef = Arc::new(TimestampSecondArray::from(vec![seconds]));
            let text = moment(&midnight)?;
            return Some(text.split('T').next().unwrap_or_default().to_owned());
        }
        (false, "s") => Arc::new(DurationSecondArray::from(vec![count])),
        (false, "ms") => Arc::new(DurationMillisecondArray::from(vec![count])),
        (false, "us") => Arc::new(DurationMicrosecondArray::from(vec![count])),
        (false, "ns") => Arc::new(DurationNanosecondArray::from(vec![count])),
        _ => return Some(format!("{count} {unit}")),
    };
    // What no calendar has is shown as the number that it is.
    Some(moment(&array).unwrap_or_else(|| format!("{count} {unit}")))
}

/// The first value of an array, if arrow has a text for it.
fn moment(array: &ArrayRef) -> Option<String> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options).ok()?;
    formatter.value(0).try_to_string().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Bytes as a dump: offset, sixteen bytes, and what of them is ASCII.
///
/// ```
/// let lines = famfs_data::preview::dump(b"famfs\n");
/// assert_eq!(lines[0], "00000000  66 61 6d 66 73 0a                                |famfs.|");
/// ```
#[must_use]
pub fn dump(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.chunks(16).enumerate();
    lines
        .map(|(number, chunk)| {
            let mut line = format!("{:08x} ", number * 16);
            for at in 0..16 {
                // Writing to a string can't fail.
                let _ = match chunk.get(at) {
                    Some(byte) => write!(line, " {byte:02x}"),
                    None => write!(line, "   "),
                };
            }
            let seen = |&byte: &u8| match byte {
                b' '..=b'~' => char::from(byte),
                _ => '.',
            };
            let ascii: String = chunk.iter().map(seen).collect();
            format!("{line}  |{ascii}|")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_any_zone_are_those_of_utc() {
        let times = TimestampSecondArray::from(vec![Some(0), None]).with_timezone("No/Such");
        let one: ArrayRef = Arc::new(times);
        assert_eq!(
            cells(&one).unwrap(),
            [Some("1970-01-01T00:00:00Z".into()), None]
        );
        let item = Arc::new(arrow_schema::Field::new(
            "when",
            one.data_type().clone(),
            true,
        ));
        let many = arrow_array::StructArray::from(vec![(item, one)]);
        let many: ArrayRef = Arc::new(many);
        assert!(
            cells(&many).unwrap()[0]
                .as_ref()
                .unwrap()
                .contains("00:00:00Z")
        );
    }

    #[test]
    fn what_no_calendar_has_is_a_number() {
        let times: ArrayRef = Arc::new(arrow_array::Time32SecondArray::from(vec![86_400, 1]));
        let found = cells(&times.slice(0, 2)).unwrap();
        assert_eq!(found[0].as_deref(), Some("86400 Time32(s)"));
        assert_eq!(found[1].as_deref(), Some("00:00:01"));
        let item = Arc::new(arrow_schema::Field::new(
            "t",
            times.data_type().clone(),
            true,
        ));
        let nested: ArrayRef = Arc::new(arrow_array::StructArray::from(vec![(item, times)]));
        assert!(
            cells(&nested).unwrap()[0]
                .as_ref()
                .unwrap()
                .contains("86400")
        );
    }

    #[test]
    fn values_look_as_in_numpy() {
        for (descr, bytes, expected) in [
            ("<i2", &[1, 2][..], "513"),
            (">i2", &[1, 2], "258"),
            ("|b1", &[1], "true"),
            ("<f2", &[0, 0x3c], "1.0"),
            ("<f4", &1.5_f32.to_le_bytes(), "1.5"),
            (">f8", &[0xbf, 0xd0, 0, 0, 0, 0, 0, 0], "-0.25"),
            ("<c8", &[0, 0, 128, 63, 0, 0, 0, 192], "1.0-2.0j"),
            (">c8", &[63, 128, 0, 0, 64, 0, 0, 0], "1.0+2.0j"),
            ("|S4", b"a\n\0\0", "\"a\\n\""),
            ("<U2", &[0xe4, 0, 0, 0, 0, 0, 0, 0], "\"\u{e4}\""),
            (">U1", &[0, 0, 0, 0x61], "\"a\""),
            ("<U1", &[0, 0xd8, 0, 0], "\"\u{fffd}\""),
            ("<M8[s]", &0_i64.to_le_bytes(), "1970-01-01T00:00:00"),
            ("<M8[D]", &19_000_i64.to_le_bytes(), "2022-01-08"),
            ("<M8[D]", &i64::MAX.to_le_bytes(), "0xffffffffffffff7f"),
            ("<M8[s]", &i64::MIN.to_le_bytes(), "NaT"),
            ("<m8[10s]", &5_i64.to_le_bytes(), "5 10s"),
            ("|V2", &[1, 255], "0x01ff"),
            ("<f8", &[1], "0x01"),
            ("", &[1], "0x01"),
        ] {
            assert_eq!(text(descr, &mut bytes.to_vec()), expected, "{descr}");
        }
        assert!(text("<M8[s]", &mut i64::MAX.to_le_bytes()).ends_with(" s"));
    }
}
