//! Safetensors files: named tensors behind one header, planned and read.
//!
//! The format is that of the `safetensors` crate, whose types judge it: eight bytes of length, a
//! JSON object that says each tensor's type, shape and range, and the tensors one after the other,
//! without a gap. The header is padded with spaces, as the format allows, so that the tensors start
//! at a multiple of 64 of the file. Between tensors nothing can be padded; so they stand in the
//! order of the largest power of two that divides their sizes, which aligns each as well as a gapless
//! file can, and never worse than its items need. Those that are equal in that keep their order.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;

use crate::error::DataError;
use crate::place::Peek;

pub use safetensors::tensor::Dtype;

const PART: &str = "safetensors header";
/// Where the tensors start is a multiple of it, and each tensor whose size is.
const ALIGNMENT: u64 = 64;
/// The bytes that say the header's length.
const PREFIX: u64 = 8;
/// What every reader of the format takes at most.
const MAX_HEADER: u64 = 100_000_000;
/// The key of the header that names no tensor.
const RESERVED: &str = "__metadata__";

/// A tensor that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
}

impl TensorSpec {
    /// A tensor of the type that the format calls `dtype`, such as `F32` or `BF16`.
    ///
    /// # Errors
    /// If the format has no such type.
    pub fn new(name: String, dtype: &str, shape: Vec<u64>) -> Result<Self, DataError> {
        let Ok(dtype) = serde_json::from_value(Value::from(dtype)) else {
            return Err(DataError::unsupported(
                format!("{name:?}: a tensor of type {dtype}"),
                "safetensors files don't have it; convert it to a number of another size",
            ));
        };
        Ok(Self { name, dtype, shape })
    }

    /// The size of its values, in bytes.
    fn nbytes(&self) -> Result<u64, DataError> {
        let bits = self.dtype.bitsize() as u64;
        let items = self.shape.iter().try_fold(1_u64, |n, &m| n.checked_mul(m));
        let bits = items.and_then(|items| items.checked_mul(bits));
        let bits = bits.ok_or(DataError::TooLarge {
            what: "a tensor",
            found: u64::MAX,
            limit: i64::MAX.unsigned_abs(),
        })?;
        if !bits.is_multiple_of(8) {
            return Err(DataError::unsupported(
                format!("{:?}: a tensor of {bits} bits", self.name),
                "add items until it fills its last byte",
            ));
        }
        Ok(bits / 8)
    }
}

/// A file before it is written: the header, and where each tensor goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetensorsPlan {
    header: Vec<u8>,
    places: Vec<(usize, Range<u64>)>,
    size: u64,
}

impl SafetensorsPlan {
    /// Plans the file of `tensors`, whose bytes are contiguous in C order and little-endian.
    ///
    /// ```
    /// # use famfs_data::safetensors::{SafetensorsPlan, TensorSpec};
    /// let bias = TensorSpec::new("bias".into(), "F32", vec![3])?;
    /// let weight = TensorSpec::new("weight".into(), "BF16", vec![8, 8])?;
    /// let plan = SafetensorsPlan::new(&[bias, weight])?;
    /// let start = plan.header().len() as u64;
    /// assert_eq!(start % 64, 0);
    /// // The one of 128 bytes goes first, where it is aligned, and the one of 12 bytes after it.
    /// assert_eq!(plan.places(), [(1, start..start + 128), (0, start + 128..start + 140)]);
    /// assert_eq!(plan.size(), start + 140);
    /// # Ok::<(), famfs_data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// If two have one name, one has the name that the format keeps for itself, or the format has no
    /// way to say it.
    pub fn new(tensors: &[TensorSpec]) -> Result<Self, DataError> {
        let mut names = HashSet::new();
        for tensor in tensors {
            if tensor.name == RESERVED || !names.insert(&tensor.name) {
                return Err(DataError::unsupported(
                    format!("a tensor of the name {:?}", tensor.name),
                    "the name is taken; give it another one",
                ));
            }
        }
        let mut order = Vec::with_capacity(tensors.len());
        for (index, tensor) in tensors.iter().enumerate() {
            order.push((index, tensor, tensor.nbytes()?));
        }
        // Stable: what is aligned alike keeps its order.
        order.sort_by_key(|(_, _, nbytes)| std::cmp::Reverse(alignment(*nbytes)));
        let mut infos = Vec::with_capacity(tensors.len());
        let mut ranges = Vec::with_capacity(tensors.len());
        let mut end = 0_u64;
        for (index, tensor, nbytes) in order {
            let start = end;
            end = start.checked_add(nbytes).ok_or(DataError::TooLarge {
                what: "all tensors together",
                found: u64::MAX,
                limit: i64::MAX.unsigned_abs(),
            })?;
            let shape = tensor
                .shape
                .iter()
                .map(|&n| native(n))
                .collect::<Result<_, _>>()?;
            let info = TensorInfo {
                dtype: tensor.dtype,
                shape,
                data_offsets: (native(start)?, native(end)?),
            };
            infos.push((tensor.name.clone(), info));
            ranges.push((index, start..end));
        }
        let header = Metadata::new(None, infos)
            .map_err(|error| corrupt(error.to_string()))
            .and_then(|said| serde_json::to_vec(&said).map_err(|e| corrupt(e.to_string())))?;
        let header = framed(header)?;
        let start = header.len() as u64;
        let size = start.checked_add(end).ok_or(DataError::TooLarge {
            what: "all tensors together",
            found: u64::MAX,
            limit: i64::MAX.unsigned_abs(),
        })?;
        let places = ranges
            .into_iter()
            .map(|(index, range)| (index, start + range.start..start + range.end))
            .collect();
        Ok(Self {
            header,
            places,
            size,
        })
    }

    /// The header; the tensors start right after it.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Which tensor goes where, in the file's order: its index among those that were planned, and
    /// its range of the file. Each starts where the one before it ends.
    #[must_use]
    pub fn places(&self) -> &[(usize, Range<u64>)] {
        &self.places
    }

    /// The file's exact size.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// The largest power of two that divides a size, as far as anybody cares.
fn alignment(nbytes: u64) -> u64 {
    match nbytes {
        0 => ALIGNMENT,
        nbytes => (1 << nbytes.trailing_zeros()).min(ALIGNMENT),
    }
}

/// Puts the length before the header, and spaces after it.
fn framed(mut said: Vec<u8>) -> Result<Vec<u8>, DataError> {
    let end = (PREFIX + said.len() as u64).next_multiple_of(ALIGNMENT);
    let length = end - PREFIX;
    if length > MAX_HEADER {
        return Err(DataError::TooLarge {
            what: "the header of a safetensors file",
            found: length,
            limit: MAX_HEADER,
        });
    }
    said.resize(native(length)?, b' ');
    let mut header = length.to_le_bytes().to_vec();
    header.append(&mut said);
    Ok(header)
}

fn native(count: u64) -> Result<usize, DataError> {
    usize::try_from(count).map_err(|_| DataError::TooLarge {
        what: "a tensor",
        found: count,
        limit: usize::MAX as u64,
    })
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its items.
    pub dtype: Dtype,
    /// The lengths of its axes, in C order.
    pub shape: Vec<u64>,
    /// Its bytes of the file. They are exactly as many as type and shape say, and in the file.
    pub range: Range<u64>,
}

impl Tensor {
    /// The type as an NPY header says it; `None` where NumPy has no such type.
    #[must_use]
    pub fn descr(&self) -> Option<&'static str> {
        Some(match self.dtype {
            Dtype::BOOL => "|b1",
            Dtype::I8 => "|i1",
            Dtype::U8 => "|u1",
            Dtype::I16 => "<i2",
            Dtype::U16 => "<u2",
            Dtype::I32 => "<i4",
            Dtype::U32 => "<u4",
            Dtype::I64 => "<i8",
            Dtype::U64 => "<u8",
            Dtype::F16 => "<f2",
            Dtype::F32 => "<f4",
            Dtype::F64 => "<f8",
            Dtype::C64 => "<c8",
            _ => return None,
        })
    }
}

/// A file, its header judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safetensors {
    tensors: Vec<Tensor>,
    metadata: BTreeMap<String, String>,
}

impl Safetensors {
    /// Reads and judges a file's header. The tensors cover all of the file behind it, each byte
    /// once.
    ///
    /// # Errors
    /// If the header is broken, has types that are not known, or says more or less than there is.
    pub fn open(peek: &dyn Peek) -> Result<Self, DataError> {
        let size = peek.len();
        let Some(room) = size.checked_sub(PREFIX) else {
            return Err(corrupt(format!(
                "a file of {size} bytes, expected {PREFIX} or more"
            )));
        };
        let mut length = [0; 8];
        peek.read(0, &mut length)?;
        let length = u64::from_le_bytes(length);
        if length > room.min(MAX_HEADER) {
            return Err(corrupt(format!(
                "{length} bytes long in a file of {size} bytes, {MAX_HEADER} are allowed"
            )));
        }
        let mut header = vec![0; native(length)?];
        peek.read(PREFIX, &mut header)?;
        let said: Metadata = serde_json::from_slice(&header).map_err(|error| refused(&error))?;
        let data = room - length;
        if said.data_len() as u64 != data {
            return Err(corrupt(format!(
                "tensors of {} bytes are followed by {data} bytes",
                said.data_len()
            )));
        }
        let start = PREFIX + length;
        let mut tensors = Vec::with_capacity(said.offset_keys().len());
        for name in said.offset_keys() {
            let Some(info) = said.info(&name) else {
                continue;
            };
            let (from, to) = info.data_offsets;
            tensors.push(Tensor {
                dtype: info.dtype,
                shape: info.shape.iter().map(|&n| n as u64).collect(),
                range: start + from as u64..start + to as u64,
                name,
            });
        }
        let metadata = said.metadata().iter().flatten();
        let metadata = metadata
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(Self { tensors, metadata })
    }

    /// The tensors, in the order that they lie in.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of a name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// What the header says besides, text by text.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

fn corrupt(detail: impl Into<String>) -> DataError {
    DataError::corrupt(PART, detail)
}

/// What the crate refuses: a type that it does not know is of a later format, not damage.
fn refused(error: &serde_json::Error) -> DataError {
    let text = error.to_string();
    if text.contains("unknown variant") {
        return DataError::unsupported(
            format!("a safetensors file with a type that is not known: {text}"),
            "its bytes can be had as they are",
        );
    }
    corrupt(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(name: &str, dtype: &str, shape: &[u64]) -> TensorSpec {
        TensorSpec::new(name.into(), dtype, shape.to_vec()).unwrap()
    }

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.resize(file.len() + data, 7);
        file
    }

    fn python(bytes: &Vec<u8>) -> &'static str {
        Safetensors::open(bytes).unwrap_err().face().python
    }

    #[test]
    fn what_the_format_cannot_say_is_refused() {
        for bad in ["F7", "f32", "", "__metadata__"] {
            assert!(TensorSpec::new("a".into(), bad, vec![]).is_err(), "{bad}");
        }
        for specs in [
            vec![spec("a", "U8", &[1]), spec("a", "U8", &[2])],
            vec![spec("__metadata__", "U8", &[1])],
            vec![spec("a", "F64", &[1 << 62])],
            vec![spec("a", "U8", &[1 << 32, 1 << 32])],
            vec![spec("a", "F4", &[3])],
            (0..9)
                .map(|i| spec(&i.to_string(), "U8", &[u64::MAX / 8]))
                .collect(),
        ] {
            let face = SafetensorsPlan::new(&specs).map(|plan| plan.size());
            assert_eq!(
                face.as_ref().unwrap_err().face().python,
                "Unsupported",
                "{face:?}"
            );
        }
    }

    #[test]
    fn broken_headers_are_corrupt() {
        let one = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
        assert!(Safetensors::open(&file(one, 4)).is_ok());
        assert_eq!(python(&file(one, 3)), "Corrupt");
        assert_eq!(python(&file(one, 5)), "Corrupt");
        for broken in [
            "",
            "{",
            "[]",
            "\u{0}",
            r#"{"a":1}"#,
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,3]}}"#,
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[1,5]}}"#,
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}"#,
            r#"{"a":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}}"#,
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,18446744073709551616]}}"#,
            r#"{"a":{"dtype":"F64","shape":[9223372036854775807,8],"data_offsets":[0,4]}}"#,
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
            r#"{"__metadata__":{"a":1}}"#,
        ] {
            assert_eq!(python(&file(broken, 4)), "Corrupt", "{broken}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(python(&file(&deep, 0)), "Corrupt");
        assert_eq!(python(&vec![0; 7]), "Corrupt");
        assert_eq!(python(&vec![0xff; 64]), "Corrupt");
        let later = r#"{"a":{"dtype":"F3","shape":[8],"data_offsets":[0,3]}}"#;
        assert_eq!(python(&file(later, 3)), "Unsupported");
    }

    #[test]
    fn what_is_said_besides_is_kept() {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}   "#;
        let found = Safetensors::open(&file(header, 2)).unwrap();
        assert_eq!(found.metadata().get("format").unwrap(), "pt");
        let tensor = found.tensor("a").unwrap();
        assert_eq!((tensor.shape.as_slice(), tensor.descr()), (&[][..], None));
        assert_eq!(tensor.range.end, file(header, 2).len() as u64);
        assert!(found.tensor("b").is_none());
    }

    proptest! {
        #[test]
        fn a_planned_file_is_read_as_it_was_planned(
            shapes in prop::collection::vec(
                (prop::sample::select(vec!["BOOL", "U8", "BF16", "F32", "C64", "I64"]),
                 prop::collection::vec(0_u64..9, 0..4)),
                0..12,
            )
        ) {
            let specs: Vec<_> = shapes
                .iter()
                .enumerate()
                .map(|(i, (dtype, shape))| spec(&format!("layer \"{i}\""), dtype, shape))
                .collect();
            let plan = SafetensorsPlan::new(&specs).unwrap();
            let mut bytes = plan.header().to_vec();
            prop_assert_eq!(bytes.len() % 64, 0);
            bytes.resize(usize::try_from(plan.size()).unwrap(), 0);
            let found = Safetensors::open(&bytes).unwrap();
            prop_assert_eq!(found.tensors().len(), specs.len());
            for (index, range) in plan.places() {
                let spec = &specs[*index];
                let tensor = found.tensor(&spec.name).unwrap();
                prop_assert_eq!(&tensor.shape, &spec.shape);
                prop_assert_eq!(tensor.dtype, spec.dtype);
                prop_assert_eq!(&tensor.range, range);
                // As well aligned as its items need, and as its size allows.
                prop_assert_eq!(range.start % alignment(range.end - range.start), 0);
                if range.start < range.end {
                    prop_assert_eq!(range.start % (spec.dtype.bitsize() as u64 / 8), 0);
                }
            }
        }

        #[test]
        fn a_damaged_header_is_refused_or_still_holds(
            at in 0_usize..200,
            byte in any::<u8>(),
            cut in 0_usize..20,
        ) {
            let specs = [spec("a", "F32", &[4, 4]), spec("b", "BF16", &[3]), spec("c", "U8", &[])];
            let plan = SafetensorsPlan::new(&specs).unwrap();
            let mut bytes = plan.header().to_vec();
            bytes.resize(usize::try_from(plan.size()).unwrap() - cut / 10, 0);
            bytes[at] = byte;
            // What is taken covers the file behind the header, each byte once.
            if let Ok(found) = Safetensors::open(&bytes) {
                let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                let mut end = 8 + length;
                for tensor in found.tensors() {
                    prop_assert_eq!(tensor.range.start, end);
                    let items: u64 = tensor.shape.iter().product();
                    let size = items * tensor.dtype.bitsize() as u64 / 8;
                    prop_assert_eq!(tensor.range.end - tensor.range.start, size);
                    end = tensor.range.end;
                }
                prop_assert_eq!(end, bytes.len() as u64);
            }
        }

        #[test]
        fn any_bytes_are_judged(header in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header);
            let _ = Safetensors::open(&bytes);
        }
    }
}
