//! The names of a volume: directories and files, as the log has made them so far.
//!
//! Owns the tree, the files' maps and the versions that were replaced. Grows by one node an entry
//! and forgets none: a reference to a replaced or removed file still finds its node by its slot.
//! What may be made is judged elsewhere (`judge`).

use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use crate::entry::Owner;
use crate::extent::{Extent, Extents, Map};
use crate::judge::{Found, FoundKind};
use crate::path::{name, parent};
use crate::units::{ByteLen, DeviceIndex, Slot};

/// A node of the tree: a directory, or one version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

#[derive(Clone, Debug)]
struct Node {
    path_at: usize,
    path_len: u8,
    /// Whether the name leads here: not replaced, not deleted.
    live: bool,
    owner: Owner,
    slot: Slot,
    parent: Option<NodeId>,
    /// The neighbours among the parent's live children.
    older: Option<NodeId>,
    younger: Option<NodeId>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    File {
        size: ByteLen,
        /// Where its extents stand in `Namespace::extents`.
        extents_at: usize,
        extents_len: u8,
        /// Of an interleaved file.
        chunk_size: Option<ByteLen>,
        /// The version that this one took the place of.
        before: Option<NodeId>,
    },
    Dir(Children),
}

#[derive(Clone, Debug, Default)]
struct Children {
    oldest: Option<NodeId>,
    youngest: Option<NodeId>,
    count: u64,
}

/// What a file is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewFile<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) slot: Slot,
    pub(crate) owner: Owner,
    pub(crate) size: ByteLen,
    pub(crate) map: &'a Map,
}

/// All names of a volume.
#[derive(Clone, Debug)]
pub struct Namespace {
    nodes: Vec<Node>,
    paths: Vec<u8>,
    extents: Vec<Extent>,
    /// Live nodes by their whole path.
    index: HashTable<NodeId>,
    hasher: FixedState,
    root: Children,
    /// The parent of the last name made: the next one is likely beside it.
    recent_parent: Option<NodeId>,
}

/// A directory or a file, as it is read.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a> {
    names: &'a Namespace,
    id: NodeId,
}

impl Namespace {
    /// No names yet, with room for `entries`. `seed` is mixed into hashes: where it can't be
    /// guessed, no log can be made that is slow to replay.
    pub(crate) fn new(seed: u64, entries: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(entries),
            paths: Vec::with_capacity(entries.saturating_mul(24)),
            extents: Vec::with_capacity(entries),
            index: HashTable::with_capacity(entries),
            hasher: FixedState::with_seed(seed),
            root: Children::default(),
            recent_parent: None,
        }
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    fn path_of(&self, id: NodeId) -> &[u8] {
        let node = self.node(id);
        &self.paths[node.path_at..node.path_at + usize::from(node.path_len)]
    }

    fn id(&self, path: &[u8]) -> Option<NodeId> {
        let hash = self.hasher.hash_one(path);
        self.index
            .find(hash, |&id| self.path_of(id) == path)
            .copied()
    }

    /// The live name at `path`; the root itself has no node.
    #[must_use]
    pub fn lookup(&self, path: &[u8]) -> Option<NodeRef<'_>> {
        self.id(path).map(|id| NodeRef { names: self, id })
    }

    /// The node that the entry in `slot` made, also where its name has gone since.
    #[must_use]
    pub fn by_slot(&self, slot: Slot) -> Option<NodeRef<'_>> {
        let at = self
            .nodes
            .binary_search_by_key(&slot, |node| node.slot)
            .ok()?;
        Some(NodeRef {
            names: self,
            id: NodeId(at),
        })
    }

    /// All live names, in the order of the log.
    pub fn iter(&self) -> impl Iterator<Item = NodeRef<'_>> {
        (0..self.nodes.len())
            .map(|at| NodeRef {
                names: self,
                id: NodeId(at),
            })
            .filter(NodeRef::is_live)
    }

    /// All that entries from `slot` on have made, in the order of the log, also what was replaced or
    /// deleted since.
    pub fn made_since(&self, slot: Slot) -> impl Iterator<Item = NodeRef<'_>> {
        let first = self.nodes.partition_point(|node| node.slot < slot);
        (first..self.nodes.len()).map(|at| NodeRef {
            names: self,
            id: NodeId(at),
        })
    }

    /// The names in the directory at `path`, in the order of the log; `None` where no directory
    /// is there. The empty path is the root.
    #[must_use]
    pub fn children(&self, path: &[u8]) -> Option<impl Iterator<Item = NodeRef<'_>>> {
        let children = if path.is_empty() {
            &self.root
        } else {
            match &self.node(self.id(path)?).body {
                Body::Dir(children) => children,
                Body::File { .. } => return None,
            }
        };
        let mut next = children.oldest;
        Some(core::iter::from_fn(move || {
            let id = next?;
            next = self.node(id).younger;
            Some(NodeRef { names: self, id })
        }))
    }

    pub(crate) fn find(&self, path: &[u8]) -> Option<Found> {
        let id = match self.recent_parent {
            Some(recent) if self.path_of(recent) == path => recent,
            _ => self.id(path)?,
        };
        let node = self.node(id);
        let kind = match &node.body {
            Body::File { .. } => FoundKind::File,
            Body::Dir(children) => FoundKind::Dir {
                children: children.count,
            },
        };
        Some(Found {
            slot: node.slot,
            kind,
        })
    }

    /// Makes a file whose name is free and whose parent is there.
    pub(crate) fn make_file(&mut self, file: &NewFile<'_>) {
        self.add_file(file, None);
    }

    /// Makes a file in the place of the one that has its name; bytes that died come back.
    pub(crate) fn replace_file(&mut self, file: &NewFile<'_>) -> ByteLen {
        let before = self.id(file.path);
        let dead = before.map_or(ByteLen(0), |id| self.take_name(id));
        self.add_file(file, before);
        dead
    }

    /// Makes a directory whose name is free and whose parent is there.
    pub(crate) fn make_dir(&mut self, path: &[u8], slot: Slot, owner: Owner) {
        self.add(path, slot, owner, Body::Dir(Children::default()));
    }

    /// Takes a name away; bytes that died come back.
    pub(crate) fn delete(&mut self, path: &[u8]) -> ByteLen {
        self.id(path).map_or(ByteLen(0), |id| self.take_name(id))
    }

    fn add_file(&mut self, file: &NewFile<'_>, before: Option<NodeId>) {
        let extents = file.map.extents();
        let body = Body::File {
            size: file.size,
            extents_at: self.extents.len(),
            // At most sixteen.
            extents_len: u8::try_from(extents.len()).unwrap_or(u8::MAX),
            chunk_size: match file.map {
                Map::Simple(_) => None,
                Map::Interleaved { chunk_size, .. } => Some(*chunk_size),
            },
            before,
        };
        self.extents.extend_from_slice(extents);
        self.add(file.path, file.slot, file.owner, body);
    }

    fn add(&mut self, path: &[u8], slot: Slot, owner: Owner, body: Body) {
        let id = NodeId(self.nodes.len());
        let parent = parent(path).and_then(|path| match self.recent_parent {
            Some(recent) if self.path_of(recent) == path => Some(recent),
            _ => self.id(path),
        });
        self.recent_parent = parent.or(self.recent_parent);
        let path_at = self.paths.len();
        self.paths.extend_from_slice(path);
        let siblings = self.children_of(parent);
        let older = siblings.youngest.replace(id);
        siblings.oldest.get_or_insert(id);
        siblings.count += 1;
        if let Some(older) = older {
            self.nodes[older.0].younger = Some(id);
        }
        self.nodes.push(Node {
            path_at,
            // A path has 79 bytes at the most.
            path_len: u8::try_from(path.len()).unwrap_or(u8::MAX),
            live: true,
            owner,
            slot,
            parent,
            older,
            younger: None,
            body,
        });
        let hash = self.hasher.hash_one(path);
        let (nodes, paths, hasher) = (&self.nodes, &self.paths, &self.hasher);
        self.index.insert_unique(hash, id, |&id| {
            let node = &nodes[id.0];
            hasher.hash_one(&paths[node.path_at..node.path_at + usize::from(node.path_len)])
        });
    }

    fn children_of(&mut self, dir: Option<NodeId>) -> &mut Children {
        match dir.map(|id| &mut self.nodes[id.0].body) {
            Some(Body::Dir(children)) => children,
            // A parent is a directory: that was judged before anything was made in it.
            Some(Body::File { .. }) | None => &mut self.root,
        }
    }

    /// Unlinks a live node from its name; the bytes that no live name leads to any more come back.
    fn take_name(&mut self, id: NodeId) -> ByteLen {
        let hash = self.hasher.hash_one(self.path_of(id));
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        if self.recent_parent == Some(id) {
            self.recent_parent = None;
        }
        let node = &mut self.nodes[id.0];
        node.live = false;
        let (parent, older, younger) = (node.parent, node.older.take(), node.younger.take());
        if let Some(older) = older {
            self.nodes[older.0].younger = younger;
        }
        if let Some(younger) = younger {
            self.nodes[younger.0].older = older;
        }
        let siblings = self.children_of(parent);
        siblings.count -= 1;
        if siblings.oldest == Some(id) {
            siblings.oldest = younger;
        }
        if siblings.youngest == Some(id) {
            siblings.youngest = older;
        }
        // Space elsewhere is not this device's.
        let map = NodeRef { names: self, id }.map();
        let extents = map.iter().flat_map(|map| map.extents().iter());
        ByteLen(
            extents
                .filter(|e| e.device == DeviceIndex::PRIMARY)
                .map(|e| e.len.0)
                .sum(),
        )
    }
}

impl<'a> NodeRef<'a> {
    /// The whole path.
    #[must_use]
    pub fn path(&self) -> &'a [u8] {
        self.names.path_of(self.id)
    }

    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        name(self.path())
    }

    /// The slot of the entry that made it.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.names.node(self.id).slot
    }

    /// Owner and mode.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.names.node(self.id).owner
    }

    /// Whether its name still leads to it: not replaced, not removed.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.names.node(self.id).live
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self.names.node(self.id).body, Body::Dir(_))
    }

    /// The file's size in bytes; 0 for a directory.
    #[must_use]
    pub fn size(&self) -> ByteLen {
        match self.names.node(self.id).body {
            Body::File { size, .. } => size,
            Body::Dir(_) => ByteLen(0),
        }
    }

    /// Where the file's bytes lie; `None` for a directory.
    #[must_use]
    pub fn map(&self) -> Option<Map> {
        match self.names.node(self.id).body {
            Body::Dir(_) => None,
            Body::File {
                extents_at,
                extents_len,
                chunk_size,
                ..
            } => {
                let used = &self.names.extents[extents_at..extents_at + usize::from(extents_len)];
                let extents = Extents::new(used)?;
                Some(match chunk_size {
                    None => Map::Simple(extents),
                    Some(chunk_size) => Map::Interleaved {
                        chunk_size,
                        strips: extents,
                    },
                })
            }
        }
    }

    /// The version of the file that this one took the place of.
    #[must_use]
    pub fn before(&self) -> Option<NodeRef<'a>> {
        match self.names.node(self.id).body {
            Body::File {
                before: Some(id), ..
            } => Some(NodeRef {
                names: self.names,
                id,
            }),
            _ => None,
        }
    }
}
