//! One message's body while it is laid out: which bytes follow which, and where buffers start.
//!
//! Nothing is copied here. A buffer of the file is a row of pieces, most of them the caller's own.
//!
//! Large buffers start on a page of 4 KiB, and so does the body that they are in: they can be handed
//! to a device, or mapped, as they are. Each costs less than a page before it, and the first one
//! another before the body: of a buffer of [`PAGES_FROM`] bytes that is 3.1 % at most, which bounds
//! what a file loses.

use arrow_buffer::Buffer;
use arrow_ipc as ipc;

/// A buffer from this size on starts on a page.
pub(super) const PAGES_FROM: u64 = 256 << 10;

/// The smallest page of any host that maps the file.
const PAGE: u64 = 4096;

/// Where buffers start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alignment {
    /// Every buffer, at a multiple of this: a power of two.
    pub(super) base: u64,
    /// Buffers of so many bytes and more, on a page.
    pub(super) pages_from: u64,
}

impl Alignment {
    /// What a buffer of `len` bytes is aligned to.
    pub(super) fn of(self, len: u64) -> u64 {
        if len >= self.pages_from {
            self.base.max(PAGE)
        } else {
            self.base
        }
    }
}

/// Some bytes of a buffer in the file.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// The caller's memory.
    Borrowed(Buffer),
    /// Made while planning.
    Owned(Buffer),
}

impl Piece {
    fn len(&self) -> u64 {
        let (Self::Borrowed(bytes) | Self::Owned(bytes)) = self;
        bytes.len() as u64
    }
}

/// Bytes, or as many zeros, in the order of the file.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    Bytes(Buffer),
    Zero(u64),
}

impl Segment {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zero(len) => *len,
        }
    }
}

#[derive(Debug)]
pub(super) struct Body {
    aligned: Alignment,
    /// What the body itself is to be aligned to, for its buffers to be.
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
    /// An empty body whose buffers will start as `aligned` says.
    pub(super) fn new(aligned: Alignment) -> Self {
        Self {
            aligned,
            alignment: aligned.base,
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

    /// What the body is to be aligned to.
    pub(super) fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Appends one buffer made of `pieces`, and the zeros up to the next buffer's place.
    pub(super) fn buffer(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        let pieces: Vec<Piece> = pieces.into_iter().collect();
        let size = pieces.iter().map(Piece::len).sum();
        let alignment = self.aligned.of(size);
        self.alignment = self.alignment.max(alignment);
        self.pad(alignment);
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
        self.pad(self.aligned.base);
    }

    /// Appends zeros up to the next multiple of `alignment`.
    fn pad(&mut self, alignment: u64) {
        let padding = self.len.next_multiple_of(alignment) - self.len;
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
