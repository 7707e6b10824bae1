//! Footer and message headers: copied out of the file, then judged on the copy.

use super::message::{CONTINUATION, HEAD, MAGIC};
use super::schema::{self, FileSchema};
use crate::checksum;
use crate::error::DataError;
use crate::place::Peek;
use arrow_ipc as ipc;
use flatbuffers::VerifierOptions;
use std::collections::HashMap;
use std::ops::Range;

const FOOTER: &str = "arrow footer";
const MESSAGE: &str = "arrow message";

/// Where a message lies in the file; both ranges are inside.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) header: Range<u64>,
    pub(super) body: Range<u64>,
}

/// What the footer says.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) version: ipc::MetadataVersion,
    pub(super) schema: FileSchema,
    pub(super) dictionaries: Vec<Block>,
    pub(super) batches: Vec<Block>,
    pub(super) metadata: HashMap<String, String>,
    /// The file's checksum, and where its digits stand.
    pub(super) checksum: Option<(u64, String)>,
}

/// Judges both ends of the file; where the footer's flatbuffer lies.
pub(super) fn ends(peek: &dyn Peek) -> Result<Range<u64>, DataError> {
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
    Ok(start..start + len)
}

/// Reads and judges the footer.
pub(super) fn footer(peek: &dyn Peek, place: Range<u64>) -> Result<Footer, DataError> {
    let start = place.start;
    let bytes = read(peek, place)?;
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
    let checksum = checksum_in(footer, &bytes);
    let checksum = checksum.map(|(at, digits)| (start + at as u64, digits.to_owned()));
    let dictionaries = blocks(footer.dictionaries().iter().flatten(), start)?;
    let batches = blocks(footer.recordBatches().iter().flatten(), start)?;
    Ok(Footer {
        version,
        schema: schema::decode(schema, version)?,
        dictionaries,
        batches,
        metadata: schema::pairs(footer.custom_metadata()),
        checksum,
    })
}

/// The digits of the checksum in a footer's metadata, and where in the flatbuffer they stand;
/// `None` where there is no checksum.
pub(super) fn checksum_in<'a>(
    footer: ipc::Footer<'a>,
    bytes: &'a [u8],
) -> Option<(usize, &'a str)> {
    let mut pairs = footer.custom_metadata()?.iter();
    let digits = pairs
        .find(|pair| pair.key() == Some(checksum::KEY))?
        .value()?;
    Some((digits.as_ptr().addr() - bytes.as_ptr().addr(), digits))
}

/// As [`checksum_in`], for a footer that was made here.
pub(super) fn checksum_place(bytes: &[u8]) -> Option<usize> {
    let footer = ipc::root_as_footer_with_opts(&options(bytes.len()), bytes).ok()?;
    Some(checksum_in(footer, bytes)?.0)
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

/// Copies a message's flatbuffer out.
pub(super) fn header(peek: &dyn Peek, block: &Block) -> Result<Vec<u8>, DataError> {
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

pub(super) fn root(raw: &[u8]) -> Result<ipc::Message<'_>, DataError> {
    ipc::root_as_message_with_opts(&options(raw.len()), raw)
        .map_err(|error| invalid(MESSAGE, &error))
}

/// A flatbuffer may refer to one table many times: no more tables than it has room for.
pub(super) fn options(size: usize) -> VerifierOptions {
    VerifierOptions {
        max_depth: 128,
        max_tables: size / 4 + 1,
        ..VerifierOptions::default()
    }
}

pub(super) fn invalid(part: &'static str, error: &flatbuffers::InvalidFlatbuffer) -> DataError {
    let text = error.to_string();
    let line = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    DataError::corrupt(part, format!("invalid flatbuffer: {line}"))
}

pub(super) fn read(peek: &dyn Peek, range: Range<u64>) -> Result<Vec<u8>, DataError> {
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
