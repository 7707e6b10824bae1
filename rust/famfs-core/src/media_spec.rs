//! docs/format.md against the code.

use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;
use std::{format, println};

use super::*;
use crate::units::{ALLOC_UNIT, MAX_DEVICE};

const SPEC: &str = include_str!("../../../docs/format.md");

/// The (offset, size, field) rows of the table that follows `marker`.
fn table(marker: &str) -> Vec<(usize, usize, String)> {
    let at = SPEC
        .find(marker)
        .unwrap_or_else(|| panic!("no {marker:?} in the specification"));
    let mut rows = Vec::new();
    for line in SPEC[at..]
        .lines()
        .skip_while(|line| !line.starts_with("| offset"))
        .skip(2)
    {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, offset, size, field, ..] = cells[..] else {
            break;
        };
        rows.push((offset.parse().unwrap(), size.parse().unwrap(), field.into()));
    }
    rows
}

macro_rules! rows {
    ($base:expr, $raw:ident { $($field:ident),* }) => {{
        let zero: $raw = zerocopy::FromZeros::new_zeroed();
        // Destructuring without `..`: a field that the list lacks does not compile.
        let $raw { $($field),* } = zero;
        let rows: Vec<(usize, usize, String)> = [$((
            $base + core::mem::offset_of!($raw, $field),
            core::mem::size_of_val(&$field),
            stringify!($field).into(),
        )),*].into();
        rows
    }};
}

#[test]
#[expect(clippy::too_many_lines, reason = "rustfmt gives each field a line")]
fn structures_lie_as_specified() {
    let superblock = rows!(
        0,
        RawSuperblock {
            magic,
            version,
            log_offset,
            log_len,
            alloc_unit,
            omf_major,
            omf_minor,
            uuid,
            device_uuid,
            system_uuid,
            crc,
            flags,
            pad,
            device_size,
            device_uuid_copy,
            device_name
        }
    );
    assert_eq!(table("## Superblock"), superblock);
    let header = rows!(
        0,
        RawLogHeader {
            magic,
            log_len,
            last_index,
            crc,
            next_seqnum,
            next_index
        }
    );
    assert_eq!(table("## Log header"), header);
    assert_eq!(
        table("## Log entry"),
        rows!(
            0,
            RawEntry {
                seqnum,
                kind,
                pad,
                payload,
                crc
            }
        )
    );
    let mut file = rows!(
        16,
        RawFile {
            size,
            flags,
            uid,
            gid,
            mode,
            path,
            extent_type,
            pad1,
            count,
            pad2,
            map
        }
    );
    assert_eq!(table("### FILE"), file);
    let map_at = file.pop().unwrap().0;
    assert_eq!(
        table("A simple map"),
        rows!(map_at, RawSimpleMap { extents, unused })
    );
    let interleaved = rows!(
        map_at,
        RawInterleavedMap {
            nstrips,
            chunk_size,
            strips
        }
    );
    assert_eq!(table("An interleaved map"), interleaved);
    assert_eq!(
        table("An extent is"),
        rows!(
            0,
            RawExtent {
                device,
                offset,
                len
            }
        )
    );
    assert_eq!(
        table("### MKDIR"),
        rows!(
            16,
            RawMkdir {
                uid,
                gid,
                mode,
                path,
                unused
            }
        )
    );
    assert_eq!(
        table("### DELETE"),
        rows!(
            16,
            RawDelete {
                slot,
                unused1,
                path,
                unused2
            }
        )
    );
    assert_eq!(
        table("### ADD_DAXDEV"),
        rows!(
            16,
            RawAddDaxdev {
                size,
                uuid,
                index,
                unused
            }
        )
    );
}

#[test]
fn constants_are_as_specified() {
    let (_, from) = SPEC.split_once("## Constants").unwrap();
    let (section, _) = from.split_once("\n## ").unwrap();
    let mut specified: BTreeMap<&str, u64> = section
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let value = *cells.get(2)?;
            let value = match value.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok()?,
                None => value.parse().ok()?,
            };
            Some((cells[1], value))
        })
        .collect();
    macro_rules! check {
        ($($name:ident),*) => {$(
            let value = specified.remove(stringify!($name));
            assert_eq!(value, u64::try_from($name).ok(), stringify!($name));
        )*};
    }
    check!(
        SUPERBLOCK_MAGIC,
        SUPERBLOCK_VERSION,
        LOG_OFFSET,
        LOG_MAGIC,
        MIN_LOG_LEN,
        ALLOC_UNIT,
        OMF_MAJOR,
        OMF_MINOR,
        OMF_MINOR_REFERENCE,
        PATH_FIELD,
        MAX_EXTENTS,
        MAX_BUCKETS,
        TYPE_FILE,
        TYPE_MKDIR,
        TYPE_DELETE,
        TYPE_ADD_DAXDEV,
        FLAG_REFERENCE,
        FLAG_REPLACE,
        EXTENT_SIMPLE,
        EXTENT_INTERLEAVED,
        MAX_DEVICE
    );
    assert!(
        specified.is_empty(),
        "specified, but not compared: {specified:?}"
    );
}

#[test]
fn every_finding_is_specified() {
    // The source of the names is read, so that a new finding can't be left out here.
    let source = include_str!("finding.rs");
    let (_, codes) = source.split_once("const fn code").unwrap();
    let codes: Vec<_> = codes
        .lines()
        .take_while(|line| !line.starts_with("    }"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        println!("{code}");
        assert!(
            SPEC.contains(&format!("| {code} |")),
            "{code} is not specified"
        );
    }
}
