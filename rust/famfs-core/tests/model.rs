//! Properties: any sequence of changes equals a simple model of a file system, and no bytes
//! whatever make a check panic.
#![allow(clippy::unwrap_used, clippy::single_match_else, reason = "a test may")]

mod common;

use std::collections::BTreeMap;

use common::{MIB, check, image, replay, superblock};
use famfs_core::append::{self, AppendError};
use famfs_core::entry::{DeleteEntry, Entry, FileEntry, MkdirEntry, Owner};
use famfs_core::extent::Map;
use famfs_core::finding::FindingKind;
use famfs_core::header::LogHeader;
use famfs_core::media::{ENTRY_LEN, LOG_OFFSET, MIN_LOG_LEN};
use famfs_core::path::{RelPath, parent};
use famfs_core::replay::Replay;
use famfs_core::space::Layout;
use famfs_core::units::{ByteLen, Slot};
use proptest::prelude::*;

const OWNER: Owner = Owner {
    uid: 1,
    gid: 2,
    mode: 0o644,
};

/// What a user sees of a file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    names: BTreeMap<Vec<u8>, Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    slot: u64,
    /// `None` for a directory.
    size: Option<u64>,
    versions: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Create {
        path: Vec<u8>,
        size: u64,
        replace: bool,
    },
    Mkdir(Vec<u8>),
    Delete(Vec<u8>),
}

/// Few names, so that they meet.
fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&["a", "b", "c"][..]), 1..4)
        .prop_map(|parts| parts.join("/").into_bytes())
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (path(), 0..5 * MIB, any::<bool>())
            .prop_map(|(path, size, replace)| Op::Create { path, size, replace }),
        2 => path().prop_map(Op::Mkdir),
        2 => path().prop_map(Op::Delete),
    ]
}

impl Model {
    fn is_dir(&self, path: &[u8]) -> bool {
        self.names.get(path).is_some_and(|name| name.size.is_none())
    }

    /// Applies `op` as the entry of `slot`, if a file system would.
    fn apply(&mut self, op: &Op, slot: u64) -> bool {
        let (Op::Create { path, .. } | Op::Mkdir(path) | Op::Delete(path)) = op;
        if parent(path).is_some_and(|dir| !self.is_dir(dir)) {
            return false;
        }
        match op {
            Op::Create {
                path,
                size,
                replace,
            } => {
                let mut versions = Vec::new();
                if let Some(old) = self.names.get(path) {
                    if !replace || old.size.is_none() {
                        return false;
                    }
                    versions.push(old.slot);
                    versions.extend(&old.versions);
                }
                self.names.insert(
                    path.clone(),
                    Name {
                        slot,
                        size: Some(*size),
                        versions,
                    },
                );
            }
            Op::Mkdir(path) => {
                if self.names.contains_key(path) {
                    return false;
                }
                let name = Name {
                    slot,
                    size: None,
                    versions: Vec::new(),
                };
                self.names.insert(path.clone(), name);
            }
            Op::Delete(path) => {
                let in_it = self.names.keys().any(|name| parent(name) == Some(path));
                if in_it || self.names.remove(path).is_none() {
                    return false;
                }
            }
        }
        true
    }
}

/// The same, as a replay has it.
fn seen(replay: &Replay) -> Model {
    let names = replay.names().iter().map(|node| {
        let versions = std::iter::successors(node.before(), famfs_core::namespace::NodeRef::before)
            .map(|n| n.slot().0);
        let name = Name {
            slot: node.slot().0,
            size: (!node.is_dir()).then(|| node.size().0),
            versions: versions.collect(),
        };
        (node.path().to_vec(), name)
    });
    Model {
        names: names.collect(),
    }
}

/// The entry for `op`; `None` where there is nothing to delete.
fn entry(replay: &mut Replay, op: &Op) -> Option<Entry> {
    let rel = |path: &[u8]| RelPath::new(path).unwrap();
    Some(match op {
        Op::Create {
            path,
            size,
            replace: replaces,
        } => {
            let size = ByteLen(*size);
            let map = replay
                .space_mut()
                .allocate(size, Layout::Contiguous)
                .unwrap();
            Entry::File(FileEntry {
                path: rel(path),
                size,
                owner: OWNER,
                replace: *replaces,
                map,
            })
        }
        Op::Mkdir(path) => Entry::Mkdir(MkdirEntry {
            path: rel(path),
            owner: OWNER,
        }),
        Op::Delete(path) => {
            let slot = replay.names().lookup(path)?.slot();
            Entry::Delete(DeleteEntry {
                path: rel(path),
                slot,
            })
        }
    })
}

fn children(replay: &Replay, dir: &[u8]) -> Vec<Vec<u8>> {
    replay
        .names()
        .children(dir)
        .unwrap()
        .map(|n| n.path().to_vec())
        .collect()
}

proptest! {
    #[test]
    fn a_replay_equals_the_model(ops in prop::collection::vec(op(), 1..60)) {
        let device = 2048 * MIB;
        let mut writer = replay(3, device);
        let mut reader = replay(3, device);
        let mut model = Model::default();
        for op in &ops {
            let slot = writer.next().0;
            let before = model.clone();
            let applies = model.apply(op, slot);
            let planned = entry(&mut writer, op).map(|entry| append::plan(&writer, &[entry]));
            match planned {
                Some(Ok(batch)) => {
                    prop_assert!(applies, "{op:?}");
                    prop_assert_eq!(batch.counters().next_index, slot + 1);
                    writer.judge_entries(batch.bytes());
                    reader.judge_entries(batch.bytes());
                }
                Some(Err(_)) | None => prop_assert_eq!(&before, &model, "{:?} was refused", op),
            }
            writer.space_mut().hold([]);
            prop_assert_eq!(&seen(&reader), &model);
        }
        prop_assert!(reader.findings().is_empty());
        // Directories list what lies in them, in the order of the log.
        let mut listed = children(&reader, b"");
        let mut at = 0;
        while let Some(path) = listed.get(at).cloned() {
            if model.is_dir(&path) {
                listed.extend(children(&reader, &path));
            }
            at += 1;
        }
        listed.sort();
        prop_assert_eq!(listed, model.names.keys().cloned().collect::<Vec<_>>());
        // Space is accounted for to the byte, with dead files counted.
        let usage = reader.usage();
        prop_assert_eq!(usage.allocated + usage.free, usage.capacity);
        let alive: u64 = model.names.values().filter_map(|n| n.size)
            .map(|size| ByteLen(size).to_whole_units().unwrap().0).sum();
        prop_assert_eq!(usage.allocated - usage.dead, alive + LOG_OFFSET + MIN_LOG_LEN);
    }

    /// A batch leaves the same as its entries one by one, or is refused and leaves nothing.
    #[test]
    fn a_batch_is_all_or_none(ops in prop::collection::vec(op(), 1..12)) {
        let mut one_by_one = replay(3, 1024 * MIB);
        let mut batched = replay(3, 1024 * MIB);
        let mut entries = Vec::new();
        let mut refused = false;
        for op in &ops {
            let Some(entry) = entry(&mut one_by_one, op) else { continue };
            entries.push(entry);
            match append::plan(&one_by_one, &[entry]) {
                Ok(batch) => one_by_one.judge_entries(batch.bytes()),
                Err(_) => {
                    refused = true;
                    break;
                }
            }
        }
        match append::plan(&batched, &entries) {
            Ok(batch) => {
                prop_assert!(!refused);
                batched.judge_entries(batch.bytes());
                prop_assert_eq!(seen(&batched), seen(&one_by_one));
                prop_assert!(batched.findings().is_empty());
            }
            Err(AppendError::Refused { index, .. }) => {
                prop_assert!(refused);
                prop_assert_eq!(index, entries.len() - 1);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096), device in any::<u64>()) {
        let _ = check(&bytes, device);
    }

    /// Valid checksums over arbitrary content: the judges behind them see it all.
    #[test]
    fn arbitrary_entries_never_panic(
        minor in 2u32..5,
        entries in prop::collection::vec((0u32..5, prop::collection::vec(any::<u8>(), 520)), 1..20),
        device in prop_oneof![Just(10 * MIB), Just(4096 * MIB), any::<u64>()],
        shape in prop::collection::vec((any::<bool>(), 0u64..4, 0u64..64), 20),
    ) {
        let mut image = vec![0; usize::try_from(LOG_OFFSET).unwrap()];
        let minor = minor.min(3);
        image[..200].copy_from_slice(&superblock(minor, device).encode());
        let mut header = LogHeader::new(ByteLen(MIN_LOG_LEN)).unwrap().encode();
        for at in [32, 40] {
            header[at..at + 8].copy_from_slice(&(entries.len() as u64).to_le_bytes());
        }
        image.extend_from_slice(&header);
        for (slot, ((kind, payload), (plausible, count, at))) in entries.iter().zip(&shape).enumerate() {
            let mut entry = [0; ENTRY_LEN];
            entry[..8].copy_from_slice(&(slot as u64).to_le_bytes());
            entry[8..12].copy_from_slice(&kind.to_le_bytes());
            entry[16..536].copy_from_slice(payload);
            if *plausible {
                // A short path, a map type that is known, extents in whole units.
                entry[40..120].fill(0);
                entry[40] = b'a' + payload[0] % 3;
                entry[28..108].fill(0);
                entry[28] = b'a' + payload[0] % 3;
                entry[120..136].fill(0);
                entry[120] = payload[1] % 2;
                entry[128] = if entry[120] == 1 { 1 } else { u8::try_from(*count).unwrap() };
                let mut words = vec![*count, 2 * MIB];
                if entry[120] == 0 { words.clear(); }
                for k in 0..4 { words.extend([0, (at + k) * 2 * MIB, 2 * MIB]); }
                for (k, word) in words.iter().enumerate() {
                    entry[136 + 8 * k..144 + 8 * k].copy_from_slice(&word.to_le_bytes());
                }
            }
            let sum = u64::from(crc32fast::hash(&entry[..536]));
            entry[536..].copy_from_slice(&sum.to_le_bytes());
            image.extend_from_slice(&entry);
        }
        let check = check(&image, device);
        if let Some(replay) = check.replay {
            // Whatever it was, no two live or dead files share a byte, and none leaves the device.
            let mut all: Vec<_> = (0..entries.len() as u64)
                .filter_map(|slot| replay.names().by_slot(Slot(slot))?.map())
                .flat_map(|map| map.extents().iter().copied().collect::<Vec<_>>())
                .filter(|e| e.device.0 == 0)
                .collect();
            all.sort_by_key(|e| e.offset);
            for pair in all.windows(2) {
                prop_assert!(pair[0].end().unwrap() <= pair[1].offset.0);
            }
            prop_assert!(all.iter().all(|e| e.offset.0 >= LOG_OFFSET + MIN_LOG_LEN));
            prop_assert!(all.last().is_none_or(|e| e.end().unwrap() <= device));
            let usage = replay.usage();
            prop_assert_eq!(usage.allocated + usage.free, usage.capacity);
        }
    }

    /// A golden image with some bytes changed is judged, whatever comes of it.
    #[test]
    fn damaged_images_never_panic(changes in prop::collection::vec((0usize..8000, any::<u8>()), 1..6)) {
        let mut image = image("vinterleaved");
        let log = usize::try_from(LOG_OFFSET).unwrap();
        for (at, byte) in changes {
            let at = if at < 200 { at } else { log + at - 200 };
            image[at] = byte;
        }
        let _ = check(&image, 16 << 30);
    }
}

#[test]
fn a_full_log_takes_nothing_more() {
    let image = image("vfull");
    let check = check(&image, 137_438_953_472);
    let mut replay = check.replay.unwrap();
    let op = Op::Create {
        path: b"one-more".to_vec(),
        size: 1,
        replace: false,
    };
    let entry = entry(&mut replay, &op).unwrap();
    assert_eq!(
        append::plan(&replay, &[entry]).unwrap_err(),
        AppendError::LogFull { wanted: 1, left: 0 }
    );
}

#[test]
fn the_references_format_has_no_replace_and_no_delete() {
    let mut replay = replay(2, 64 * MIB);
    let make = Op::Create {
        path: b"a".to_vec(),
        size: 1,
        replace: false,
    };
    let first = entry(&mut replay, &make).unwrap();
    let batch = append::plan(&replay, &[first]).unwrap();
    replay.judge_entries(batch.bytes());
    let replace = Op::Create {
        path: b"a".to_vec(),
        size: 1,
        replace: true,
    };
    for (op, kind) in [
        (replace, FindingKind::ReplaceUnsupported),
        (
            Op::Delete(b"a".to_vec()),
            FindingKind::EntryType { found: 2 },
        ),
        (make, FindingKind::NameTaken { slot: Slot(0) }),
    ] {
        let entry = entry(&mut replay, &op).unwrap();
        assert_eq!(
            append::plan(&replay, &[entry]).unwrap_err(),
            AppendError::Refused { index: 0, kind }
        );
    }
}

#[test]
fn a_deletion_in_the_references_format_is_an_unknown_type_whatever_it_holds() {
    let mut replay = replay(2, 64 * MIB);
    let mut entry = [0; ENTRY_LEN];
    entry[8] = 2;
    let sum = u64::from(crc32fast::hash(&entry[..536]));
    entry[536..].copy_from_slice(&sum.to_le_bytes());
    replay.judge_entries(&entry);
    assert_eq!(
        replay.findings()[0].kind,
        FindingKind::EntryType { found: 2 }
    );
}

#[test]
fn a_volume_with_findings_takes_nothing_more() {
    let mut replay = replay(3, 64 * MIB);
    replay.judge_entries(&[0; ENTRY_LEN]);
    let dir = Entry::Mkdir(MkdirEntry {
        path: RelPath::new(b"d").unwrap(),
        owner: OWNER,
    });
    assert!(matches!(
        append::plan(&replay, &[dir]).unwrap_err(),
        AppendError::ReadOnly(_)
    ));
}

#[test]
fn a_file_on_a_device_that_is_not_here_is_listed_with_a_finding() {
    use famfs_core::entry::DeviceEntry;
    use famfs_core::extent::{Extent, Extents};
    use famfs_core::units::{DevOff, DeviceIndex};
    let elsewhere = |offset| Extent {
        device: DeviceIndex(1),
        offset: DevOff(offset),
        len: ByteLen(2 * MIB),
    };
    let file = |path: &[u8], offset| {
        Entry::File(FileEntry {
            path: RelPath::new(path).unwrap(),
            size: ByteLen(5),
            owner: OWNER,
            replace: false,
            map: Map::Simple(Extents::new(&[elsewhere(offset)]).unwrap()),
        })
    };
    let device = |index, uuid| {
        Entry::AddDevice(DeviceEntry {
            index: DeviceIndex(index),
            size: ByteLen(8 * MIB),
            uuid: uuid::Uuid::from_u128(uuid),
        })
    };
    let mut replay = replay(2, 64 * MIB);
    let entries = [
        file(b"too-early", 0),
        device(2, 77),
        device(1, 2),
        device(1, 77),
        file(b"there", 2 * MIB),
        file(b"overlaps", 2 * MIB),
        file(b"beside", 0),
        file(b"past", 8 * MIB),
    ];
    for (slot, entry) in (0..).zip(entries) {
        replay.judge_entries(&entry.encode(Slot(slot)));
    }
    let codes: Vec<_> = replay
        .findings()
        .iter()
        .map(|f| (f.slot.unwrap().0, f.kind.code()))
        .collect();
    assert_eq!(
        codes,
        [
            (0, "device_unknown"),
            (1, "device_index"),
            (2, "device_taken"),
            (4, "device_missing"),
            (5, "extent_overlap"),
            (6, "device_missing"),
            (7, "extent_outside"),
        ]
    );
    let names: Vec<_> = replay.names().iter().map(|n| n.path().to_vec()).collect();
    assert_eq!(names, [&b"there"[..], b"beside"]);
}
