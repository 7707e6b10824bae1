//! View columns: strings of which the file keeps the data that the views use.

use super::body::Piece;
use super::encode::{Chunk, Encoder};
use arrow_array::cast::AsArray;
use arrow_array::types::ByteViewType;
use arrow_array::{Array, GenericByteViewArray};
use arrow_buffer::Buffer;

impl Encoder<'_> {
    /// Data buffers follow one another, cut to what the views use; views are made anew only where
    /// that moves what they point at.
    pub(super) fn views<T: ByteViewType>(&mut self, chunks: &[Chunk]) {
        let mut views = Vec::with_capacity(chunks.len());
        let mut data: Vec<Piece> = Vec::new();
        for chunk in chunks {
            let array: &GenericByteViewArray<T> = chunk.array.as_byte_view::<T>();
            let base = data.len();
            let cut = ViewCut::of(array);
            let mut places = vec![(0_u32, 0_u32); cut.used.len()];
            for (i, range) in cut.used.iter().enumerate() {
                let Some((start, end)) = range else { continue };
                places[i] = (u32::try_from(data.len()).unwrap_or(u32::MAX), *start);
                let (start, end) = (*start as usize, *end);
                let buffer = &array.data_buffers()[i];
                data.push(Piece::Borrowed(
                    buffer.slice_with_length(start, end - start),
                ));
            }
            let stays = |(i, range): (usize, &Option<(u32, usize)>)| {
                range.is_none() || places[i] == (u32::try_from(i).unwrap_or(u32::MAX), 0)
            };
            if !cut.stray && base == 0 && cut.used.iter().enumerate().all(stays) {
                views.push(Piece::Borrowed(array.views().inner().clone()));
            } else {
                let moved = array.views().iter().enumerate().map(|(row, view)| {
                    if array.is_null(row) {
                        0
                    } else {
                        move_view(*view, &places)
                    }
                });
                views.push(Piece::Owned(Buffer::from_vec(moved.collect::<Vec<u128>>())));
            }
        }
        self.body.buffer(views);
        self.body
            .variadic
            .push(super::body::signed(data.len() as u64));
        for piece in data {
            self.body.buffer([piece]);
        }
    }
}

/// What a view array uses of each of its data buffers.
struct ViewCut {
    used: Vec<Option<(u32, usize)>>,
    /// Whether a view of a null points outside: readers may refuse that.
    stray: bool,
}

impl ViewCut {
    fn of<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Self {
        let buffers = array.data_buffers();
        let mut cut = Self {
            used: vec![None; buffers.len()],
            stray: false,
        };
        for (row, view) in array.views().iter().enumerate() {
            let (len, index, offset) = view_parts(*view);
            if len <= 12 {
                continue;
            }
            let end = offset as usize + len as usize;
            let inside = buffers
                .get(index as usize)
                .is_some_and(|buffer| end <= buffer.len());
            if array.is_null(row) {
                cut.stray = true;
            } else if inside {
                let range = cut.used[index as usize].get_or_insert((offset, end));
                *range = (range.0.min(offset), range.1.max(end));
            }
        }
        cut
    }
}

/// A view's length, buffer index and offset; the last two mean something only beyond 12 bytes.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the fields are 32 bits of the view each"
)]
pub(super) fn view_parts(view: u128) -> (u32, u32, u32) {
    (view as u32, (view >> 64) as u32, (view >> 96) as u32)
}

fn move_view(view: u128, places: &[(u32, u32)]) -> u128 {
    let (len, index, offset) = view_parts(view);
    match places.get(index as usize) {
        Some((to, start)) if len > 12 => {
            let low = view & u128::from(u64::MAX);
            low | u128::from(*to) << 64 | u128::from(offset.wrapping_sub(*start)) << 96
        }
        _ => view,
    }
}
