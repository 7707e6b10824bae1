//! Images written by the C reference implementation get the verdict that docs/format.md asks for,
//! which is not always the reference's own.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::collections::BTreeMap;

use common::{check, image, names, reading};
use famfs_core::check::Verdict;
use famfs_core::extent::{Extents, Map};
use famfs_core::header::LogHeader;
use famfs_core::media::{ENTRY_LEN, LOG_HEADER_LEN, LOG_OFFSET};
use famfs_core::seeded::Seeded;
use famfs_core::superblock::Superblock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What is wrong with an image: the code of what ends the check, or the findings.
enum Wrong {
    Fatal(&'static str),
    Findings(&'static [(Option<u64>, Option<u64>, &'static str)]),
}

fn expected(name: &str) -> Wrong {
    use Wrong::{Fatal, Findings};
    match name {
        "vempty" | "vempty16m" | "vfew" | "vmultiext" | "vinterleaved" | "vfull" | "vadddaxdev"
        | "vodd_sb_foreign" => Findings(&[]),
        "vbad_sb_crc" => Fatal("superblock_crc"),
        "vbad_sb_magic" => Fatal("superblock_magic"),
        "vbad_sb_version" => Fatal("superblock_version"),
        "vbad_sb_allocunit" => Fatal("superblock_alloc_unit"),
        "vodd_sb_omf" => Fatal("superblock_omf"),
        "vbad_log_crc" => Fatal("log_crc"),
        "vbad_log_magic" => Fatal("log_magic"),
        "vbad_entry_crc" => Findings(&[(Some(3), None, "entry_crc")]),
        "vbad_entry_payload" => Findings(&[(Some(2), None, "entry_crc")]),
        "vbad_seqnum" => Findings(&[(Some(4), None, "entry_seqnum")]),
        "vodd_torn_header_first" => Findings(&[(Some(7), None, "entry_missing")]),
        "vodd_torn_seq_only" => Findings(&[
            (None, None, "counters_diverge"),
            (Some(7), None, "entry_seqnum"),
            (Some(8), None, "entry_seqnum"),
        ]),
        "vodd_nextidx_past_end" => Findings(&[
            (None, None, "next_index_past_end"),
            (None, None, "counters_diverge"),
            (Some(7), Some(15_419), "entry_missing"),
        ]),
        "vodd_abspath" => Findings(&[(Some(7), None, "path_invalid")]),
        "vodd_collision" => Findings(&[(Some(7), None, "extent_overlap")]),
        "vodd_dupname" => Findings(&[(Some(7), None, "name_taken")]),
        "vodd_nextents17" => Findings(&[(Some(7), None, "extent_count")]),
        "vodd_type_delete" => Findings(&[(Some(7), None, "entry_type")]),
        "vodd_unaligned" => Findings(&[(Some(7), None, "extent_unaligned")]),
        "vodd_zeroofs" => Findings(&[(Some(7), None, "extent_in_log")]),
        other => panic!("no verdict is expected of {other}: add one"),
    }
}

fn device(reading: &Value) -> u64 {
    reading["upstream"]["superblock"]["daxdev_size"]
        .as_u64()
        .expect("a size")
}

#[test]
fn every_image_gets_the_right_verdict() {
    let names = names();
    assert_eq!(names.len(), 28);
    for name in names {
        let check = check(&image(&name), device(&reading(&name)));
        match expected(&name) {
            Wrong::Fatal(code) => {
                assert_eq!(check.fatal.expect(&name).code(), code, "{name}");
                assert_eq!(check.verdict(), Verdict::Unjudged, "{name}");
            }
            Wrong::Findings(wanted) => {
                assert_eq!(check.fatal, None, "{name}");
                let found: Vec<_> = check
                    .findings()
                    .iter()
                    .map(|f| (f.slot.map(|s| s.0), f.last_slot.map(|s| s.0), f.kind.code()))
                    .collect();
                assert_eq!(found, wanted, "{name}");
                let clean = wanted.is_empty();
                assert_eq!(check.verdict() == Verdict::Clean, clean, "{name}");
                assert_eq!(check.replay.unwrap().writable().is_ok(), clean, "{name}");
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, b| hex + &format!("{b:02x}"))
}

fn extents(extents: &Extents) -> Value {
    extents
        .iter()
        .map(|e| json!({"devindex": e.device.0, "offset": e.offset.0, "len": e.len.0}))
        .collect()
}

#[test]
fn names_and_maps_are_those_that_the_reference_reads() {
    for name in names() {
        let reading = reading(&name);
        let check = check(&image(&name), device(&reading));
        let Some(replay) = check.replay else { continue };
        let by_slot: BTreeMap<u64, _> = replay.names().iter().map(|n| (n.slot().0, n)).collect();
        let skipped: Vec<_> = replay.findings().iter().filter_map(|f| f.slot).collect();
        for entry in reading["upstream"]["entries"].as_array().unwrap() {
            let slot = entry["index"].as_u64().unwrap();
            // Type 3 adds a device, which has no name.
            if entry["type"] == 3
                || replay.findings().iter().any(|f| {
                    let first = f.slot.map_or(u64::MAX, |s| s.0);
                    (first..=f.last_slot.map_or(first, |s| s.0)).contains(&slot)
                })
            {
                assert!(!by_slot.contains_key(&slot), "{name} {slot}");
                continue;
            }
            let node = by_slot
                .get(&slot)
                .unwrap_or_else(|| panic!("{name}: no {slot}"));
            assert_eq!(
                hex(node.path()),
                entry["path_hex"].as_str().unwrap(),
                "{name} {slot}"
            );
            assert_eq!(json!(node.owner().uid), entry["uid"], "{name} {slot}");
            assert_eq!(json!(node.owner().gid), entry["gid"], "{name} {slot}");
            assert_eq!(
                format!("{:o}", node.owner().mode),
                entry["mode_octal"],
                "{name} {slot}"
            );
            match node.map() {
                None => assert_eq!(entry["type"], 1, "{name} {slot}"),
                Some(Map::Simple(list)) => {
                    assert_eq!(extents(&list), entry["extents"], "{name} {slot}");
                    assert_eq!(json!(node.size().0), entry["size"], "{name} {slot}");
                }
                Some(Map::Interleaved { chunk_size, strips }) => {
                    let map = &entry["interleaved"];
                    assert_eq!(json!(chunk_size.0), map["chunk_size"], "{name} {slot}");
                    assert_eq!(extents(&strips), map["strips"], "{name} {slot}");
                }
            }
        }
        assert!(skipped.len() < 20, "{name}: ranges keep a report short");
    }
}

#[test]
fn superblock_and_header_are_written_as_the_reference_writes_them() {
    for name in ["vempty", "vempty16m", "vfew", "vfull"] {
        let image = image(name);
        let superblock = Superblock::decode(&image).unwrap();
        let mut ours = superblock.encode();
        // The reference leaves its second copy of the device's uuid unwritten.
        ours[120..136].copy_from_slice(&image[120..136]);
        assert_eq!(ours[..], image[..200], "{name}");

        let at = usize::try_from(LOG_OFFSET).unwrap();
        let header = LogHeader::decode(&image[at..], superblock.log_len()).unwrap();
        assert_eq!(
            header.encode()[..],
            image[at..at + LOG_HEADER_LEN],
            "{name}"
        );
    }
}

#[test]
fn entries_are_written_as_the_reference_writes_them() {
    use famfs_core::entry::Entry;
    use famfs_core::units::Slot;
    for name in ["vfew", "vmultiext", "vinterleaved", "vadddaxdev", "vfull"] {
        let image = image(name);
        let log = &image[usize::try_from(LOG_OFFSET).unwrap() + LOG_HEADER_LEN..];
        let used = reading(name)["upstream"]["log"]["next_index"]
            .as_u64()
            .unwrap();
        for (slot, bytes) in (0..used).zip(log.as_chunks::<ENTRY_LEN>().0) {
            let entry = Entry::decode(bytes, Slot(slot)).unwrap();
            assert_eq!(entry.encode(Slot(slot)), *bytes, "{name} {slot}");
        }
    }
}

#[test]
fn seeded_content_is_the_references() {
    let vectors = reading("prng_vectors");
    let vectors = vectors["vectors"].as_array().unwrap();
    assert!(vectors.len() > 10);
    for vector in vectors {
        let seed = u32::try_from(vector["seed"].as_u64().unwrap()).unwrap();
        let size = usize::try_from(vector["size"].as_u64().unwrap()).unwrap();
        let mut whole = vec![0; size];
        Seeded::new(seed).fill(&mut whole);
        assert_eq!(
            hex(&Sha256::digest(&whole)),
            vector["sha256"].as_str().unwrap(),
            "{vector}"
        );
        // In pieces of a multiple of four bytes it is the same.
        let mut pieces = vec![0; size];
        let mut seeded = Seeded::new(seed);
        pieces.chunks_mut(4096).for_each(|piece| seeded.fill(piece));
        assert_eq!(whole, pieces, "{vector}");
    }
}
