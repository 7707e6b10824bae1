//! Content in pieces: what a seed gives, written to a reservation or compared with a file.
//!
//! Owns how much memory that takes: a piece at a time, whatever the file's size.

use anyhow::Result;
use famfs::core::seeded::Seeded;
use famfs::core::units::FileOff;
use famfs::mem::View;
use famfs::{Reservation, Volume};

use crate::error::Error;
use crate::progress::Progress;

/// Bytes that are worked on at once. A multiple of four, as seeded content asks for.
pub(super) const PIECE: usize = 4 << 20;

/// The pieces of `len` bytes: where they begin, and how long they are.
pub(super) fn pieces(len: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..len).step_by(PIECE).map(move |at| {
        let left = usize::try_from(len - at).unwrap_or(usize::MAX);
        (at, left.min(PIECE))
    })
}

/// Fills a reservation with the content of `seed`; seed 0 leaves the zeros that it has.
pub(super) fn fill(reservation: &Reservation, path: &str, seed: u32) -> Result<()> {
    if seed == 0 {
        return Ok(());
    }
    let mut seeded = Seeded::new(seed);
    let mut buffer = buffer(reservation.size().0);
    let progress = Progress::new(reservation.size().0, false);
    progress.name(path);
    for (at, len) in pieces(reservation.size().0) {
        let piece = &mut buffer[..len];
        seeded.fill(piece);
        reservation.fill(FileOff(at), piece)?;
        progress.add(len as u64);
    }
    Ok(())
}

/// Room for one piece of something of `len` bytes.
pub(super) fn buffer(len: u64) -> Vec<u8> {
    vec![0; usize::try_from(len).unwrap_or(PIECE).min(PIECE)]
}

/// Reads bytes of a file. Memory that was lost is an error here, and no signal.
pub(super) fn read(volume: &Volume, view: &View, at: u64, into: &mut [u8]) -> Result<()> {
    Ok(view
        .read(at, into)
        .map_err(|fault| famfs::Error::MemoryFault {
            path: volume.path().to_owned(),
            fault,
        })?)
}

/// Compares a file with the content of `seed`.
pub(super) fn compare(volume: &Volume, view: &View, path: &str, seed: u32) -> Result<()> {
    let len = view_len(view);
    let (mut expected, mut found) = (buffer(len), buffer(len));
    let mut seeded = Seeded::new(seed);
    let progress = Progress::new(len, false);
    progress.name(path);
    for (at, len) in pieces(len) {
        let (expected, found) = (&mut expected[..len], &mut found[..len]);
        seeded.fill(expected);
        read(volume, view, at, found)?;
        if let Some((offset, expected, found)) = first_difference(expected, found) {
            return Err(Error::Mismatch {
                path: path.to_owned(),
                at: at + offset,
                found,
                expected,
                seed,
            }
            .into());
        }
        progress.add(len as u64);
    }
    Ok(())
}

/// A view's length in bytes; its bytes are not touched.
pub(super) fn view_len(view: &View) -> u64 {
    view.pieces().iter().map(|piece| piece.len).sum()
}

/// The first byte in which two pieces differ: where, and what it is in each.
pub(super) fn first_difference(one: &[u8], other: &[u8]) -> Option<(u64, u8, u8)> {
    if one == other {
        return None;
    }
    (0..)
        .zip(one.iter().zip(other))
        .find(|(_, (one, other))| one != other)
        .map(|(at, (&one, &other))| (at, one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_once() {
        let piece = PIECE as u64;
        assert_eq!(pieces(0).count(), 0);
        assert_eq!(pieces(1).collect::<Vec<_>>(), [(0, 1)]);
        assert_eq!(
            pieces(2 * piece + 3).collect::<Vec<_>>(),
            [(0, PIECE), (piece, PIECE), (2 * piece, 3)]
        );
        assert_eq!(pieces(piece).collect::<Vec<_>>(), [(0, PIECE)]);
    }

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"axx"), Some((1, b'b', b'x')));
    }
}
