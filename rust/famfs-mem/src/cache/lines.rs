//! Which cache lines a range touches: arithmetic alone, the same on every processor.

/// The lines that a range of addresses touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    /// The address of the first line.
    pub(crate) first: usize,
    /// How many there are.
    pub(crate) count: usize,
    /// The size of each.
    pub(crate) size: usize,
}

/// The lines of `size` bytes, a power of two, that `len` bytes at `at` touch.
///
/// The range must not wrap around the end of the address space.
pub(crate) fn lines(at: usize, len: usize, size: usize) -> Lines {
    debug_assert!(size.is_power_of_two() && at.checked_add(len).is_some());
    let first = at & !(size - 1);
    let count = if len == 0 {
        0
    } else {
        (at + len - 1 - first) / size + 1
    };
    Lines { first, count, size }
}

impl Lines {
    /// The address of each line.
    #[cfg(test)]
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |line| self.first + line * self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(at: usize, len: usize, size: usize) -> Vec<usize> {
        lines(at, len, size).iter().collect()
    }

    #[test]
    fn an_empty_range_touches_no_line() {
        assert_eq!(starts(0, 0, 64), []);
        assert_eq!(starts(100, 0, 64), []);
    }

    #[test]
    fn a_range_touches_every_line_it_has_a_byte_in() {
        assert_eq!(starts(0, 1, 64), [0]);
        assert_eq!(starts(63, 1, 64), [0]);
        assert_eq!(starts(63, 2, 64), [0, 64]);
        assert_eq!(starts(64, 64, 64), [64]);
        assert_eq!(starts(64, 65, 64), [64, 128]);
        assert_eq!(
            starts(100, 544, 64),
            (1..=10).map(|n| n * 64).collect::<Vec<_>>()
        );
        assert_eq!(starts(100, 200, 128), [0, 128, 256]);
    }

    #[test]
    fn lines_cover_the_range_and_touch_it() {
        for at in 0..130 {
            for len in 1..200 {
                let found = lines(at, len, 32);
                let end = found.first + found.count * 32;
                assert!(found.first <= at && end >= at + len, "{at} {len}");
                assert!(found.first + 32 > at && end - 32 < at + len, "{at} {len}");
            }
        }
    }

    #[test]
    fn the_last_line_of_the_address_space_does_not_wrap() {
        assert_eq!(starts(usize::MAX - 1, 1, 64), [usize::MAX - 63]);
    }
}
