//! The headers of record batches and dictionaries, judged, and the numbers in their lists.

use super::parse::{Block, header, read, root};
use super::schema::Slots;
use crate::error::DataError;
use crate::place::Peek;
use arrow_ipc as ipc;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

const MESSAGE: &str = "arrow message";

/// Columns of nulls take no bytes of the file, so their length is limited by this alone: whoever
/// makes a bitmap for one must be able to. Files that are larger may have a row to each bit.
const MAX_EMPTY_ROWS: u64 = 1 << 31;

/// The header of a record batch, judged as far as every column needs it; what a column's nodes and
/// buffers say is judged with the column.
pub(super) struct Batch {
    lists: Lists,
    places: Places,
    body: Range<u64>,
}

/// Where the lists of a header are read.
enum Lists {
    /// In the header's copy.
    Copy(Vec<u8>),
    /// In the file, each number copied out when it is asked for: see [`super::index`].
    File(Arc<dyn Peek>),
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("places", &self.places)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// What a dictionary's header says beyond its batch.
#[derive(Debug)]
pub(super) struct DictionaryBatch {
    pub(super) id: i64,
    pub(super) delta: bool,
    pub(super) batch: Batch,
}

/// Reads the header of a record batch.
pub(super) fn batch(peek: &dyn Peek, block: &Block) -> Result<Batch, DataError> {
    let raw = header(peek, block)?;
    let message = root(&raw)?;
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| wrong_kind("a record batch", message.header_type()))?;
    check_body(message, block)?;
    let places = places(&raw, batch, block)?;
    Ok(places.batch(raw, block))
}

/// Reads the header of a dictionary.
pub(super) fn dictionary(peek: &dyn Peek, block: &Block) -> Result<DictionaryBatch, DataError> {
    let raw = header(peek, block)?;
    let message = root(&raw)?;
    let outer = message
        .header_as_dictionary_batch()
        .ok_or_else(|| wrong_kind("a dictionary", message.header_type()))?;
    check_body(message, block)?;
    let batch = outer
        .data()
        .ok_or_else(|| DataError::corrupt(MESSAGE, "a dictionary has no data"))?;
    let (id, delta, places) = (outer.id(), outer.isDelta(), places(&raw, batch, block)?);
    Ok(DictionaryBatch {
        id,
        delta,
        batch: places.batch(raw, block),
    })
}

/// Where the message's lists lie, in its copy or in the file.
#[derive(Debug)]
struct Places {
    nodes: Range<u64>,
    buffers: Range<u64>,
    variadic: Range<u64>,
    rows: usize,
    max_rows: i64,
}

impl Places {
    fn batch(self, raw: Vec<u8>, block: &Block) -> Batch {
        Batch {
            lists: Lists::Copy(raw),
            places: self,
            body: block.body.clone(),
        }
    }
}

/// As many rows as a body can hold, or nulls that take no bytes of it.
pub(super) fn max_rows(body: &Range<u64>) -> i64 {
    let bits = (body.end - body.start).saturating_mul(8);
    super::body::signed(bits.max(MAX_EMPTY_ROWS))
}

/// Refuses rows that a batch can be written with, and not opened: each takes a bit of its body, or
/// there are not too many of them.
pub(super) fn check_rows(rows: u64, body_len: u64) -> Result<(), DataError> {
    let limit = max_rows(&(0..body_len)).unsigned_abs();
    if rows <= limit {
        return Ok(());
    }
    Err(DataError::TooLarge {
        what: "a record batch without values",
        found: rows,
        limit,
    })
}

fn places(raw: &[u8], batch: ipc::RecordBatch<'_>, block: &Block) -> Result<Places, DataError> {
    if batch.compression().is_some() {
        return Err(DataError::unsupported(
            "a compressed table",
            "write it uncompressed",
        ));
    }
    let max_rows = max_rows(&block.body);
    let rows = count("rows", batch.length(), max_rows)?;
    // Where the verified vectors lie in the copy.
    let place = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => {
            let start = (bytes.as_ptr().addr() - raw.as_ptr().addr()) as u64;
            start..start + bytes.len() as u64
        }
        None => 0..0,
    };
    Ok(Places {
        nodes: place(batch.nodes().map(|list| list.bytes())),
        buffers: place(batch.buffers().map(|list| list.bytes())),
        variadic: place(batch.variadicBufferCounts().map(|list| list.bytes())),
        rows,
        max_rows,
    })
}

/// What an index says of a batch: where its header's lists and its body lie in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchPlace {
    pub(super) nodes: Range<u64>,
    pub(super) buffers: Range<u64>,
    pub(super) variadic: Range<u64>,
    pub(super) body: Range<u64>,
    pub(super) rows: u64,
}

/// Where the lists of a header lie in the file, whose flatbuffer is `message` and stands at `at`.
pub(super) fn locate(message: &[u8], at: u64, body: Range<u64>) -> Result<BatchPlace, DataError> {
    let batch = root(message)?
        .header_as_record_batch()
        .ok_or_else(|| DataError::corrupt(MESSAGE, "it is no record batch"))?;
    let header = at..at + message.len() as u64;
    let places = places(
        message,
        batch,
        &Block {
            header,
            body: body.clone(),
        },
    )?;
    let moved = |list: Range<u64>| list.start + at..list.end + at;
    Ok(BatchPlace {
        nodes: moved(places.nodes),
        buffers: moved(places.buffers),
        variadic: moved(places.variadic),
        body,
        rows: places.rows as u64,
    })
}

/// As [`locate`], for a batch of the footer's.
pub(super) fn locate_in_file(peek: &dyn Peek, block: &Block) -> Result<BatchPlace, DataError> {
    let message = header(peek, block)?;
    // With the marker before its length, as files of this format's version have it.
    locate(&message, block.header.start + 8, block.body.clone())
}

impl Batch {
    /// A batch whose header is not copied: its numbers are, when they are asked for.
    pub(super) fn in_file(peek: Arc<dyn Peek>, place: BatchPlace) -> Result<Self, DataError> {
        let max_rows = max_rows(&place.body);
        let rows = i64::try_from(place.rows).unwrap_or(-1);
        Ok(Self {
            lists: Lists::File(peek),
            places: Places {
                nodes: place.nodes,
                buffers: place.buffers,
                variadic: place.variadic,
                rows: count("rows", rows, max_rows)?,
                max_rows,
            },
            body: place.body,
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.places.rows
    }

    /// `len` bytes of one of the lists from `at` on, copied out; `None` where they are not in it.
    fn bytes(
        &self,
        list: &Range<u64>,
        at: u64,
        len: u64,
    ) -> Result<Option<Cow<'_, [u8]>>, DataError> {
        let start = list.start.saturating_add(at);
        let end = start.saturating_add(len);
        if end > list.end {
            return Ok(None);
        }
        Ok(match &self.lists {
            Lists::Copy(raw) => {
                let place = usize::try_from(start).ok().zip(usize::try_from(end).ok());
                place.and_then(|(start, end)| Some(Cow::Borrowed(raw.get(start..end)?)))
            }
            Lists::File(peek) => Some(Cow::Owned(read(peek.as_ref(), start..end)?)),
        })
    }

    /// Whether the message has as many nodes and buffers as the columns need.
    pub(super) fn check_slots(&self, expected: Slots) -> Result<(), DataError> {
        let len = |list: &Range<u64>, item: u64| {
            usize::try_from((list.end - list.start) / item).unwrap_or(usize::MAX)
        };
        let found = Slots {
            nodes: len(&self.places.nodes, 16),
            buffers: len(&self.places.buffers, 16),
            views: len(&self.places.variadic, 8),
        };
        let data: usize = self.data_buffers(0..found.views)?;
        let expected_buffers = expected.buffers.saturating_add(data);
        for (what, expected, found) in [
            ("field nodes", expected.nodes, found.nodes),
            ("counts of data buffers", expected.views, found.views),
            ("buffers", expected_buffers, found.buffers),
        ] {
            if expected != found {
                return Err(DataError::corrupt(
                    MESSAGE,
                    format!("{found} {what}, expected {expected}"),
                ));
            }
        }
        Ok(())
    }

    /// The length and null count of node `i`.
    pub(super) fn node(&self, i: usize) -> Result<(usize, usize), DataError> {
        let (len, nulls) = self.pair(&self.places.nodes, i)?;
        let len = count("values", len, self.places.max_rows)?;
        Ok((len, count("nulls", nulls, super::body::signed(len as u64))?))
    }

    /// Where the message's buffers lie in the file, all of them.
    pub(super) fn body(&self) -> Result<Range<usize>, DataError> {
        let place = |at: u64| {
            usize::try_from(at).map_err(|_| {
                DataError::corrupt(
                    MESSAGE,
                    format!("a body at {at}, past what can be addressed"),
                )
            })
        };
        Ok(place(self.body.start)?..place(self.body.end)?)
    }

    /// Where buffer `i` lies in the file.
    pub(super) fn buffer(&self, i: usize) -> Result<Range<usize>, DataError> {
        let (at, len) = self.pair(&self.places.buffers, i)?;
        let size = self.body.end - self.body.start;
        let inside = || {
            let (at, len) = (u64::try_from(at).ok()?, u64::try_from(len).ok()?);
            let end = at.checked_add(len).filter(|end| *end <= size)?;
            let place = |at: u64| usize::try_from(self.body.start + at).ok();
            Some(place(at)?..place(end)?)
        };
        inside().ok_or_else(|| {
            let detail = format!("buffer {i} has {len} bytes at {at} of a body of {size}");
            DataError::corrupt(MESSAGE, detail)
        })
    }

    /// The buffer that a byte of the file lies in.
    pub(super) fn buffer_at(&self, at: usize) -> Result<Option<usize>, DataError> {
        let count = (self.places.buffers.end - self.places.buffers.start) / 16;
        for i in 0..usize::try_from(count).unwrap_or(usize::MAX) {
            if self.buffer(i)?.contains(&at) {
                return Ok(Some(i));
            }
        }
        Ok(None)
    }

    /// How many data buffers the given view columns have in all.
    pub(super) fn data_buffers(&self, views: Range<usize>) -> Result<usize, DataError> {
        if views.is_empty() {
            return Ok(0);
        }
        let missing = || DataError::corrupt(MESSAGE, "counts of data buffers are missing");
        let at = |view: usize| (view as u64).saturating_mul(8);
        let counts = self
            .bytes(&self.places.variadic, at(views.start), at(views.len()))?
            .ok_or_else(missing)?;
        let mut sum = 0;
        for number in counts.chunks_exact(8) {
            let number = i64::from_le_bytes(number.try_into().unwrap_or_default());
            sum += count("data buffers", number, i32::MAX.into())?;
        }
        Ok(sum)
    }

    fn pair(&self, list: &Range<u64>, i: usize) -> Result<(i64, i64), DataError> {
        let bytes = self
            .bytes(list, (i as u64).saturating_mul(16), 16)?
            .ok_or_else(|| DataError::corrupt(MESSAGE, "nodes or buffers are missing"))?;
        let (first, second) = bytes.split_at(8);
        let number = |half: &[u8]| i64::from_le_bytes(half.try_into().unwrap_or_default());
        Ok((number(first), number(second)))
    }
}

fn check_body(message: ipc::Message<'_>, block: &Block) -> Result<(), DataError> {
    let (found, expected) = (message.bodyLength(), block.body.end - block.body.start);
    if u64::try_from(found) != Ok(expected) {
        let detail = format!("a body of {found} bytes, expected {expected} as in the footer");
        return Err(DataError::corrupt(MESSAGE, detail));
    }
    Ok(())
}

fn wrong_kind(expected: &str, found: ipc::MessageHeader) -> DataError {
    let found = found.variant_name().unwrap_or("unknown");
    DataError::corrupt(MESSAGE, format!("it is {found}, expected {expected}"))
}

fn count(what: &str, value: i64, limit: i64) -> Result<usize, DataError> {
    usize::try_from(value)
        .ok()
        .filter(|_| value <= limit)
        .ok_or_else(|| {
            DataError::corrupt(MESSAGE, format!("{value} {what}, expected 0 to {limit}"))
        })
}
