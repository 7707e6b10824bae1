//! NPY files: the header before an array's bytes, written and read.
//!
//! The format is NumPy's own (NEP 1, and `numpy.lib.format` for versions 2.0 and 3.0): a magic, a
//! version, a length, and a Python dict of `descr`, `fortran_order` and `shape`; the data starts at
//! a multiple of 64. Headers written here are, byte for byte, those of `numpy.save`. Bytes after
//! the data are left alone, as NumPy does: a trailer may stand there.
//!
//! Arrays of Python objects are pickles, not memory: they are refused both ways.

mod descr;
mod literal;

use crate::error::DataError;
use crate::place::{Peek, Place};
use descr::item_size;
use literal::{Literal, parse};

const PART: &str = "npy header";
const MAGIC: &[u8; 6] = b"\x93NUMPY";
const ALIGNMENT: usize = 64;
/// NumPy leaves room for the first axis to grow in place to this many digits.
const GROWTH_DIGITS: usize = 21;
/// Longer headers can't be meant: a structured type of thousands of fields takes less.
const MAX_HEADER: u64 = 16 << 20;

/// An array's file before it is written: the header, and how many bytes follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyPlan {
    header: Vec<u8>,
    nbytes: u64,
}

impl NpyPlan {
    /// Plans the file of an array whose bytes are contiguous in C order, or in Fortran order.
    ///
    /// `descr` is what NumPy's `dtype_to_descr` gives: `<f8` for a plain type; for a structured
    /// type the list as Python writes it, such as `[('a', '<i4'), ('b', '<f8', (2,))]`.
    ///
    /// ```
    /// # use famfs_data::npy::NpyPlan;
    /// let plan = NpyPlan::new("<f8", false, &[3, 4])?;
    /// assert_eq!((plan.header().len(), plan.nbytes(), plan.size()), (128, 96, 224));
    /// # Ok::<(), famfs_data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// If the type holds Python objects or isn't a type, or if the size exceeds 64 bits.
    pub fn new(descr: &str, fortran_order: bool, shape: &[u64]) -> Result<Self, DataError> {
        let literal = if descr.starts_with('[') || descr.starts_with('(') {
            parse(descr)?
        } else {
            Literal::Text(descr.to_owned())
        };
        let nbytes = total(item_size(&literal)?, shape)?;
        let descr = match &literal {
            Literal::Text(plain) => format!("'{plain}'"),
            _ => descr.to_owned(),
        };
        let order = if fortran_order { "True" } else { "False" };
        let axes: Vec<String> = shape.iter().map(u64::to_string).collect();
        let tuple = match axes.as_slice() {
            [one] => format!("({one},)"),
            axes => format!("({})", axes.join(", ")),
        };
        let mut dict =
            format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {tuple}, }}");
        let grows = if fortran_order {
            axes.last()
        } else {
            axes.first()
        };
        if let Some(axis) = grows {
            dict.push_str(&" ".repeat(GROWTH_DIGITS.saturating_sub(axis.len())));
        }
        Ok(Self {
            header: frame(&dict)?,
            nbytes,
        })
    }

    /// The header; the data starts right after it.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The size of the data.
    #[must_use]
    pub fn nbytes(&self) -> u64 {
        self.nbytes
    }

    /// The file's exact size.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.nbytes + self.header.len() as u64
    }

    /// Refuses data of another size than was planned.
    ///
    /// # Errors
    /// If `found` is not the planned size.
    pub fn check(&self, found: u64) -> Result<(), DataError> {
        if found != self.nbytes {
            let expected = self.nbytes;
            let detail = format!("{found} bytes of data, expected {expected}");
            return Err(DataError::corrupt("array", detail));
        }
        Ok(())
    }

    /// Writes the file, whose data are `data` in the planned order.
    ///
    /// # Errors
    /// If `data` is not of the planned size, and what the place says.
    pub fn write(&self, data: &[u8], place: &mut dyn Place) -> Result<(), DataError> {
        self.check(data.len() as u64)?;
        place.put(0, &self.header)?;
        place.put(self.header.len() as u64, data)?;
        Ok(())
    }
}

/// Puts magic, version and length before the dict, and spaces after it.
fn frame(dict: &str) -> Result<Vec<u8>, DataError> {
    // Version 1.0 if its length fits 16 bits and its text is Latin-1, 3.0 if only UTF-8 can say it.
    let latin: Option<Vec<u8>> = dict
        .chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect();
    let (text, wide) = match latin {
        Some(latin) => (latin, false),
        None => (dict.as_bytes().to_vec(), true),
    };
    let padded = |prefix: usize| (prefix + text.len() + 1).next_multiple_of(ALIGNMENT) - prefix;
    let (short, long) = (padded(10), padded(12));
    let mut header = MAGIC.to_vec();
    let end = match u16::try_from(short) {
        Ok(len) if !wide => {
            header.extend_from_slice(&[1, 0]);
            header.extend_from_slice(&len.to_le_bytes());
            10 + short
        }
        _ => {
            header.extend_from_slice(&[if wide { 3 } else { 2 }, 0]);
            let len = u32::try_from(long).map_err(|_| DataError::TooLarge {
                what: "the header of an array",
                found: long as u64,
                limit: MAX_HEADER,
            })?;
            header.extend_from_slice(&len.to_le_bytes());
            12 + long
        }
    };
    header.extend_from_slice(&text);
    header.resize(end - 1, b' ');
    header.push(b'\n');
    Ok(header)
}

/// An array's file, its header judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Npy {
    descr: String,
    item_size: u64,
    fortran_order: bool,
    shape: Vec<u64>,
    data_at: u64,
    nbytes: u64,
}

impl Npy {
    /// Reads and judges a file's header. All of the data it names lies inside the file.
    ///
    /// # Errors
    /// If the header is broken, names more data than there is, or an array of Python objects.
    pub fn open(peek: &dyn Peek) -> Result<Self, DataError> {
        let size = peek.len();
        let short = |need: u64| corrupt(format!("a file of {size} bytes, expected {need} or more"));
        if size < 12 {
            return Err(short(12));
        }
        let mut head = [0; 12];
        peek.read(0, &mut head)?;
        let [magic @ .., major, minor, a, b, c, d] = head;
        if magic != *MAGIC {
            return Err(corrupt(format!(
                "the file starts with {}",
                magic.escape_ascii()
            )));
        }
        let (prefix, len) = match (major, minor) {
            (1, 0) => (10, u64::from(u16::from_le_bytes([a, b]))),
            (2 | 3, 0) => (12, u64::from(u32::from_le_bytes([a, b, c, d]))),
            _ => {
                return Err(DataError::unsupported(
                    format!("npy version {major}.{minor}"),
                    "",
                ));
            }
        };
        if len > MAX_HEADER {
            return Err(corrupt(format!(
                "{len} bytes long, expected {MAX_HEADER} or less"
            )));
        }
        let data_at = prefix + len;
        if data_at > size {
            return Err(short(data_at));
        }
        let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
        peek.read(prefix, &mut text)?;
        let text = if major == 3 {
            String::from_utf8(text).map_err(|_| corrupt("not UTF-8"))?
        } else {
            text.iter().map(|byte| char::from(*byte)).collect()
        };
        let (descr, fortran_order, shape) = entries(parse(&text)?)?;
        let item_size = item_size(&descr)?;
        let nbytes = total(item_size, &shape).map_err(|error| corrupt(error.to_string()))?;
        if nbytes > size - data_at {
            let room = size - data_at;
            return Err(corrupt(format!(
                "it names {nbytes} bytes of data, the file has {room}"
            )));
        }
        let descr = match descr {
            Literal::Text(plain) => plain,
            other => other.to_string(),
        };
        Ok(Self {
            descr,
            item_size,
            fortran_order,
            shape,
            data_at,
            nbytes,
        })
    }

    /// The type: a plain one as `<f8`, a structured one as the list Python writes.
    #[must_use]
    pub fn descr(&self) -> &str {
        &self.descr
    }

    /// The size of one item in bytes.
    #[must_use]
    pub fn item_size(&self) -> u64 {
        self.item_size
    }

    /// Whether the first axis is the one whose items are next to each other.
    #[must_use]
    pub fn fortran_order(&self) -> bool {
        self.fortran_order
    }

    /// The length of each axis; none for a single value.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Where the data starts in the file.
    #[must_use]
    pub fn data_at(&self) -> u64 {
        self.data_at
    }

    /// The size of the data.
    #[must_use]
    pub fn nbytes(&self) -> u64 {
        self.nbytes
    }
}

fn entries(dict: Literal) -> Result<(Literal, bool, Vec<u64>), DataError> {
    let Literal::Dict(pairs) = dict else {
        return Err(corrupt("expected a dict"));
    };
    let (mut descr, mut order, mut shape) = (None, None, None);
    for (key, value) in pairs {
        let known = match (key, value) {
            (Literal::Text(key), value) if key == "descr" => descr.replace(value).is_none(),
            (Literal::Text(key), Literal::Bool(value)) if key == "fortran_order" => {
                order.replace(value).is_none()
            }
            (Literal::Text(key), Literal::Tuple(axes)) if key == "shape" => {
                let length = |item: Literal| match item {
                    Literal::Int(length) => Ok(length),
                    other => Err(corrupt(format!(
                        "{other} in the shape, expected an integer"
                    ))),
                };
                let axes = axes
                    .into_iter()
                    .map(length)
                    .collect::<Result<Vec<u64>, _>>()?;
                shape.replace(axes).is_none()
            }
            (key, _) => return Err(corrupt(format!("unexpected entry {key}"))),
        };
        if !known {
            return Err(corrupt("an entry stands there twice"));
        }
    }
    match (descr, order, shape) {
        (Some(descr), Some(order), Some(shape)) => Ok((descr, order, shape)),
        _ => Err(corrupt("expected descr, fortran_order and shape")),
    }
}

/// The size of an array: as if axes of length 0 were not there it must fit as well, as strides
/// are computed from it.
fn total(item_size: u64, shape: &[u64]) -> Result<u64, DataError> {
    let strides = shape.iter().try_fold(item_size.max(1), |size, axis| {
        size.checked_mul((*axis).max(1))
    });
    let limit = i64::MAX.unsigned_abs();
    match strides {
        Some(size) if size <= limit => Ok(if shape.contains(&0) {
            0
        } else {
            size / item_size.max(1) * item_size
        }),
        found => Err(DataError::TooLarge {
            what: "an array",
            found: found.unwrap_or(u64::MAX),
            limit,
        }),
    }
}

fn corrupt(detail: impl Into<String>) -> DataError {
    DataError::corrupt(PART, detail)
}

#[cfg(test)]
mod tests;
