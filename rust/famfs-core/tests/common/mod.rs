//! Golden images and made-up volumes for the tests of this crate.
#![allow(dead_code, reason = "each test file uses a part")]

use std::convert::Infallible;
use std::io::Read;
use std::path::PathBuf;

use famfs_core::check::Check;
use famfs_core::header::LogHeader;
use famfs_core::media::{LOG_OFFSET, MIN_LOG_LEN};
use famfs_core::replay::Replay;
use famfs_core::superblock::{NewSuperblock, Superblock};
use famfs_core::units::ByteLen;
use serde_json::Value;
use uuid::Uuid;

pub(crate) const MIB: u64 = 1 << 20;

fn golden(name: &str) -> Option<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    if let Ok(bytes) = std::fs::read(dir.join(name)) {
        return Some(bytes);
    }
    let packed = std::fs::File::open(dir.join(format!("{name}.xz"))).ok()?;
    let mut bytes = Vec::new();
    lzma_rust2::XzReader::new(packed, true)
        .read_to_end(&mut bytes)
        .expect("a whole xz file");
    Some(bytes)
}

/// The bytes of a golden image: superblock region and log.
pub(crate) fn image(name: &str) -> Vec<u8> {
    golden(&format!("{name}.img")).unwrap_or_else(|| panic!("no golden image {name}"))
}

/// What the reference implementation reads in it.
pub(crate) fn reading(name: &str) -> Value {
    let bytes = golden(&format!("{name}.json")).unwrap_or_else(|| panic!("no reading of {name}"));
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The names of all golden images.
pub(crate) fn names() -> Vec<String> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("tests/golden")
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".img.xz").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// Judges an image on a device of `device` bytes.
pub(crate) fn check(image: &[u8], device: u64) -> Check {
    let Ok(check) = Check::run::<Infallible>(image, ByteLen(device), 1, |at, buffer| {
        let from = usize::try_from(LOG_OFFSET + at).expect("a test image");
        let there = image.get(from..).unwrap_or_default();
        let len = buffer.len().min(there.len());
        buffer[..len].copy_from_slice(&there[..len]);
        Ok(len)
    });
    check
}

/// A volume without entries.
pub(crate) fn superblock(omf_minor: u32, device: u64) -> Superblock {
    Superblock::new(&NewSuperblock {
        uuid: Uuid::from_u128(1),
        device_uuid: Uuid::from_u128(2),
        system_uuid: Uuid::from_u128(3),
        log_len: MIN_LOG_LEN,
        omf_minor,
        device_size: ByteLen(device),
        device_name: b"test",
    })
    .expect("valid")
}

/// Its replay, with nothing judged.
pub(crate) fn replay(omf_minor: u32, device: u64) -> Replay {
    let header = LogHeader::new(ByteLen(MIN_LOG_LEN)).expect("room");
    Replay::new(&superblock(omf_minor, device), &header, ByteLen(device), 1).expect("room")
}
