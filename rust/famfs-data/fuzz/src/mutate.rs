//! Changes a file so that what is behind its outermost checks is reached.
//!
//! A byte changed anywhere mostly breaks a magic, a length or a checksum. Half of the changes are
//! therefore of one number where numbers stand, and after most of them what is around is mended.

use crate::tables::Rng;

const MAGIC: &[u8] = b"ARROW1";
const INDEX: &[u8] = b"FAMFSIX1";
const CHECKSUM: &[u8] = b"FAMFSCRC";
const NPY: &[u8] = b"\x93NUMPY";
const MESSAGE: [u8; 4] = [0xff; 4];

/// Changes the first `size` bytes; how many there are then. `blind` is the fuzzer's own way.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    seed: u32,
    blind: impl FnOnce(&mut [u8]) -> usize,
) -> usize {
    let mut rng = Rng(seed.into());
    let way = rng.below(4);
    if way == 0 || size < 16 {
        return blind(data);
    }
    let size = if way == 1 {
        blind(data)
    } else {
        for _ in 0..1 + rng.below(3) {
            number(&mut data[..size], &mut rng);
        }
        size
    };
    mend(&mut data[..size]);
    size
}

/// Where an Arrow file's footer lies.
fn footer(file: &[u8]) -> Option<(usize, usize)> {
    let end = file.len().checked_sub(10)?;
    let len = i32::from_le_bytes(*file.get(end..)?.first_chunk()?);
    let start = end.checked_sub(usize::try_from(len).ok()?)?;
    Some((start, end))
}

/// Puts another number where one may stand.
fn number(file: &mut [u8], rng: &mut Rng) {
    let size = file.len();
    let (start, end) = match (rng.below(4), footer(file)) {
        (0, Some((start, end))) => (start, end),
        (1, Some((start, _))) => (start.saturating_sub(400), start),
        (2, _) => message(file, rng).unwrap_or((0, size)),
        _ => (0, size),
    };
    let width = [1, 2, 4, 4, 8, 8][rng.below(6)];
    let at = (start + rng.below(end.saturating_sub(start))) / width * width;
    if at + width > size {
        return;
    }
    let mut old = [0; 8];
    old[..width].copy_from_slice(&file[at..at + width]);
    let old = u64::from_le_bytes(old);
    let new = match rng.below(12) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => (1_u64 << (8 * width - 1)) - 1,
        4 => 1 << (8 * width - 1),
        5 => old.wrapping_add(1),
        6 => old.wrapping_sub(1),
        7 => old ^ 1 << rng.below(8 * width),
        8 => size as u64,
        9 => rng.below(64) as u64,
        10 => old.wrapping_mul(2),
        _ => {
            // What stands elsewhere: an offset or a length of something else.
            let from = rng.below(size - width);
            let mut other = [0; 8];
            other[..width].copy_from_slice(&file[from..from + width]);
            u64::from_le_bytes(other)
        }
    };
    file[at..at + width].copy_from_slice(&new.to_le_bytes()[..width]);
}

/// The header of one of the messages.
fn message(file: &[u8], rng: &mut Rng) -> Option<(usize, usize)> {
    let places: Vec<usize> = (0..file.len().saturating_sub(8))
        .step_by(8)
        .filter(|at| file[*at..*at + 4] == MESSAGE)
        .take(1000)
        .collect();
    let start = *places.get(rng.below(places.len()))?;
    let len = i32::from_le_bytes(*file[start + 4..].first_chunk()?);
    let end = start
        .checked_add(8)?
        .checked_add(usize::try_from(len).ok()?)?;
    (end <= file.len()).then_some((start, end))
}

/// Makes right what the outermost checks look at, of whatever kind of file it nearly is.
pub fn mend(file: &mut [u8]) {
    let size = file.len();
    if size < 64 {
        return;
    }
    if file.starts_with(b"AR") {
        file[..6].copy_from_slice(MAGIC);
        file[size - 6..].copy_from_slice(MAGIC);
        let trailer = footer(file).and_then(|(start, _)| start.checked_sub(40));
        if let Some(at) = trailer.filter(|at| &file[at + 32..at + 40] == INDEX) {
            file[at + 28..at + 32].fill(0);
            let sum = crc32fast::hash(&file[at..at + 40]);
            file[at + 28..at + 32].copy_from_slice(&sum.to_le_bytes());
        }
    } else if file.starts_with(b"\x93N") {
        file[..6].copy_from_slice(NPY);
        let newline = file[10..].iter().position(|byte| *byte == b'\n');
        if let (Some(len), 1) = (newline, file[6]) {
            let len = u16::try_from(len + 1).unwrap_or(u16::MAX);
            file[8..10].copy_from_slice(&len.to_le_bytes());
        }
        let at = size - 16;
        if &file[at..at + 8] == CHECKSUM {
            let sum = crc32fast::hash(&file[..at]);
            file[at + 8..at + 12].copy_from_slice(&sum.to_le_bytes());
        }
    } else if file[8] == b'{' {
        let last = file.windows(2).rposition(|pair| pair == b"}}");
        let len = last.map_or(0, |at| at + 2 - 8) as u64;
        file[..8].copy_from_slice(&len.to_le_bytes());
    }
}
