//! Reading and writing past the page cache, for ranges of any alignment.
//!
//! Owns the bounce buffer and the edges of a write, which are read first: no other writer may be at
//! work in the same units.
#![expect(unsafe_code, reason = "direct I/O needs aligned memory")]

use std::{fs::File, io, os::unix::fs::FileExt};

/// At once through the buffer.
const BUFFER: u64 = 1 << 20;
/// What the buffer is aligned to: no device asks for more than a page.
const PAGE: usize = 4096;

#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; PAGE]);

/// An aligned buffer.
struct Bounce(Vec<Page>);

impl Bounce {
    fn new(len: u64) -> Self {
        let pages = usize::try_from(len).map_or(1, |len| len.div_ceil(PAGE));
        Self(vec![Page([0; PAGE]); pages])
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: pages are arrays of bytes without padding between them, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * PAGE) }
    }
}

/// A stretch of whole units, and the part of it that is wanted.
struct Stretch {
    at: u64,
    len: usize,
    skip: usize,
    wanted: usize,
}

/// The first stretch of `len` bytes at `off` in a device of `size` bytes.
fn stretch(size: u64, unit: u64, off: u64, len: usize) -> io::Result<Stretch> {
    let at = off - off % unit;
    let skip = off - at;
    let end = off.saturating_add(len as u64).min(at + BUFFER.max(unit));
    let whole = end.next_multiple_of(unit).min(size) - at;
    let narrow = |number| usize::try_from(number).map_err(io::Error::other);
    Ok(Stretch {
        at,
        len: narrow(whole)?,
        skip: narrow(skip)?,
        wanted: narrow(end - off)?,
    })
}

/// Reads exactly `into.len()` bytes, which lie inside of `size`.
pub(super) fn read(
    file: &File,
    size: u64,
    unit: u64,
    mut off: u64,
    mut into: &mut [u8],
) -> io::Result<()> {
    let mut bounce = Bounce::new((into.len() as u64 + 2 * unit).min(BUFFER.max(unit)));
    while !into.is_empty() {
        let part = stretch(size, unit, off, into.len())?;
        let bytes = &mut bounce.bytes()[..part.len];
        file.read_exact_at(bytes, part.at)?;
        let (now, later) = into.split_at_mut(part.wanted);
        now.copy_from_slice(&bytes[part.skip..part.skip + part.wanted]);
        into = later;
        off += part.wanted as u64;
    }
    Ok(())
}

/// Writes all of `bytes`, which lie inside of `size`.
pub(super) fn write(
    file: &File,
    size: u64,
    unit: u64,
    mut off: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    let mut bounce = Bounce::new((bytes.len() as u64 + 2 * unit).min(BUFFER.max(unit)));
    while !bytes.is_empty() {
        let part = stretch(size, unit, off, bytes.len())?;
        let buffer = &mut bounce.bytes()[..part.len];
        if part.wanted < part.len {
            file.read_exact_at(buffer, part.at)?;
        }
        let (now, later) = bytes.split_at(part.wanted);
        buffer[part.skip..part.skip + part.wanted].copy_from_slice(now);
        file.write_all_at(buffer, part.at)?;
        bytes = later;
        off += part.wanted as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pattern, patterned};

    /// An ordinary file takes any alignment: this is about the arithmetic.
    #[test]
    fn any_range_is_read_and_written_and_nothing_else() {
        let size = 3 * (1 << 20) + 512;
        let (file, mut expected) = patterned(size);
        let file = file.as_file();
        let ranges = [
            (0, 1),
            (511, 2),
            (512, 512),
            (100, 5000),
            (4096, 1 << 20),
            (1000, (2 << 20) + 77),
            (0, size),
            (size - 1, 1),
            (size - 513, 513),
            (size, 0),
        ];
        for (seed, (off, len)) in ranges.into_iter().enumerate() {
            for unit in [512, 4096] {
                let bytes = pattern(len, seed as u64 + 100 * unit);
                write(file, size as u64, unit, off as u64, &bytes).unwrap();
                expected[off..off + len].copy_from_slice(&bytes);
                let mut found = vec![0; len];
                read(file, size as u64, unit, off as u64, &mut found).unwrap();
                assert!(found == bytes, "{len} bytes at {off}");
            }
        }
        let mut found = vec![0; size];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected);
    }
}
