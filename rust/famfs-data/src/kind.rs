//! What a file is, told from its first bytes.

use std::fmt;

/// What a file holds. Only its beginning has been looked at: opening it may still find it broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An Arrow IPC file.
    Table,
    /// One column of a table by itself: a part of a file, and never a file.
    Column,
    /// A NumPy `.npy` file.
    Array,
    /// A Parquet file.
    Parquet,
    /// A safetensors file.
    Safetensors,
    /// Anything else.
    Bytes,
}

impl Kind {
    /// As many leading bytes as [`Kind::of`] looks at.
    pub const PREFIX: usize = 9;

    /// Tells the kind of a file of `size` bytes from its first [`Kind::PREFIX`] bytes, or from as
    /// many as there are.
    ///
    /// ```
    /// # use famfs_data::Kind;
    /// assert_eq!(Kind::of(b"ARROW1\0\0\xff", 4096), Kind::Table);
    /// assert_eq!(Kind::of(b"hello", 5).to_string(), "bytes");
    /// ```
    #[must_use]
    pub fn of(head: &[u8], size: u64) -> Self {
        if head.starts_with(b"ARROW1") {
            return Self::Table;
        }
        if head.starts_with(b"\x93NUMPY") {
            return Self::Array;
        }
        if head.starts_with(b"PAR1") {
            return Self::Parquet;
        }
        // A safetensors file starts with its header's length and the header, a JSON object.
        if let Some((length, rest)) = head.split_first_chunk::<8>() {
            let length = u64::from_le_bytes(*length);
            let fits = length >= 2 && length.checked_add(8).is_some_and(|end| end <= size);
            if fits && rest.first() == Some(&b'{') {
                return Self::Safetensors;
            }
        }
        Self::Bytes
    }

    /// The kind's name, as users see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Column => "column",
            Self::Array => "array",
            Self::Parquet => "parquet",
            Self::Safetensors => "safetensors",
            Self::Bytes => "bytes",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        for (head, size, kind) in [
            (&b"ARROW1\0\0"[..], 100, "table"),
            (b"\x93NUMPY\x01\0v", 100, "array"),
            (b"PAR1", 100, "parquet"),
            (b"\x10\0\0\0\0\0\0\0{", 24, "safetensors"),
            (b"\x10\0\0\0\0\0\0\0{", 23, "bytes"),
            (b"\x10\0\0\0\0\0\0\0", 24, "bytes"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff{", 24, "bytes"),
            (b"ARROW", 5, "bytes"),
            (b"", 0, "bytes"),
        ] {
            assert_eq!(Kind::of(head, size).to_string(), kind, "{head:?}");
        }
    }
}
