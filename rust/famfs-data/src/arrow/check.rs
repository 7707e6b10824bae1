//! What makes an array safe to hand out, all but UTF-8: lengths, alignment, offsets, indices.
//!
//! Only [`Parts::check`] makes a [`Checked`], and only of a [`Checked`] does
//! [`crate::unchecked::array`] make an array.

use super::nullable;
use crate::error::DataError;
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer};
use arrow_data::{ArrayData, layout};
use arrow_schema::{DataType, UnionFields, UnionMode};
use famfs::mem::{default_threads, helped};
use std::sync::atomic::{AtomicUsize, Ordering};

/// From so many bytes on more than one thread looks at offsets.
const SHARED_FROM: usize = 16 << 20;

/// How many of them a thread takes at a time.
const TAKEN: usize = 1 << 18;

/// An array's parts as they were found. Its first value is at the start of each buffer, and
/// children were checked before.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) data_type: DataType,
    pub(crate) len: usize,
    pub(crate) nulls: Option<NullBuffer>,
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) children: Vec<ArrayData>,
}

/// Parts that make an array that can be used without looking further.
#[derive(Debug)]
pub(crate) struct Checked(Parts);

impl Checked {
    pub(crate) fn into_parts(self) -> Parts {
        self.0
    }
}

impl Parts {
    /// Checks all that arrow's safe code relies on, but for the UTF-8 of strings.
    pub(crate) fn check(self) -> Result<Checked, DataError> {
        if let Some(part) = nullable::misdeclared(&self.data_type) {
            return Err(wrong(part, "nullable", "not nullable"));
        }
        self.check_shape()?;
        match &self.data_type {
            DataType::Utf8 | DataType::Binary => self.offsets::<i32>(self.buffers[1].len())?,
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.offsets::<i64>(self.buffers[1].len())?;
            }
            DataType::List(_) | DataType::Map(_, _) => {
                self.offsets::<i32>(self.children[0].len())?;
            }
            DataType::LargeList(_) => self.offsets::<i64>(self.children[0].len())?,
            DataType::ListView(_) => self.ranges::<i32>()?,
            DataType::LargeListView(_) => self.ranges::<i64>()?,
            DataType::Utf8View | DataType::BinaryView => self.views()?,
            DataType::Union(fields, mode) => self.union(fields, *mode)?,
            DataType::RunEndEncoded(ends, _) => match ends.data_type() {
                DataType::Int16 => self.run_ends::<i16>()?,
                DataType::Int32 => self.run_ends::<i32>()?,
                _ => self.run_ends::<i64>()?,
            },
            DataType::Dictionary(key_type, _) => match **key_type {
                DataType::Int8 => self.keys::<i8>()?,
                DataType::Int16 => self.keys::<i16>()?,
                DataType::Int32 => self.keys::<i32>()?,
                DataType::Int64 => self.keys::<i64>()?,
                DataType::UInt8 => self.keys::<u8>()?,
                DataType::UInt16 => self.keys::<u16>()?,
                DataType::UInt32 => self.keys::<u32>()?,
                DataType::UInt64 => self.keys::<u64>()?,
                ref other => return Err(wrong("dictionary indices", other, "integers")),
            },
            _ => {}
        }
        self.check_nulls()?;
        Ok(Checked(self))
    }

    /// Whether children have nulls where their fields are declared to have none.
    fn check_nulls(&self) -> Result<(), DataError> {
        let child = |i: usize| {
            let child: &ArrayData = &self.children[i];
            match &self.data_type {
                DataType::Struct(_) => child.slice(0, self.len),
                DataType::FixedSizeList(_, size) => {
                    child.slice(0, self.len * usize::try_from(*size).unwrap_or(0))
                }
                _ => child.clone(),
            }
        };
        match nullable::broken(&self.data_type, self.nulls.as_ref(), child) {
            Some(field) => Err(wrong(
                format!("field {:?}", field.name()),
                "nulls",
                "none, as it is not nullable",
            )),
            None => Ok(()),
        }
    }

    /// How many buffers and children there are, and whether they are long enough.
    fn check_shape(&self) -> Result<(), DataError> {
        let layout = layout(&self.data_type);
        let enough = self.buffers.len() == layout.buffers.len()
            || layout.variadic && self.buffers.len() > layout.buffers.len();
        if !enough {
            return Err(wrong("buffers", self.buffers.len(), layout.buffers.len()));
        }
        if let Some(nulls) = &self.nulls
            && (nulls.len() != self.len || !layout.can_contain_null_mask)
        {
            return Err(wrong(
                "values in the validity bitmap",
                nulls.len(),
                self.len,
            ));
        }
        for (i, (buffer, spec)) in self.buffers.iter().zip(&layout.buffers).enumerate() {
            self.check_buffer(i, buffer, spec)?;
        }
        let children: Vec<(&DataType, usize)> = match &self.data_type {
            DataType::List(field)
            | DataType::LargeList(field)
            | DataType::ListView(field)
            | DataType::LargeListView(field)
            | DataType::Map(field, _) => vec![(field.data_type(), 0)],
            DataType::FixedSizeList(field, size) => {
                let size = usize::try_from(*size).unwrap_or(usize::MAX);
                let values = self.len.saturating_mul(size);
                vec![(field.data_type(), values)]
            }
            DataType::Struct(fields) => fields
                .iter()
                .map(|field| (field.data_type(), self.len))
                .collect(),
            DataType::Union(fields, mode) => {
                let len = if *mode == UnionMode::Sparse {
                    self.len
                } else {
                    0
                };
                fields
                    .iter()
                    .map(|(_, field)| (field.data_type(), len))
                    .collect()
            }
            DataType::RunEndEncoded(ends, values) => {
                vec![(ends.data_type(), 0), (values.data_type(), 0)]
            }
            DataType::Dictionary(_, values) => vec![(values, 0)],
            _ => Vec::new(),
        };
        if children.len() != self.children.len() {
            return Err(wrong("children", self.children.len(), children.len()));
        }
        for ((data_type, least), child) in children.into_iter().zip(&self.children) {
            if child.data_type() != data_type {
                return Err(wrong("a child", child.data_type(), data_type));
            }
            if child.len() < least {
                return Err(wrong(
                    "values in a child",
                    child.len(),
                    format!("{least} or more"),
                ));
            }
        }
        Ok(())
    }

    fn check_buffer(
        &self,
        i: usize,
        buffer: &Buffer,
        spec: &arrow_data::BufferSpec,
    ) -> Result<(), DataError> {
        use arrow_data::BufferSpec;
        let need = match spec {
            BufferSpec::FixedWidth {
                byte_width,
                alignment,
            } => {
                if buffer.as_ptr().align_offset(*alignment) != 0 {
                    return Err(wrong("alignment", "less", alignment));
                }
                let values = self
                    .len
                    .checked_add(usize::from(has_offsets(&self.data_type)));
                values
                    .and_then(|values| values.checked_mul(*byte_width))
                    .unwrap_or(usize::MAX)
            }
            BufferSpec::BitMap => self.len.div_ceil(8),
            BufferSpec::VariableWidth | BufferSpec::AlwaysNull => 0,
        };
        if buffer.len() < need {
            let what = format!("{need} or more for {} values", self.len);
            return Err(wrong(format!("bytes in buffer {i}"), buffer.len(), what));
        }
        Ok(())
    }

    /// The first `len` values of a buffer that was found long enough and aligned.
    fn typed<T: ArrowNativeType>(&self, i: usize, len: usize) -> Buffer {
        self.buffers[i].slice_with_length(0, len * size_of::<T>())
    }

    /// Offsets that begin at 0 or more, never fall, and end within `limit`.
    fn offsets<T: ArrowNativeType>(&self, limit: usize) -> Result<(), DataError> {
        let buffer = self.typed::<T>(0, self.len + 1);
        let offsets = buffer.typed_data::<T>();
        let ends = |offset: Option<&T>| offset.and_then(|offset| offset.to_usize());
        let (first, last) = (ends(offsets.first()), ends(offsets.last()));
        if falls(offsets) {
            let at = offsets
                .windows(2)
                .position(|pair| pair[0] > pair[1])
                .unwrap_or(0);
            return Err(wrong(
                format!("offset {}", at + 1),
                offsets[at + 1],
                offsets[at],
            ));
        }
        match (first, last) {
            (Some(_), Some(last)) if last <= limit => Ok(()),
            _ => {
                let found = format!("{:?} to {:?}", offsets[0], offsets[self.len]);
                Err(wrong("offsets", found, format!("0 to {limit}")))
            }
        }
    }

    fn ranges<T: ArrowNativeType>(&self) -> Result<(), DataError> {
        let limit = self.children[0].len();
        let (offsets, sizes) = (self.typed::<T>(0, self.len), self.typed::<T>(1, self.len));
        let pairs = offsets
            .typed_data::<T>()
            .iter()
            .zip(sizes.typed_data::<T>());
        for (row, (offset, size)) in pairs.enumerate() {
            let end = offset
                .to_usize()
                .zip(size.to_usize())
                .and_then(|(a, b)| a.checked_add(b));
            if end.is_none_or(|end| end > limit) {
                let found = format!("{size:?} values at {offset:?}");
                return Err(wrong(format!("list {row}"), found, format!("0 to {limit}")));
            }
        }
        Ok(())
    }

    fn views(&self) -> Result<(), DataError> {
        let views = self.typed::<u128>(0, self.len);
        let data = &self.buffers[1..];
        for (row, view) in views.typed_data::<u128>().iter().enumerate() {
            let (len, index, offset) = super::views::view_parts(*view);
            let end = offset as usize + len as usize;
            if len > 12
                && data
                    .get(index as usize)
                    .is_none_or(|buffer| end > buffer.len())
            {
                let found = format!("{len} bytes at {offset} of data buffer {index}");
                let sizes = data.iter().map(Buffer::len).take(4).collect::<Vec<_>>();
                return Err(wrong(
                    format!("view {row}"),
                    found,
                    format!("within {sizes:?}"),
                ));
            }
        }
        Ok(())
    }

    fn union(&self, fields: &UnionFields, mode: UnionMode) -> Result<(), DataError> {
        let mut lens: [Option<usize>; 256] = [None; 256];
        for ((id, _), child) in fields.iter().zip(&self.children) {
            lens[usize::from(id.cast_unsigned())] = Some(child.len());
        }
        let ids = self.typed::<u8>(0, self.len);
        let offsets = (mode == UnionMode::Dense).then(|| self.typed::<i32>(1, self.len));
        let offsets = offsets.as_ref().map(Buffer::typed_data::<i32>);
        for (row, id) in ids.as_slice().iter().enumerate() {
            let Some(len) = lens[usize::from(*id)] else {
                let found = id.cast_signed();
                return Err(wrong(
                    format!("type id of row {row}"),
                    found,
                    "one of the fields'",
                ));
            };
            if let Some(offset) = offsets.map(|offsets| offsets[row])
                && usize::try_from(offset).map_or(true, |offset| offset >= len)
            {
                return Err(wrong(
                    format!("offset of row {row}"),
                    offset,
                    format!("below {len}"),
                ));
            }
        }
        Ok(())
    }

    fn run_ends<T: ArrowNativeType>(&self) -> Result<(), DataError> {
        let (ends, values) = (&self.children[0], &self.children[1]);
        if ends.nulls().is_some() || ends.len() != values.len() {
            let found = format!("{} with {} nulls", ends.len(), ends.null_count());
            return Err(wrong(
                "run ends",
                found,
                format!("{} without nulls", values.len()),
            ));
        }
        let mut last = 0;
        for end in ends.buffer::<T>(0).iter().take(ends.len()) {
            match end.to_usize() {
                Some(end) if end > last => last = end,
                _ => return Err(wrong("a run's end", end, format!("more than {last}"))),
            }
        }
        if last < self.len {
            return Err(wrong(
                "the last run's end",
                last,
                format!("{} or more", self.len),
            ));
        }
        Ok(())
    }

    fn keys<T: ArrowNativeType>(&self) -> Result<(), DataError> {
        let limit = self.children[0].len();
        let keys = self.typed::<T>(0, self.len);
        for (row, key) in keys.typed_data::<T>().iter().enumerate() {
            let inside = key.to_usize().is_some_and(|key| key < limit);
            // What stands where a value is null may be anything.
            if !inside && self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                return Err(wrong(
                    format!("index of row {row}"),
                    key,
                    format!("below {limit}"),
                ));
            }
        }
        Ok(())
    }
}

/// Whether a value is less than the one before it.
///
/// Without a branch for each: the whole is judged, and only where it is bad that one is looked for.
/// What takes milliseconds, waiting for memory, is shared among threads.
fn falls<T: PartialOrd + Sync>(values: &[T]) -> bool {
    let helpers = if size_of_val(values) < SHARED_FROM {
        0
    } else {
        default_threads().max(1) - 1
    };
    let next = AtomicUsize::new(0);
    let judge = || {
        loop {
            let start = next.fetch_add(TAKEN, Ordering::Relaxed);
            if start >= values.len() {
                return false;
            }
            // With the first value of what is taken next.
            let part = &values[start..values.len().min(start + TAKEN + 1)];
            let fallen = |pair: &[T]| u8::from(pair[0] > pair[1]);
            if part.windows(2).fold(0, |any, pair| any | fallen(pair)) != 0 {
                return true;
            }
        }
    };
    helped(helpers, judge, judge).contains(&true)
}

/// Whether the first buffer holds offsets, one more than there are values.
pub(super) fn has_offsets(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::Map(_, _)
    )
}

/// Checks the UTF-8 of all strings in `data` and below it.
pub(super) fn check_utf8(data: &ArrayData) -> Result<(), DataError> {
    if matches!(
        data.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    ) {
        data.validate_values().map_err(DataError::Arrow)?;
    }
    data.child_data().iter().try_for_each(check_utf8)
}

fn wrong(
    what: impl std::fmt::Display,
    found: impl std::fmt::Debug,
    expected: impl std::fmt::Debug,
) -> DataError {
    let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
    let (found, expected) = (found.trim_matches('"'), expected.trim_matches('"'));
    DataError::corrupt(
        "arrow data",
        format!("{what}: found {found}, expected {expected}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_that_falls_is_found_wherever_it_is() {
        for len in [0, 1, 2, 1000, SHARED_FROM / 4 + 3] {
            let mut values: Vec<i32> = (0..).take(len).collect();
            assert!(!falls(&values));
            let taken = (TAKEN..len).step_by(TAKEN).chain([len]);
            let ends = taken.flat_map(|at| [at.wrapping_sub(1), at, at + 1]);
            for at in ends.chain([1]).filter(|at| (1..len).contains(at)) {
                let before = std::mem::replace(&mut values[at], -1);
                assert!(falls(&values), "{at} of {len}");
                values[at] = before;
            }
        }
    }
}
