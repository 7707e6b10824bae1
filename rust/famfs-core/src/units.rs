//! Units of the format: offsets, lengths, slots and allocation units as types of their own.
//!
//! Owns the arithmetic between bytes and allocation units. An offset in a file ([`FileOff`]) and
//! an offset on a device ([`DevOff`]) are different types, so that neither is taken for the other.

use core::fmt;

/// The allocation unit in bytes: every extent begins and ends on a multiple of it.
pub const ALLOC_UNIT: u64 = 0x20_0000;

/// The largest device that is taken, in bytes (1 PiB): it bounds the allocation bitmap to 64 MiB.
pub const MAX_DEVICE: u64 = 1 << 50;

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

unit! {
    /// An offset on a device, in bytes.
    DevOff
}
unit! {
    /// An offset in a file, in bytes.
    FileOff
}
unit! {
    /// A length, in bytes.
    ByteLen
}
unit! {
    /// The index of an entry in the log.
    Slot
}
unit! {
    /// The index of a device in the volume's device table; 0 is the primary.
    DeviceIndex
}

impl DeviceIndex {
    /// The device that holds the superblock and the log.
    pub const PRIMARY: Self = Self(0);
}

impl ByteLen {
    /// The number of allocation units that hold this many bytes.
    #[must_use]
    pub const fn units(self) -> u64 {
        self.0.div_ceil(ALLOC_UNIT)
    }

    /// This length rounded up to whole allocation units; `None` past 2^64.
    #[must_use]
    pub const fn to_whole_units(self) -> Option<Self> {
        match self.0.checked_next_multiple_of(ALLOC_UNIT) {
            Some(len) => Some(Self(len)),
            None => None,
        }
    }
}

impl Slot {
    /// The slot after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_up_to_units() {
        assert_eq!(ByteLen(0).units(), 0);
        assert_eq!(ByteLen(1).units(), 1);
        assert_eq!(ByteLen(ALLOC_UNIT).units(), 1);
        assert_eq!(ByteLen(ALLOC_UNIT + 1).units(), 2);
        assert_eq!(ByteLen(1).to_whole_units(), Some(ByteLen(ALLOC_UNIT)));
        assert_eq!(ByteLen(u64::MAX).to_whole_units(), None);
    }
}
