//! Checksums of files: where each format keeps one, and what it is of.
//!
//! It is the CRC-32 of zlib and PNG. A table keeps it in its footer's metadata, as eight hexadecimal
//! digits that count as zeros themselves; an array in a trailer behind its data, which NumPy leaves
//! alone. `docs/format.md` gives the bytes.

use crc32fast::Hasher;

use crate::error::DataError;
use crate::place::Peek;

/// The key of a table's checksum in its footer's metadata.
pub(crate) const KEY: &str = "famfs.crc32";

/// What stands in a footer before the checksum is known, and for the digits while it is computed.
pub(crate) const UNKNOWN: &str = "00000000";

/// What begins an array's trailer.
const MAGIC: [u8; 8] = *b"FAMFSCRC";

/// Bytes of an array's trailer: the magic, the checksum, and as many zeros.
pub(crate) const TRAILER: u64 = 16;

/// Bytes that are read at once.
const PART: usize = 1 << 20;

/// A checksum as it stands in a footer.
pub(crate) fn digits(sum: u32) -> String {
    format!("{sum:08x}")
}

/// Reads a checksum that stands in a footer.
pub(crate) fn read(text: &str) -> Result<u32, DataError> {
    let digits = text.len() == UNKNOWN.len() && text.bytes().all(|b| b.is_ascii_hexdigit());
    match u32::from_str_radix(text, 16) {
        Ok(sum) if digits => Ok(sum),
        _ => Err(DataError::corrupt(
            "checksum",
            format!("{text:?}, expected eight hexadecimal digits"),
        )),
    }
}

/// The trailer of an array with this checksum of all bytes before it.
pub(crate) fn trailer(sum: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The checksum that an array's trailer at `at` keeps; `None` where there is none.
pub(crate) fn of_trailer(peek: &dyn Peek, at: u64) -> Result<Option<u32>, DataError> {
    if at.checked_add(TRAILER).is_none_or(|end| end > peek.len()) {
        return Ok(None);
    }
    let mut magic = [0; 8];
    peek.read(at, &mut magic)?;
    if magic != MAGIC {
        return Ok(None);
    }
    let mut sum = [0; 4];
    peek.read(at + 8, &mut sum)?;
    Ok(Some(u32::from_le_bytes(sum)))
}

/// Compares the file's first `len` bytes with a checksum; `digits` are where it stands itself, in
/// those.
pub(crate) fn check(
    peek: &dyn Peek,
    len: u64,
    digits: Option<u64>,
    expected: u32,
) -> Result<(), DataError> {
    let mut hasher = Hasher::new();
    let mut part = vec![0; PART];
    let mut at = 0;
    while at < len {
        // Up to the digits, then they, then the rest.
        let stop = match digits {
            Some(place) if at < place => place,
            Some(place) if at == place => {
                hasher.update(UNKNOWN.as_bytes());
                at += UNKNOWN.len() as u64;
                continue;
            }
            _ => len,
        };
        let room = usize::try_from(stop.min(len) - at).map_or(PART, |room| room.min(PART));
        peek.read(at, &mut part[..room])?;
        hasher.update(&part[..room]);
        at += room as u64;
    }
    let found = hasher.finalize();
    if found == expected {
        return Ok(());
    }
    Err(DataError::corrupt(
        "checksum",
        format!("{found:08x}, expected {expected:08x}: its bytes have changed since"),
    ))
}
