//! Rows of a device: as many bytes each as makes round numbers, and what of each is used for what.
//!
//! Owns the scale, which the terminal and SVG share, and how ranges that are too small to be seen
//! are put together.

use famfs::core::units::ALLOC_UNIT;

use super::{Range, Use};

/// Rows of a picture at the most.
const MOST_ROWS: u64 = 16;

/// Bytes of a row: the least power of two, of whole units, that needs no more rows than that.
pub(super) fn bytes_in_row(end: u64) -> u64 {
    let mut row = ALLOC_UNIT;
    while end.div_ceil(row) > MOST_ROWS {
        row *= 2;
    }
    row
}

/// A piece of a row: ranges that are drawn as one. Places are counted from the row's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: u64,
    pub(super) to: u64,
    /// What most of it is used for, and which range that is: of what is free only where nothing
    /// else is there.
    pub(super) kind: Use,
    pub(super) range: usize,
    /// How many ranges it stands for.
    pub(super) count: usize,
    /// Bytes that are not free.
    pub(super) used: u64,
}

/// The pieces of the row from `start` on, `row` bytes long, each of `least` bytes at least.
pub(super) fn wide(ranges: &[Range], start: u64, row: u64, least: u64) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let first = ranges.partition_point(|range| range.end() <= start);
    for (index, range) in ranges.iter().enumerate().skip(first) {
        if range.offset >= start + row {
            break;
        }
        let from = range.offset.max(start) - start;
        let to = range.end().min(start + row) - start;
        let used = if range.kind == Use::Free {
            0
        } else {
            to - from
        };
        let new = Piece {
            from,
            to,
            kind: range.kind,
            range: index,
            count: 1,
            used,
        };
        match pieces.last_mut() {
            // The row's last may be small: it is seen all the same, as what is before it ends.
            Some(before) if before.to - before.from < least && to - from < least => {
                join(before, &new);
            }
            _ => pieces.push(new),
        }
    }
    pieces
}

fn join(into: &mut Piece, piece: &Piece) {
    // What is there is seen, however small, beside what only could be.
    let weight = |kind| match kind {
        Use::Free => 0,
        Use::LogRoom => 1,
        _ => 2,
    };
    if (weight(piece.kind), piece.used) > (weight(into.kind), into.used) {
        (into.kind, into.range) = (piece.kind, piece.range);
    }
    into.to = piece.to;
    into.count += piece.count;
    into.used += piece.used;
}

/// The row from `start` on in `cells` pieces of one width.
pub(super) fn even(ranges: &[Range], start: u64, row: u64, cells: u64) -> Vec<Piece> {
    let edge = |cell: u64| {
        // No overflow: a device has 2^50 bytes, a terminal not as many columns.
        let edge = u128::from(row) * u128::from(cell) / u128::from(cells.max(1));
        u64::try_from(edge).unwrap_or(row)
    };
    let end = ranges.last().map_or(0, Range::end);
    (0..cells)
        .map(|cell| (start + edge(cell), start + edge(cell + 1)))
        .take_while(|(from, _)| *from < end)
        .filter_map(|(from, to)| {
            let whole = wide(ranges, from, (to - from).max(1), u64::MAX);
            let mut pieces = whole.into_iter();
            let mut first = pieces.next()?;
            pieces.for_each(|piece| join(&mut first, &piece));
            first.from = from - start;
            first.to = to - start;
            Some(first)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_round() {
        const GIB: u64 = 1 << 30;
        assert_eq!(bytes_in_row(64 << 20), 4 << 20);
        assert_eq!(bytes_in_row(GIB), 64 << 20);
        assert_eq!(bytes_in_row(GIB + 1), 128 << 20);
        assert_eq!(bytes_in_row(1), ALLOC_UNIT);
        assert!((1 << 50) / bytes_in_row(1 << 50) <= MOST_ROWS);
    }

    fn ranges() -> Vec<Range> {
        let lengths = [
            (Use::Superblock, 10),
            (Use::File, 1),
            (Use::Dead, 3),
            (Use::Free, 5),
            (Use::File, 1),
            (Use::Free, 80),
        ];
        let mut at = 0;
        let range = |(kind, len)| {
            let range = Range::plain(kind, at, len);
            at += len;
            range
        };
        lengths.into_iter().map(range).collect()
    }

    #[test]
    fn what_is_small_is_put_together_and_what_is_used_is_seen() {
        let found: Vec<_> = wide(&ranges(), 0, 100, 4)
            .iter()
            .map(|piece| (piece.from, piece.to, piece.kind, piece.count))
            .collect();
        let expected = [
            (0, 10, Use::Superblock, 1),
            (10, 14, Use::Dead, 2),
            (14, 19, Use::Free, 1),
            (19, 20, Use::File, 1),
            (20, 100, Use::Free, 1),
        ];
        assert_eq!(found, expected);
        let cells: Vec<_> = even(&ranges(), 0, 100, 10)
            .iter()
            .map(|piece| (piece.kind, piece.used))
            .collect();
        assert_eq!(
            cells[..3],
            [(Use::Superblock, 10), (Use::Dead, 5), (Use::Free, 0)]
        );
        assert_eq!(cells.len(), 10);
        assert_eq!(even(&ranges(), 100, 100, 10), []);
        assert_eq!(even(&ranges(), 50, 100, 10).len(), 5);
    }
}
