//! One message's body while it is laid out: which bytes follow which, and where buffers start.
//!
//! Nothing is copied here. A buffer of the file is a row of pieces, most of them the caller's own.

use arrow_buffer::Buffer;
use arrow_ipc as ipc;

/// Some bytes of a buffer in the file.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// The caller's memory.
    Borrowed(Buffer),
    /// Made while planning.
    Owned(Buffer),
}

/// Bytes, or as many zeros, in the order of the file.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    Bytes(Buffer),
    Zero(u64),
}

#[derive(Debug)]
pub(super) struct Body {
    alignment: u64,
    pub(super) len: u64,
    pub(super) segments: Vec<Segment>,
    pub(super) nodes: Vec<ipc::FieldNode>,
    pub(super) buffers: Vec<ipc::Buffer>,
    pub(super) variadic: Vec<i64>,
    pub(super) borrowed: u64,
    pub(super) owned: u64,
}

impl Body {
    /// An empty body whose buffers will start at multiples of `alignment`, a power of two.
    pub(super) fn new(alignment: u64) -> Self {
        Self {
            alignment,
            len: 0,
            segments: Vec::new(),
            nodes: Vec::new(),
            buffers: Vec::new(),
            variadic: Vec::new(),
            borrowed: 0,
            owned: 0,
        }
    }

    pub(super) fn node(&mut self, len: usize, nulls: usize) {
        self.nodes.push(ipc::FieldNode::new(
            signed(len as u64),
            signed(nulls as u64),
        ));
    }

    /// Appends one buffer made of `pieces`, and the zeros up to the next buffer's place.
    pub(super) fn buffer(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        let start = self.len;
        for piece in pieces {
            let bytes = match piece {
                Piece::Borrowed(bytes) => {
                    self.borrowed += bytes.len() as u64;
                    bytes
                }
                Piece::Owned(bytes) => {
                    self.owned += bytes.len() as u64;
                    bytes
                }
            };
            if !bytes.is_empty() {
                self.len += bytes.len() as u64;
                self.segments.push(Segment::Bytes(bytes));
            }
        }
        self.buffers
            .push(ipc::Buffer::new(signed(start), signed(self.len - start)));
        let padding = self.len.next_multiple_of(self.alignment) - self.len;
        if padding > 0 {
            self.len += padding;
            self.segments.push(Segment::Zero(padding));
        }
    }

    pub(super) fn no_buffer(&mut self) {
        self.buffer([]);
    }
}

/// Sizes of what is in memory fit: no allocation exceeds `isize::MAX`.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
