//! Makes arrays of a message's nodes and buffers, in place.

use super::batch::Batch;
use super::check::{Parts, has_offsets};
use super::open::ArrowFile;
use super::schema::{Shape, Slots};
use crate::error::DataError;
use crate::unchecked;
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_data::{ArrayData, BufferSpec, layout};
use arrow_ipc::MetadataVersion;
use arrow_schema::DataType;
use std::ops::Range;

/// Takes arrays out of one message, one after the other.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    file: &'a ArrowFile,
    batch: &'a Batch,
    next: Slots,
    /// Data buffers of views that lie before `next`.
    data_buffers: usize,
    /// Whether the next array is the ends of runs.
    ends: bool,
}

impl<'a> Builder<'a> {
    /// A builder whose next array is the one at `start`.
    pub(super) fn new(
        file: &'a ArrowFile,
        batch: &'a Batch,
        start: Slots,
    ) -> Result<Self, DataError> {
        let data_buffers = batch.data_buffers(0..start.views)?;
        Ok(Self {
            file,
            batch,
            next: start,
            data_buffers,
            ends: false,
        })
    }

    /// The next array, of the given type, checked.
    pub(super) fn array(
        &mut self,
        data_type: &DataType,
        shape: &Shape,
    ) -> Result<ArrayData, DataError> {
        let (len, null_count) = self.batch.node(self.next.nodes)?;
        self.next.nodes += 1;
        let nulls = match data_type {
            DataType::Null | DataType::RunEndEncoded(_, _) => None,
            DataType::Union(_, _) => {
                if self.file.metadata().version() < MetadataVersion::V5 {
                    self.buffer()?;
                }
                None
            }
            _ => self.nulls(len, null_count)?,
        };
        let mut buffers = Vec::new();
        for spec in &layout(data_type).buffers {
            let range = self.buffer()?;
            buffers.push(self.place(data_type, range, spec, len)?);
        }
        if matches!(data_type, DataType::Utf8View | DataType::BinaryView) {
            let count = self
                .batch
                .data_buffers(self.next.views..self.next.views + 1)?;
            self.next.views += 1;
            for _ in 0..count {
                let range = self.buffer()?;
                buffers.push(self.file.bytes(range));
                // What was just taken is counted with the type's own buffers already.
                self.next.buffers -= 1;
                self.data_buffers += 1;
            }
        }
        let children = self.children(data_type, shape)?;
        let parts = Parts {
            data_type: data_type.clone(),
            len,
            nulls,
            buffers,
            children,
        };
        Ok(unchecked::array(parts.check()?))
    }

    fn children(
        &mut self,
        data_type: &DataType,
        shape: &Shape,
    ) -> Result<Vec<ArrayData>, DataError> {
        let fields: Vec<&DataType> = match data_type {
            DataType::Dictionary(_, values) => {
                let id = shape
                    .dictionary
                    .ok_or_else(|| DataError::corrupt("arrow schema", "a dictionary has no id"))?;
                return Ok(vec![self.file.dictionary(id, values)?]);
            }
            DataType::List(field)
            | DataType::LargeList(field)
            | DataType::ListView(field)
            | DataType::LargeListView(field)
            | DataType::FixedSizeList(field, _)
            | DataType::Map(field, _) => vec![field.data_type()],
            DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
            DataType::Union(fields, _) => fields.iter().map(|(_, f)| f.data_type()).collect(),
            DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
            _ => return Ok(Vec::new()),
        };
        let pairs = fields.into_iter().zip(&shape.children);
        let mut children = Vec::with_capacity(shape.children.len());
        for (i, (child, shape)) in pairs.enumerate() {
            // The ends of runs are checked, though their type is that of any values.
            self.ends = i == 0 && matches!(data_type, DataType::RunEndEncoded(_, _));
            children.push(self.array(child, shape)?);
            self.ends = false;
        }
        Ok(children)
    }

    /// The validity bitmap; what the file says of the number of nulls is counted.
    fn nulls(&mut self, len: usize, null_count: usize) -> Result<Option<NullBuffer>, DataError> {
        let range = self.buffer()?;
        if null_count == 0 {
            return Ok(None);
        }
        self.file.probe(range.clone())?;
        let bits = self.file.bytes(range);
        let need = len.div_ceil(8);
        if bits.len() < need {
            let found = bits.len();
            let detail = format!("a validity bitmap of {found} bytes, expected {need} or more");
            return Err(DataError::corrupt("arrow data", detail));
        }
        let nulls = NullBuffer::new(BooleanBuffer::new(bits, 0, len));
        if nulls.null_count() != null_count {
            let found = nulls.null_count();
            let detail = format!("{found} nulls in the validity bitmap, expected {null_count}");
            return Err(DataError::corrupt("arrow data", detail));
        }
        Ok(Some(nulls))
    }

    /// Where the next buffer lies in the file.
    fn buffer(&mut self) -> Result<Range<usize>, DataError> {
        let range = self.batch.buffer(self.next.buffers + self.data_buffers)?;
        self.next.buffers += 1;
        Ok(range)
    }

    /// A buffer as its type needs it: aligned, if need be by copying it; probed, if its values are
    /// checked; and the one offset of an array without values, which a file may leave out.
    fn place(
        &self,
        data_type: &DataType,
        range: Range<usize>,
        spec: &BufferSpec,
        len: usize,
    ) -> Result<Buffer, DataError> {
        let BufferSpec::FixedWidth {
            byte_width,
            alignment,
        } = spec
        else {
            return Ok(self.file.bytes(range));
        };
        // Whole values alone: arrow's typed views of a buffer panic at a part of one.
        let rest = range.len().checked_rem(*byte_width).unwrap_or(0);
        let range = range.start..range.end - rest;
        let buffer = self.file.bytes(range.clone());
        if has_offsets(data_type) && len == 0 && buffer.len() < *byte_width {
            return Ok(Buffer::from_vec(vec![0_u64]));
        }
        if buffer.as_ptr().align_offset(*alignment) != 0 {
            return self.file.copy(range);
        }
        // Offsets, indices, ids: what says where other values are.
        if self.ends || !(data_type.is_primitive() || is_fixed_binary(data_type)) {
            self.file.probe(range)?;
        }
        Ok(buffer)
    }
}

fn is_fixed_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeBinary(_))
}
