//! Paths inside a volume: relative, kept as bytes, at most 79 of them.
//!
//! Owns the rules that a path must keep, the same for what is read from the media and for what a
//! user asks for. Nothing is cut, decoded or made real here.

use core::{fmt, str};

use crate::media::PATH_FIELD;

/// The longest path in bytes: the field on the media keeps one byte for its NUL.
pub const MAX_PATH: usize = PATH_FIELD - 1;

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path has no bytes.
    #[error("the path is empty")]
    Empty,
    /// The path does not fit its field on the media.
    #[error("the path has {len} bytes, {MAX_PATH} is the most")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The path begins with a slash.
    #[error("the path is absolute")]
    Absolute,
    /// Two slashes follow each other, or the path ends with one.
    #[error("the path has an empty part: two slashes together, or one at its end; leave them out")]
    EmptyPart,
    /// A part is `.` or `..`.
    #[error(
        "the path has a part `.` or `..`, which mean nothing in a volume; name it from the mount point on"
    )]
    DotPart,
    /// The path has a NUL byte.
    #[error("the path has a NUL byte")]
    Nul,
    /// The field on the media has no NUL byte.
    #[error("the path field has no NUL byte")]
    Unterminated,
    /// The path came as text that no bytes stand for.
    #[error("the path has half a surrogate pair, which no name has; give the path as bytes")]
    NotText,
    /// The name is not to be given: see [`RelPath::is_reserved`].
    #[error("`.meta` is where mounts by the kernel keep their own files; choose another name")]
    Reserved,
}

/// A valid path inside a volume.
///
/// ```
/// use famfs_core::path::RelPath;
/// let path = RelPath::new(b"models/v1").unwrap();
/// assert_eq!(path.parent(), Some(&b"models"[..]));
/// assert_eq!(path.name(), b"v1");
/// ```
#[derive(Clone, Copy)]
pub struct RelPath {
    field: [u8; PATH_FIELD],
    len: u8,
}

impl RelPath {
    /// Takes `bytes` as they are.
    ///
    /// # Errors
    /// The first rule of [`PathError`] that they break.
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        let len = Self::check(bytes)?;
        let mut field = [0; PATH_FIELD];
        field[..usize::from(len)].copy_from_slice(bytes);
        Ok(Self { field, len })
    }

    /// The length of what keeps all rules.
    fn check(bytes: &[u8]) -> Result<u8, PathError> {
        let len = bytes.len();
        if len == 0 {
            return Err(PathError::Empty);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        if bytes[0] == b'/' {
            return Err(PathError::Absolute);
        }
        for part in bytes.split(|&b| b == b'/') {
            match part {
                b"" => return Err(PathError::EmptyPart),
                b"." | b".." => return Err(PathError::DotPart),
                _ => {}
            }
        }
        let short = u8::try_from(len).ok().filter(|_| len <= MAX_PATH);
        short.ok_or(PathError::TooLong { len })
    }

    /// Reads a path from its field on the media; bytes after the NUL are not looked at.
    pub(crate) fn from_field(field: &[u8; PATH_FIELD]) -> Result<Self, PathError> {
        let len = field
            .iter()
            .position(|&b| b == 0)
            .ok_or(PathError::Unterminated)?;
        let short = Self::check(&field[..len])?;
        // The field as a whole, then its rest cleared: a processor stalls on bytes that are read as
        // one soon after they were written in pieces.
        let mut field = *field;
        field[len..].fill(0);
        Ok(Self { field, len: short })
    }

    /// The field on the media: the path, padded with NULs.
    pub(crate) fn field(&self) -> &[u8; PATH_FIELD] {
        &self.field
    }

    /// The path's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.field[..usize::from(self.len)]
    }

    /// Whether it is `.meta` or lies in it, where a kernel mount keeps the superblock, the log and
    /// old versions. A log may name it; nobody should.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.as_bytes().split(|&byte| byte == b'/').next() == Some(b".meta")
    }

    /// The directory that the path lies in; `None` where that is the root.
    #[must_use]
    pub fn parent(&self) -> Option<&[u8]> {
        parent(self.as_bytes())
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        name(self.as_bytes())
    }
}

/// The part of `path` before its last slash; `None` where it has none.
#[must_use]
pub fn parent(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|&b| b == b'/').map(|at| &path[..at])
}

/// The part of `path` after its last slash.
#[must_use]
pub fn name(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|&b| b == b'/')
        .map_or(path, |at| &path[at + 1..])
}

impl PartialEq for RelPath {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RelPath {}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl core::hash::Hash for RelPath {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Bytes that are not printable ASCII or valid UTF-8 are shown as escapes.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match str::from_utf8(self.as_bytes()) {
            Ok(text) if !text.contains(char::is_control) => f.write_str(text),
            _ => write!(f, "{}", self.as_bytes().escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_error() {
        let long = [b'a'; 80];
        let cases: &[(&[u8], PathError)] = &[
            (b"", PathError::Empty),
            (&long, PathError::TooLong { len: 80 }),
            (b"/a", PathError::Absolute),
            (b"a//b", PathError::EmptyPart),
            (b"a/", PathError::EmptyPart),
            (b"a/../b", PathError::DotPart),
            (b"./a", PathError::DotPart),
            (b"a\0b", PathError::Nul),
        ];
        for (bytes, want) in cases {
            assert_eq!(
                RelPath::new(bytes).unwrap_err(),
                *want,
                "{}",
                bytes.escape_ascii()
            );
        }
        assert!(RelPath::new(&[b'a'; 79]).is_ok());
        for (bytes, reserved) in [
            (&b".meta"[..], true),
            (b".meta/x", true),
            (b".metal", false),
            (b"a/.meta", false),
        ] {
            assert_eq!(RelPath::new(bytes).unwrap().is_reserved(), reserved);
        }
        assert_eq!(
            RelPath::from_field(&[b'a'; 80]).unwrap_err(),
            PathError::Unterminated
        );
    }

    #[test]
    fn bytes_are_kept_as_they_are() {
        let path = RelPath::new(b"a/\xff..b/...").unwrap();
        assert_eq!(path.as_bytes(), b"a/\xff..b/...");
        assert_eq!(RelPath::from_field(path.field()).unwrap(), path);
        assert_eq!(std::format!("{path}"), "a/\\xff..b/...");
        assert_eq!(path.parent(), Some(&b"a/\xff..b"[..]));
        assert_eq!(path.name(), b"...");
        assert_eq!(RelPath::new(b"top").unwrap().parent(), None);
    }
}
