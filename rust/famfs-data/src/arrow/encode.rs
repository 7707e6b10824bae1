//! Lays arrays out in a message's body: one column of the file from any number of chunks.
//!
//! Chunks are joined by putting their bytes one after the other; values are never copied. What has
//! to be made anew is small: bitmaps that don't start at a byte, offsets and indices that count
//! from somewhere else. A slice is laid out as if its parent weren't there.

use super::body::{Body, Piece};
use super::dictionary::{Dictionary, Tree};
use super::nullable;
use super::union::KeyMap;
use crate::error::DataError;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, BinaryType, BinaryViewType, ByteArrayType, Int8Type, Int16Type,
    Int32Type, Int64Type, LargeBinaryType, LargeUtf8Type, StringViewType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type, Utf8Type,
};
use arrow_array::{Array, ArrayRef, GenericByteArray, OffsetSizeTrait, PrimitiveArray};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, BooleanBufferBuilder, Buffer, ScalarBuffer};
use arrow_schema::DataType;

/// A part of a column, and which of the caller's batches it comes from.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) array: ArrayRef,
    pub(super) source: usize,
}

impl Chunk {
    pub(super) fn with(&self, array: ArrayRef) -> Self {
        Self {
            array,
            source: self.source,
        }
    }
}

/// Puts the arrays of one message into its body.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    pub(super) body: Body,
    pub(super) dictionaries: &'a [Dictionary],
}

impl Encoder<'_> {
    /// Appends `chunks`, all of type `data_type`, as one array.
    pub(super) fn put(
        &mut self,
        data_type: &DataType,
        tree: &Tree,
        chunks: &[Chunk],
    ) -> Result<(), DataError> {
        nullable::check_type(data_type)?;
        let len = chunks.iter().map(|chunk| chunk.array.len()).sum();
        match data_type {
            DataType::Null => self.body.node(len, len),
            DataType::Union(_, mode) => {
                self.body.node(len, 0);
                self.union(data_type, *mode, tree, chunks)?;
            }
            DataType::RunEndEncoded(ends, _) => {
                self.body.node(len, 0);
                match ends.data_type() {
                    DataType::Int16 => self.runs::<Int16Type>(data_type, tree, chunks)?,
                    DataType::Int32 => self.runs::<Int32Type>(data_type, tree, chunks)?,
                    _ => self.runs::<Int64Type>(data_type, tree, chunks)?,
                }
            }
            _ => {
                self.validity(len, chunks);
                self.values(data_type, tree, chunks)?;
            }
        }
        Ok(())
    }

    /// The node and the bitmap of an array that may have nulls.
    fn validity(&mut self, len: usize, chunks: &[Chunk]) {
        let nulls = chunks.iter().map(|chunk| chunk.array.null_count()).sum();
        self.body.node(len, nulls);
        if nulls == 0 {
            self.body.no_buffer();
            return;
        }
        let parts: Vec<_> = chunks
            .iter()
            .map(|chunk| {
                (
                    chunk.array.nulls().map(|n| n.inner().clone()),
                    chunk.array.len(),
                )
            })
            .collect();
        self.body.buffer(join_bits(&parts));
    }

    fn values(
        &mut self,
        data_type: &DataType,
        tree: &Tree,
        chunks: &[Chunk],
    ) -> Result<(), DataError> {
        match data_type {
            DataType::Boolean => {
                let parts: Vec<_> = chunks
                    .iter()
                    .map(|chunk| {
                        let values = chunk.array.as_boolean().values().clone();
                        (Some(values), chunk.array.len())
                    })
                    .collect();
                self.body.buffer(join_bits(&parts));
            }
            DataType::FixedSizeBinary(width) => {
                self.fixed(usize::try_from(*width).unwrap_or(0), chunks);
            }
            DataType::Utf8 => self.bytes::<Utf8Type>(chunks)?,
            DataType::LargeUtf8 => self.bytes::<LargeUtf8Type>(chunks)?,
            DataType::Binary => self.bytes::<BinaryType>(chunks)?,
            DataType::LargeBinary => self.bytes::<LargeBinaryType>(chunks)?,
            DataType::Utf8View => self.views::<StringViewType>(chunks),
            DataType::BinaryView => self.views::<BinaryViewType>(chunks),
            DataType::List(_) => self.list::<i32>(data_type, tree, chunks)?,
            DataType::LargeList(_) => self.list::<i64>(data_type, tree, chunks)?,
            DataType::Map(_, _) => self.map(data_type, tree, chunks)?,
            DataType::ListView(_) => self.list_view::<i32>(data_type, tree, chunks)?,
            DataType::LargeListView(_) => self.list_view::<i64>(data_type, tree, chunks)?,
            DataType::FixedSizeList(field, _) => {
                let children: Vec<_> = chunks
                    .iter()
                    .map(|chunk| chunk.with(chunk.array.as_fixed_size_list().values().clone()))
                    .collect();
                may_have_nulls(data_type, chunks, &children)?;
                self.put(field.data_type(), tree.child(0), &children)?;
            }
            DataType::Struct(fields) => {
                for chunk in chunks {
                    let (nulls, columns) = (chunk.array.nulls(), chunk.array.as_struct().columns());
                    nullable::check(data_type, nulls, |i| columns[i].to_data())?;
                }
                for (i, field) in fields.iter().enumerate() {
                    let children: Vec<_> = chunks
                        .iter()
                        .map(|chunk| chunk.with(chunk.array.as_struct().column(i).clone()))
                        .collect();
                    self.put(field.data_type(), tree.child(i), &children)?;
                }
            }
            DataType::Dictionary(key_type, _) => match **key_type {
                DataType::Int8 => self.keys::<Int8Type>(tree, chunks),
                DataType::Int16 => self.keys::<Int16Type>(tree, chunks),
                DataType::Int32 => self.keys::<Int32Type>(tree, chunks),
                DataType::Int64 => self.keys::<Int64Type>(tree, chunks),
                DataType::UInt8 => self.keys::<UInt8Type>(tree, chunks),
                DataType::UInt16 => self.keys::<UInt16Type>(tree, chunks),
                DataType::UInt32 => self.keys::<UInt32Type>(tree, chunks),
                _ => self.keys::<UInt64Type>(tree, chunks),
            },
            _ => match data_type.primitive_width() {
                Some(width) => self.fixed(width, chunks),
                None => return Err(DataError::unsupported(format!("type {data_type}"), "")),
            },
        }
        Ok(())
    }

    fn fixed(&mut self, width: usize, chunks: &[Chunk]) {
        self.body.buffer(chunks.iter().map(|chunk| {
            let data = chunk.array.to_data();
            let (start, len) = (data.offset() * width, data.len() * width);
            Piece::Borrowed(data.buffers()[0].slice_with_length(start, len))
        }));
    }

    fn bytes<T: ByteArrayType>(&mut self, chunks: &[Chunk]) -> Result<(), DataError> {
        let arrays = chunks.iter().map(|chunk| chunk.array.as_bytes::<T>());
        let arrays: Vec<&GenericByteArray<T>> = arrays.collect();
        let offsets: Vec<_> = arrays.iter().map(|a| a.offsets().inner()).collect();
        self.offsets(&offsets)?;
        self.body.buffer(arrays.iter().map(|array| {
            let (start, len) = range(array.offsets().inner());
            Piece::Borrowed(array.values().slice_with_length(start, len))
        }));
        Ok(())
    }

    fn list<O: OffsetSizeTrait>(
        &mut self,
        data_type: &DataType,
        tree: &Tree,
        chunks: &[Chunk],
    ) -> Result<(), DataError> {
        let lists: Vec<_> = chunks
            .iter()
            .map(|chunk| chunk.array.as_list::<O>())
            .collect();
        let offsets: Vec<_> = lists.iter().map(|list| list.offsets().inner()).collect();
        self.offsets(&offsets)?;
        let children = lists.iter().zip(chunks).map(|(list, chunk)| {
            let (start, len) = range(list.offsets().inner());
            chunk.with(list.values().slice(start, len))
        });
        let children: Vec<_> = children.collect();
        may_have_nulls(data_type, chunks, &children)?;
        self.put(child_type(data_type)?, tree.child(0), &children)
    }

    fn map(
        &mut self,
        data_type: &DataType,
        tree: &Tree,
        chunks: &[Chunk],
    ) -> Result<(), DataError> {
        let maps: Vec<_> = chunks.iter().map(|chunk| chunk.array.as_map()).collect();
        let offsets: Vec<_> = maps.iter().map(|map| map.offsets().inner()).collect();
        self.offsets(&offsets)?;
        let children = maps.iter().zip(chunks).map(|(map, chunk)| {
            let (start, len) = range(map.offsets().inner());
            chunk.with(std::sync::Arc::new(map.entries().slice(start, len)))
        });
        let children: Vec<_> = children.collect();
        may_have_nulls(data_type, chunks, &children)?;
        self.put(child_type(data_type)?, tree.child(0), &children)
    }

    /// Joins offsets: each chunk's count on from where the one before ended.
    fn offsets<O: OffsetSizeTrait>(
        &mut self,
        chunks: &[&ScalarBuffer<O>],
    ) -> Result<(), DataError> {
        let width = size_of::<O>();
        let mut base = 0_usize;
        let mut pieces = Vec::with_capacity(chunks.len());
        for offsets in chunks.iter().filter(|offsets| offsets.len() > 1) {
            // All but the first leave out their first offset: it is the last of the one before.
            let skip = usize::from(!pieces.is_empty());
            let (start, len) = range(offsets);
            if start == base {
                pieces.push(Piece::Borrowed(offsets.inner().slice(skip * width)));
            } else {
                let move_by = |o: &O| O::usize_as(o.as_usize() - start + base);
                let moved: Vec<O> = offsets[skip..].iter().map(move_by).collect();
                pieces.push(Piece::Owned(Buffer::from_vec(moved)));
            }
            base += len;
        }
        if O::from_usize(base).is_none() {
            return Err(too_large(
                "the values of one record batch",
                base,
                O::MAX_OFFSET,
            ));
        }
        if pieces.is_empty() {
            // An array without values still has its one offset.
            pieces.push(Piece::Owned(Buffer::from_vec(vec![O::usize_as(0)])));
        }
        self.body.buffer(pieces);
        Ok(())
    }

    fn list_view<O: OffsetSizeTrait>(
        &mut self,
        data_type: &DataType,
        tree: &Tree,
        chunks: &[Chunk],
    ) -> Result<(), DataError> {
        let mut base = 0;
        let (mut offsets, mut sizes, mut children) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in chunks {
            let list = chunk.array.as_list_view::<O>();
            let used = |(o, s): (&O, &O)| (s.as_usize() > 0).then(|| (o.as_usize(), s.as_usize()));
            let ranges = list
                .offsets()
                .iter()
                .zip(list.sizes().iter())
                .filter_map(used);
            let (start, end) = ranges.fold((usize::MAX, 0), |(a, b), (offset, size)| {
                (a.min(offset), b.max(offset + size))
            });
            let start = start.min(end);
            // Empty lists may point anywhere; where they point past what is left, they are moved.
            let stays =
                start == 0 && base == 0 && list.offsets().iter().all(|o| o.as_usize() <= end);
            if stays {
                offsets.push(Piece::Borrowed(list.offsets().inner().clone()));
            } else {
                let moved = list
                    .offsets()
                    .iter()
                    .zip(list.sizes().iter())
                    .map(|(o, s)| {
                        let at = if s.as_usize() > 0 {
                            o.as_usize() - start + base
                        } else {
                            0
                        };
                        O::usize_as(at)
                    });
                offsets.push(Piece::Owned(Buffer::from_vec(moved.collect::<Vec<O>>())));
            }
            sizes.push(Piece::Borrowed(list.sizes().inner().clone()));
            children.push(chunk.with(list.values().slice(start, end - start)));
            base += end - start;
        }
        if O::from_usize(base).is_none() {
            return Err(too_large(
                "the values of one record batch",
                base,
                O::MAX_OFFSET,
            ));
        }
        self.body.buffer(offsets);
        self.body.buffer(sizes);
        self.put(child_type(data_type)?, tree.child(0), &children)
    }

    fn keys<K: ArrowDictionaryKeyType>(&mut self, tree: &Tree, chunks: &[Chunk]) {
        let Some(dictionary) = tree.dictionary.and_then(|at| self.dictionaries.get(at)) else {
            self.body.no_buffer();
            return;
        };
        self.body.buffer(chunks.iter().map(|chunk| {
            let keys: &PrimitiveArray<K> = chunk.array.as_dictionary::<K>().keys();
            match &dictionary.maps[chunk.source] {
                KeyMap::Same => Piece::Borrowed(keys.values().inner().clone()),
                KeyMap::Table(table) => {
                    // What stands where a value is null may be anything.
                    let moved = keys.values().iter().map(|key| {
                        let to = key.to_usize().and_then(|key| table.get(key)).copied();
                        K::Native::usize_as(to.unwrap_or(0))
                    });
                    Piece::Owned(Buffer::from_vec(moved.collect::<Vec<_>>()))
                }
            }
        }));
    }
}

/// Joins bitmaps; one that isn't there is all ones.
fn join_bits(parts: &[(Option<BooleanBuffer>, usize)]) -> Vec<Piece> {
    let mut whole = true;
    let last = parts.iter().rposition(|(_, len)| *len > 0).unwrap_or(0);
    for (i, (bits, len)) in parts.iter().enumerate().filter(|(_, (_, len))| *len > 0) {
        let at_byte = bits.as_ref().is_some_and(|bits| bits.offset() % 8 == 0);
        whole &= at_byte && (len % 8 == 0 || i == last);
    }
    if whole {
        let bytes = |bits: &BooleanBuffer| {
            let (start, len) = (bits.offset() / 8, bits.len().div_ceil(8));
            Piece::Borrowed(bits.inner().slice_with_length(start, len))
        };
        return parts
            .iter()
            .filter_map(|(bits, _)| bits.as_ref().map(bytes))
            .collect();
    }
    let mut joined = BooleanBufferBuilder::new(parts.iter().map(|(_, len)| len).sum());
    for (bits, len) in parts {
        match bits {
            Some(bits) => joined.append_buffer(bits),
            None => joined.append_n(*len, true),
        }
    }
    vec![Piece::Owned(joined.finish().into_inner())]
}

/// Where the values of some offsets start, and how many there are.
pub(super) fn range<O: OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (first.as_usize(), last.as_usize() - first.as_usize()),
        _ => (0, 0),
    }
}

/// Refuses lists with nulls where their field is declared to have none: it makes files that no one
/// reads. Each chunk has its part of the children.
fn may_have_nulls(
    data_type: &DataType,
    chunks: &[Chunk],
    children: &[Chunk],
) -> Result<(), DataError> {
    for (chunk, child) in chunks.iter().zip(children) {
        nullable::check(data_type, chunk.array.nulls(), |_| child.array.to_data())?;
    }
    Ok(())
}

fn child_type(data_type: &DataType) -> Result<&DataType, DataError> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => Ok(field.data_type()),
        other => Err(DataError::unsupported(format!("type {other}"), "")),
    }
}

pub(super) fn too_large(what: &'static str, found: usize, limit: usize) -> DataError {
    DataError::TooLarge {
        what,
        found: found as u64,
        limit: limit as u64,
    }
}
