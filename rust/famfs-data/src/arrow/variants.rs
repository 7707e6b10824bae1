//! Unions and run-end encoded columns: types whose nodes have no validity bitmap.

use super::body::Piece;
use super::dictionary::Tree;
use super::encode::{Chunk, Encoder, too_large};
use crate::error::DataError;
use arrow_array::cast::AsArray;
use arrow_array::types::RunEndIndexType;
use arrow_array::{Array, RunArray, UnionArray};
use arrow_buffer::ArrowNativeType;
use arrow_buffer::Buffer;
use arrow_schema::{DataType, UnionMode};

impl Encoder<'_> {
    pub(super) fn union(
        &mut self,
        data_type: &DataType,
        mode: UnionMode,
        tree: &Tree,
        chunks: &[Chunk],
    ) -> Result<(), DataError> {
        let DataType::Union(fields, _) = data_type else {
            return Ok(());
        };
        let arrays: Vec<&UnionArray> = chunks.iter().map(|chunk| chunk.array.as_union()).collect();
        let ids = arrays
            .iter()
            .map(|union| Piece::Borrowed(union.type_ids().inner().clone()));
        self.body.buffer(ids.collect::<Vec<_>>());
        let mut children: Vec<Vec<Chunk>> = vec![Vec::new(); fields.len()];
        let mut base = [0_usize; 128];
        let mut pieces = Vec::new();
        for (union, chunk) in arrays.iter().zip(chunks) {
            let Some(offsets) = union.offsets().filter(|_| mode == UnionMode::Dense) else {
                for ((id, _), child) in fields.iter().zip(&mut children) {
                    child.push(chunk.with(union.child(id).clone()));
                }
                continue;
            };
            // Of each child, only what this chunk points at.
            let mut used = [(usize::MAX, 0_usize); 128];
            for (id, offset) in union.type_ids().iter().zip(offsets) {
                let (at, range) = (offset.as_usize(), &mut used[id.as_usize() & 127]);
                *range = (range.0.min(at), range.1.max(at + 1));
            }
            let mut stays = true;
            for ((type_id, _), child) in fields.iter().zip(&mut children) {
                let id = type_id.as_usize() & 127;
                used[id].0 = used[id].0.min(used[id].1);
                stays &= used[id].0 == base[id] || used[id].1 == 0;
                let (start, end) = used[id];
                child.push(chunk.with(union.child(type_id).slice(start, end - start)));
            }
            if stays {
                pieces.push(Piece::Borrowed(offsets.inner().clone()));
            } else {
                let moved = union.type_ids().iter().zip(offsets).map(|(id, offset)| {
                    let id = id.as_usize() & 127;
                    i32::usize_as(offset.as_usize() - used[id].0 + base[id])
                });
                pieces.push(Piece::Owned(Buffer::from_vec(moved.collect::<Vec<i32>>())));
            }
            for (base, (start, end)) in base.iter_mut().zip(used) {
                *base += end.saturating_sub(start);
            }
        }
        if mode == UnionMode::Dense {
            self.body.buffer(pieces);
        }
        for (i, ((_, field), children)) in fields.iter().zip(children).enumerate() {
            self.put(field.data_type(), tree.child(i), &children)?;
        }
        Ok(())
    }

    pub(super) fn runs<R: RunEndIndexType>(
        &mut self,
        data_type: &DataType,
        tree: &Tree,
        chunks: &[Chunk],
    ) -> Result<(), DataError> {
        let DataType::RunEndEncoded(_, values) = data_type else {
            return Ok(());
        };
        let mut base = 0;
        let mut ends: Vec<R::Native> = Vec::new();
        let mut children = Vec::new();
        for chunk in chunks.iter().filter(|chunk| !chunk.array.is_empty()) {
            let Some(array) = chunk.array.as_any().downcast_ref::<RunArray<R>>() else {
                continue;
            };
            let runs = array.run_ends();
            let (first, last) = (
                runs.get_start_physical_index(),
                runs.get_end_physical_index(),
            );
            for end in &runs.values()[first..=last] {
                let end = (end.as_usize() - runs.offset()).min(runs.len()) + base;
                let Some(end) = R::Native::from_usize(end) else {
                    return Err(too_large("the rows of one run-end encoded batch", end, 0));
                };
                ends.push(end);
            }
            base += runs.len();
            children.push(chunk.with(array.values().slice(first, last + 1 - first)));
        }
        self.body.node(ends.len(), 0);
        self.body.no_buffer();
        self.body.buffer([Piece::Owned(Buffer::from_vec(ends))]);
        self.put(values.data_type(), tree.child(1), &children)
    }
}
