//! Footer and message headers: copied out of the file, then judged on the copy.

use super::message::{CONTINUATION, HEAD, MAGIC};
use super::schema::{self, FileSchema, Slots};
use crate::error::DataError;
use crate::place::Peek;
use arrow_ipc as ipc;
use flatbuffers::VerifierOptions;
use std::collections::HashMap;
use std::ops::Range;

const FOOTER: &str = "arrow footer";
const MESSAGE: &str = "arrow message";

/// Columns of nulls take no bytes of the file, so their length is limited by this alone: whoever
/// makes a bitmap for one must be able to. Files that are larger may have a row to each bit.
const MAX_EMPTY_ROWS: u64 = 1 << 31;

/// Where a message lies in the file; both ranges are inside.
#[derive(Clone, Debug)]
pub(super) struct Block {
    header: Range<u64>,
    body: Range<u64>,
}

/// What the footer says.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) version: ipc::MetadataVersion,
    pub(super) schema: FileSchema,
    pub(super) dictionaries: Vec<Block>,
    pub(super) batches: Vec<Block>,
    pub(super) metadata: HashMap<String, String>,
}

/// Reads and judges the footer.
pub(super) fn footer(peek: &dyn Peek) -> Result<Footer, DataError> {
    const PART: &str = "arrow file";
    let size = peek.len();
    let tail = 4 + MAGIC.len() as u64;
    if size < HEAD + tail {
        return Err(DataError::corrupt(
            PART,
            format!("{size} bytes, expected {} or more", HEAD + tail),
        ));
    }
    let head: [u8; 6] = array(peek, 0)?;
    let len: [u8; 4] = array(peek, size - tail)?;
    let end: [u8; 6] = array(peek, size - MAGIC.len() as u64)?;
    for (place, magic) in [("start", head), ("end", end)] {
        if magic != *MAGIC {
            let found = magic.escape_ascii();
            return Err(DataError::corrupt(
                PART,
                format!("{place} is {found}, expected ARROW1"),
            ));
        }
    }
    let len = i32::from_le_bytes(len);
    let room = size - HEAD - tail;
    let Some(len) = u64::try_from(len)
        .ok()
        .filter(|len| *len > 0 && *len <= room)
    else {
        return Err(DataError::corrupt(
            FOOTER,
            format!("length {len}, expected 1 to {room}"),
        ));
    };
    let start = size - tail - len;
    let bytes = read(peek, start..start + len)?;
    let footer = ipc::root_as_footer_with_opts(&options(bytes.len()), &bytes)
        .map_err(|error| invalid(FOOTER, &error))?;
    let version = footer.version();
    if !matches!(version, ipc::MetadataVersion::V4 | ipc::MetadataVersion::V5) {
        let name = version.variant_name().unwrap_or("unknown");
        return Err(DataError::unsupported(
            format!("arrow metadata version {name}"),
            "",
        ));
    }
    let schema = footer
        .schema()
        .ok_or_else(|| DataError::corrupt(FOOTER, "it has no schema"))?;
    let dictionaries = blocks(footer.dictionaries().iter().flatten(), start)?;
    let batches = blocks(footer.recordBatches().iter().flatten(), start)?;
    Ok(Footer {
        version,
        schema: schema::decode(schema, version)?,
        dictionaries,
        batches,
        metadata: schema::pairs(footer.custom_metadata()),
    })
}

/// Blocks that lie between the magic and the footer. They don't overlap, so all of them together
/// are no larger than that: whoever reads each once can't be made to read more than the file.
fn blocks<'a>(
    list: impl Iterator<Item = &'a ipc::Block>,
    end: u64,
) -> Result<Vec<Block>, DataError> {
    let mut total = 0_u64;
    let mut blocks = Vec::new();
    for (i, block) in list.enumerate() {
        let (at, header, body) = (block.offset(), block.metaDataLength(), block.bodyLength());
        let whole = || {
            let at = u64::try_from(at).ok().filter(|at| *at >= HEAD)?;
            let header = at.checked_add(u64::try_from(header).ok().filter(|len| *len >= 8)?)?;
            let body = header.checked_add(u64::try_from(body).ok()?)?;
            (body <= end).then_some(Block {
                header: at..header,
                body: header..body,
            })
        };
        let block = whole().ok_or_else(|| {
            DataError::corrupt(
                FOOTER,
                format!(
                    "block {i} at {at} has {header} and {body} bytes, expected {HEAD} to {end}"
                ),
            )
        })?;
        total = total.saturating_add(block.body.end - block.header.start);
        blocks.push(block);
    }
    if total > end {
        return Err(DataError::corrupt(
            FOOTER,
            format!("blocks have {total} bytes in all, expected {end} or less"),
        ));
    }
    Ok(blocks)
}

/// The header of a record batch, judged as far as every column needs it; what a column's nodes and
/// buffers say is judged with the column.
#[derive(Debug)]
pub(super) struct Batch {
    raw: Vec<u8>,
    places: Places,
    body: Range<u64>,
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

/// Where the message's lists lie in its copy.
#[derive(Debug)]
struct Places {
    nodes: Range<usize>,
    buffers: Range<usize>,
    variadic: Range<usize>,
    rows: usize,
    max_rows: i64,
}

impl Places {
    fn batch(self, raw: Vec<u8>, block: &Block) -> Batch {
        Batch {
            raw,
            places: self,
            body: block.body.clone(),
        }
    }
}

fn places(raw: &[u8], batch: ipc::RecordBatch<'_>, block: &Block) -> Result<Places, DataError> {
    if batch.compression().is_some() {
        return Err(DataError::unsupported(
            "a compressed table",
            "write it uncompressed",
        ));
    }
    let bits = (block.body.end - block.body.start).saturating_mul(8);
    let max_rows = super::body::signed(bits.max(MAX_EMPTY_ROWS));
    let rows = count("rows", batch.length(), max_rows)?;
    // Where the verified vectors lie in the copy.
    let place = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => {
            let start = bytes.as_ptr().addr() - raw.as_ptr().addr();
            start..start + bytes.len()
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

impl Batch {
    pub(super) fn rows(&self) -> usize {
        self.places.rows
    }

    /// Whether the message has as many nodes and buffers as the columns need.
    pub(super) fn check_slots(&self, expected: Slots) -> Result<(), DataError> {
        let found = Slots {
            nodes: self.places.nodes.len() / 16,
            buffers: self.places.buffers.len() / 16,
            views: self.places.variadic.len() / 8,
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

    /// How many data buffers the given view columns have in all.
    pub(super) fn data_buffers(&self, views: Range<usize>) -> Result<usize, DataError> {
        let mut sum = 0;
        for i in views {
            let bytes = self.raw[self.places.variadic.clone()]
                .get(i * 8..)
                .and_then(<[u8]>::first_chunk::<8>)
                .ok_or_else(|| DataError::corrupt(MESSAGE, "counts of data buffers are missing"))?;
            sum += count("data buffers", i64::from_le_bytes(*bytes), i32::MAX.into())?;
        }
        Ok(sum)
    }

    fn pair(&self, list: &Range<usize>, i: usize) -> Result<(i64, i64), DataError> {
        let pair = || {
            let (first, rest) = self.raw[list.clone()]
                .get(i * 16..)?
                .split_first_chunk::<8>()?;
            Some((
                i64::from_le_bytes(*first),
                i64::from_le_bytes(*rest.first_chunk::<8>()?),
            ))
        };
        pair().ok_or_else(|| DataError::corrupt(MESSAGE, "nodes or buffers are missing"))
    }
}

/// Copies a message's flatbuffer out.
fn header(peek: &dyn Peek, block: &Block) -> Result<Vec<u8>, DataError> {
    let mut raw = read(peek, block.header.clone())?;
    let short = || DataError::corrupt(MESSAGE, "it is shorter than its prefix");
    let (first, rest) = raw.split_first_chunk::<4>().ok_or_else(short)?;
    let (first, second) = (*first, *rest.first_chunk::<4>().ok_or_else(short)?);
    // Files from before format version 0.15 have no continuation marker.
    let (prefix, len) = if first == CONTINUATION {
        (8, second)
    } else {
        (4, first)
    };
    let (len, room) = (i32::from_le_bytes(len), raw.len() - prefix);
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= room) else {
        return Err(DataError::corrupt(
            MESSAGE,
            format!("length {len}, expected 0 to {room}"),
        ));
    };
    raw.drain(..prefix);
    raw.truncate(len);
    Ok(raw)
}

fn root(raw: &[u8]) -> Result<ipc::Message<'_>, DataError> {
    ipc::root_as_message_with_opts(&options(raw.len()), raw)
        .map_err(|error| invalid(MESSAGE, &error))
}

fn check_body(message: ipc::Message<'_>, block: &Block) -> Result<(), DataError> {
    let (found, expected) = (message.bodyLength(), block.body.end - block.body.start);
    if u64::try_from(found) != Ok(expected) {
        let detail = format!("a body of {found} bytes, expected {expected} as in the footer");
        return Err(DataError::corrupt(MESSAGE, detail));
    }
    Ok(())
}

/// A flatbuffer may refer to one table many times: no more tables than it has room for.
fn options(size: usize) -> VerifierOptions {
    VerifierOptions {
        max_depth: 128,
        max_tables: size / 4 + 1,
        ..VerifierOptions::default()
    }
}

fn invalid(part: &'static str, error: &flatbuffers::InvalidFlatbuffer) -> DataError {
    let text = error.to_string();
    let line = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    DataError::corrupt(part, format!("invalid flatbuffer: {line}"))
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

fn read(peek: &dyn Peek, range: Range<u64>) -> Result<Vec<u8>, DataError> {
    let len = usize::try_from(range.end - range.start)
        .map_err(|_| DataError::corrupt("arrow file", "a part is larger than memory"))?;
    let mut bytes = vec![0; len];
    peek.read(range.start, &mut bytes)?;
    Ok(bytes)
}

fn array<const N: usize>(peek: &dyn Peek, at: u64) -> Result<[u8; N], DataError> {
    let mut bytes = [0; N];
    peek.read(at, &mut bytes)?;
    Ok(bytes)
}
