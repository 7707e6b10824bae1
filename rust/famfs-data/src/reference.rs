//! References: which file of which volume, and what of it, in a few bytes.
//!
//! A reference outlives its name: it names the log entry that made the file, so that it opens the
//! same bytes after the path was replaced or removed, on any host that mounts the volume.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use famfs::core::path::RelPath;
use famfs::core::units::Slot;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use uuid::Uuid;

use crate::error::DataError;
use crate::selection::{Selection, number};

/// What begins a reference's text.
pub const SCHEME: &str = "famfs://";

/// What can't stand for itself in the path of a URL.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A reference to a published dataset.
///
/// Two are equal where volume, log entry and selection are: the path is what it was called.
///
/// ```
/// # use famfs_data::Ref;
/// let text = "famfs://6ba7b810-9dad-11d1-80b4-00c04fd430c8/a%20b/c?rows=5:10&cols=0:3,7#42";
/// let reference: Ref = text.parse()?;
/// assert_eq!(reference.path().as_bytes(), b"a b/c");
/// assert_eq!(reference.index().0, 42);
/// assert_eq!(reference.to_string(), text);
/// # Ok::<(), famfs_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ref {
    uuid: Uuid,
    path: RelPath,
    index: Slot,
    selection: Selection,
}

impl Ref {
    /// A reference to all of the file that the log entry at `index` made.
    #[must_use]
    pub fn new(uuid: Uuid, path: RelPath, index: Slot) -> Self {
        Self {
            uuid,
            path,
            index,
            selection: Selection::default(),
        }
    }

    /// The same file, with a selection of it.
    #[must_use]
    pub fn select(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// The volume.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// What the file was called when it was published.
    #[must_use]
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// The log entry that made the file.
    #[must_use]
    pub fn index(&self) -> Slot {
        self.index
    }

    /// What of the file is meant.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }
}

impl PartialEq for Ref {
    fn eq(&self, other: &Self) -> bool {
        (self.uuid, self.index, &self.selection) == (other.uuid, other.index, &other.selection)
    }
}

impl Eq for Ref {}

impl Hash for Ref {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.uuid, self.index.0, &self.selection).hash(state);
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = percent_encode(self.path.as_bytes(), RESERVED);
        write!(f, "{SCHEME}{}/{path}", self.uuid)?;
        if !self.selection.is_all() {
            write!(f, "?{}", self.selection)?;
        }
        write!(f, "#{}", self.index.0)
    }
}

impl FromStr for Ref {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let bad = |why: &str| DataError::Reference {
            text: text.to_owned(),
            why: why.to_owned(),
        };
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| bad("it begins with famfs://"))?;
        let (rest, index) = rest
            .rsplit_once('#')
            .ok_or_else(|| bad("it ends with # and the index of the log entry"))?;
        let index = number(index).ok_or_else(|| bad("what follows # is not a number"))?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (uuid, path) = rest
            .split_once('/')
            .ok_or_else(|| bad("a path follows the volume's uuid"))?;
        let uuid = Uuid::try_parse(uuid).map_err(|_| bad("what follows famfs:// is no uuid"))?;
        let path: Vec<u8> = percent_decode_str(path).collect();
        let path = RelPath::new(&path).map_err(|why| bad(&why.to_string()))?;
        let selection = match query {
            Some(query) => query.parse().map_err(bad)?,
            None => Selection::default(),
        };
        Ok(Self::new(uuid, path, Slot(index)).select(selection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

    #[test]
    fn what_is_no_reference_says_why() {
        for (text, part) in [
            ("file:///x#1", "begins with"),
            (&format!("famfs://{UUID}/x"), "ends with #"),
            (&format!("famfs://{UUID}/x#-1"), "not a number"),
            (&format!("famfs://{UUID}/x#+1"), "not a number"),
            (&format!("famfs://{UUID}/x#99999999999999999999"), "number"),
            (&format!("famfs://{UUID}#1"), "path follows"),
            ("famfs://volume/x#1", "no uuid"),
            (&format!("famfs://{UUID}/a/../b#1"), ".."),
            (&format!("famfs://{UUID}/#1"), "empty"),
            (&format!("famfs://{UUID}/a%00b#1"), "NUL"),
            (&format!("famfs://{UUID}/x?rows=5-6#1"), "rows are"),
            (&format!("famfs://{UUID}/x?rows=5:4#1"), "rows are"),
            (&format!("famfs://{UUID}/x?cols=a#1"), "columns are"),
            (
                &format!("famfs://{UUID}/x?rows=1:2&rows=1:2#1"),
                "may follow",
            ),
            (&format!("famfs://{UUID}/x?what#1"), "may follow"),
        ] {
            let error = text.parse::<Ref>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn equality_is_of_volume_entry_and_selection() {
        let parse = |rest: &str| format!("famfs://{UUID}/{rest}").parse::<Ref>().unwrap();
        assert_eq!(parse("a#1"), parse("b#1"));
        assert_ne!(parse("a#1"), parse("a#2"));
        assert_ne!(parse("a#1"), parse("a?rows=0:1#1"));
        assert_ne!(parse("a?cols=#1"), parse("a#1"));
    }

    proptest! {
        #[test]
        fn text_and_back_is_the_same(
            path in proptest::collection::vec(any::<u8>(), 1..79),
            index in any::<u64>(),
            selection in crate::selection::tests::any_selection(),
        ) {
            let Ok(path) = RelPath::new(&path) else { return Ok(()) };
            let uuid = UUID.parse().unwrap();
            let reference = Ref::new(uuid, path, Slot(index)).select(selection);
            let text = reference.to_string();
            prop_assert!(text.is_ascii());
            let back: Ref = text.parse().unwrap();
            prop_assert_eq!(back.path(), &path);
            prop_assert_eq!(back, reference);
        }
    }
}
