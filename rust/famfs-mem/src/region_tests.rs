//! A volume's memory, mapped and broken.
#![expect(unsafe_code, reason = "tests break memory on purpose")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "the crate refuses 32-bit hosts"
)]

use super::*;
use crate::testing::{Ended, in_child, pattern, shm_dir};

const LEN: u64 = 1 << 20;

fn volume(dir: &Path) -> (Source, Arc<Region>) {
    let source = Source::create_file(dir.join("volume"), LEN, false).unwrap();
    let region = Region::map(&source).unwrap();
    (source, region)
}

fn read(region: &Region, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    region.load(RegionOff(at), &mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_written_is_in_the_file() {
    let dir = shm_dir();
    let (source, region) = volume(dir.path());
    let bytes = pattern(10_000, 5);
    region.store(RegionOff(100), &bytes[..1000]).unwrap();
    region.stream(RegionOff(1100), &bytes[1000..], 2).unwrap();
    region.store_pair(RegionOff(20_000), [7, 8]).unwrap();
    region.store(RegionOff(30_000), &[1; 3000]).unwrap();
    region.zero(RegionOff(30_001), 2998, 1).unwrap();
    assert_eq!(region.load_pair(RegionOff(20_000)), Ok([7, 8]));
    assert!(read(&region, 100, 10_000) == bytes);

    let mut found = vec![0; LEN as usize];
    source.read_at(0, &mut found).unwrap();
    assert!(found[100..10_100] == bytes);
    assert_eq!(
        found[20_000..20_016],
        [7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        (found[30_000], found[30_001], found[32_998], found[32_999]),
        (1, 0, 0, 1)
    );
    Region::forget(&source.identity());
}

#[test]
fn what_is_handed_out_cannot_be_written() {
    let dir = shm_dir();
    let (source, region) = volume(dir.path());
    region.store(RegionOff(0), b"published").unwrap();
    let piece = Piece {
        at: RegionOff(0),
        len: 9,
    };
    // SAFETY: nobody writes there but the child, which is stopped from it.
    let view = unsafe { region.view(&[piece], 9, None) }.unwrap();
    let address = view.as_ref().as_ptr().cast_mut();
    let ended = in_child(|| {
        // SAFETY: none; this is what code does that takes an address for its own.
        unsafe { address.write_volatile(b'X') };
    });
    assert_eq!(ended, Ended::Killed(libc::SIGSEGV));
    assert_eq!(read(&region, 0, 9), b"published");
    Region::forget(&source.identity());
}

#[test]
fn nothing_outside_is_touched() {
    let dir = shm_dir();
    let (source, region) = volume(dir.path());
    let at = RegionOff(LEN - 8);
    let outside = Fault::OutOfRange {
        at,
        len: 16,
        size: LEN,
    };
    assert_eq!(region.load(at, &mut [0; 16]), Err(outside.clone()));
    assert_eq!(region.store(at, &[0; 16]), Err(outside.clone()));
    assert_eq!(region.stream(at, &[0; 16], 1), Err(outside.clone()));
    assert_eq!(region.zero(at, 16, 1), Err(outside.clone()));
    assert_eq!(region.write_back(at, 16), Err(outside.clone()));
    assert_eq!(region.invalidate(at, 16), Err(outside));
    assert_eq!(region.load_pair(at), Err(Fault::Misaligned { at }));
    assert_eq!(region.store_pair(at, [0; 2]), Err(Fault::Misaligned { at }));
    assert!(region.load_pair(RegionOff(LEN)).is_err());
    assert_eq!(region.load(RegionOff(LEN), &mut []), Ok(()));
    assert_eq!(region.write_back(RegionOff(LEN), 0), Ok(0));
    assert!(region.zero(RegionOff(u64::MAX), u64::MAX, 1).is_err());
    Region::forget(&source.identity());
}

/// Every call that touches memory, at `at`.
fn results_at(region: &Region, at: RegionOff) -> Vec<(&'static str, Result<(), Fault>)> {
    vec![
        ("load", region.load(at, &mut [0; 100])),
        ("long load", region.load(at, &mut [0; 8000])),
        ("load_pair", region.load_pair(at).map(drop)),
        ("store", region.store(at, &[1; 100])),
        ("long store", region.store(at, &[1; 8000])),
        ("store_pair", region.store_pair(at, [1; 2])),
        ("stream", region.stream(at, &[1; 1000], 1)),
        ("zero", region.zero(at, 1000, 1)),
        ("write_back", region.write_back(at, 1000).map(drop)),
        ("invalidate", region.invalidate(at, 1000).map(drop)),
    ]
}

#[test]
fn a_truncated_file_is_an_error_of_every_call_that_touches_it() {
    let dirs = [shm_dir(), tempfile::tempdir().unwrap()];
    for dir in dirs {
        let (source, region) = volume(dir.path());
        let bytes = pattern(LEN as usize, 1);
        region.stream(RegionOff(0), &bytes, 1).unwrap();
        let kept = LEN / 2;
        source.file().set_len(kept).unwrap();
        for (call, result) in results_at(&region, RegionOff(kept)) {
            if matches!(call, "write_back" | "invalidate") && crate::testing::is_emulated() {
                println!("NOT TESTED: the emulator makes nothing of {call}");
                continue;
            }
            let lost = Fault::Bus {
                at: RegionOff(kept),
                len: guard::page_size(),
            };
            assert_eq!(result, Err(lost), "{call}");
        }
        // The same thread, the same region: what is left still works.
        assert!(read(&region, 0, kept as usize) == bytes[..kept as usize]);
        for (call, result) in results_at(&region, RegionOff(0)) {
            assert_eq!(result, Ok(()), "{call}");
        }
        // And where the file grows again, it is zeros, not what was there.
        source.file().set_len(LEN).unwrap();
        assert!(
            read(&region, kept, kept as usize)
                .iter()
                .all(|byte| *byte == 0)
        );
        Region::forget(&source.identity());
    }
}

#[test]
fn a_fault_in_the_middle_names_the_first_lost_byte() {
    let dir = shm_dir();
    let (source, region) = volume(dir.path());
    let kept = LEN / 2;
    source.file().set_len(kept).unwrap();
    let at = RegionOff(kept - 1000);
    let lost = Err(Fault::Bus {
        at: RegionOff(kept),
        len: guard::page_size(),
    });
    assert_eq!(region.load(at, &mut [0; 2000]), lost);
    assert_eq!(region.store(at, &[0; 2000]), lost);
    if crate::testing::is_emulated() {
        println!("NOT TESTED: the emulator makes nothing of write_back");
    } else {
        assert_eq!(region.write_back(at, 2000).map(drop), lost);
    }
    Region::forget(&source.identity());
}

#[test]
fn a_lost_buffer_of_the_caller_is_told_from_lost_memory() {
    let dir = shm_dir();
    let (source, region) = volume(dir.path());
    let lost = crate::testing::LostPage::new();
    // SAFETY: the page is mapped; nobody but the region looks through the slice.
    let bytes = unsafe { std::slice::from_raw_parts_mut(lost.boundary(), 1000) };
    assert_eq!(region.stream(RegionOff(0), bytes, 1), Err(Fault::SourceBus));
    assert_eq!(region.store(RegionOff(0), bytes), Err(Fault::SourceBus));
    assert_eq!(region.load(RegionOff(0), bytes), Err(Fault::SourceBus));
    Region::forget(&source.identity());
}

#[test]
fn a_volume_is_mapped_once() {
    let dir = shm_dir();
    let (source, region) = volume(dir.path());
    std::fs::hard_link(source.path(), dir.path().join("other name")).unwrap();
    let again = Source::open(dir.path().join("other name"), Access::ReadOnly).unwrap();
    assert!(Arc::ptr_eq(&Region::map(&again).unwrap(), &region));
    Region::forget(&source.identity());
    let fresh = Region::map(&again).unwrap();
    assert!(!Arc::ptr_eq(&fresh, &region));
    region.store(RegionOff(0), b"still mapped").unwrap();
    assert_eq!(read(&fresh, 0, 12), b"still mapped");
    Region::forget(&source.identity());
}

#[test]
fn a_read_only_region_is_replaced_when_somebody_may_write() {
    let dir = shm_dir();
    let path = dir.path().join("volume");
    drop(Source::create_file(&path, LEN, false).unwrap());
    let reader = Source::open(&path, Access::ReadOnly).unwrap();
    let region = Region::map(&reader).unwrap();
    assert_eq!(region.store(RegionOff(0), b"x"), Err(Fault::ReadOnly));
    assert_eq!(
        region.store_pair(RegionOff(0), [0; 2]),
        Err(Fault::ReadOnly)
    );
    assert_eq!(region.stream(RegionOff(0), b"x", 1), Err(Fault::ReadOnly));
    assert_eq!(region.zero(RegionOff(0), 1, 1), Err(Fault::ReadOnly));
    let line = crate::cache_instructions().line_size as u64;
    assert_eq!(region.invalidate(RegionOff(0), line + 1), Ok(2));

    let writer = Source::open(&path, Access::ReadWrite).unwrap();
    let writable = Region::map(&writer).unwrap();
    writable.store(RegionOff(0), b"x").unwrap();
    assert!(Arc::ptr_eq(&Region::map(&reader).unwrap(), &writable));
    assert_eq!(read(&region, 0, 1), b"x");
    Region::forget(&reader.identity());
}

#[test]
fn a_file_that_grew_is_mapped_again_and_stays_writable() {
    let dir = shm_dir();
    let (mut source, region) = volume(dir.path());
    source.set_len(2 * LEN).unwrap();
    let reader = Source::open(source.path(), Access::ReadOnly).unwrap();
    let longer = Region::map(&reader).unwrap();
    assert_eq!((region.len(), longer.len()), (LEN, 2 * LEN));
    longer.store(RegionOff(LEN), b"x").unwrap();
    Region::forget(&source.identity());
}

#[test]
fn a_region_keeps_no_lock_of_its_source() {
    let dir = shm_dir();
    let (source, _region) = volume(dir.path());
    source.file().lock().unwrap();
    let path = source.path().to_owned();
    let identity = source.identity();
    drop(source);
    File::open(path).unwrap().try_lock().unwrap();
    Region::forget(&identity);
}

#[test]
fn addresses_agree_with_offsets_modulo_huge_pages() {
    let dir = shm_dir();
    let (source, region) = volume(dir.path());
    assert!(region.address().is_multiple_of(2 << 20));
    Region::forget(&source.identity());
}

#[test]
fn nothing_to_map_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let source = Source::open(file.path(), Access::ReadOnly).unwrap();
    assert!(matches!(Region::map(&source), Err(MapError::Empty { .. })));
}

#[test]
fn a_child_maps_for_itself_even_if_the_registry_was_locked() {
    let dir = shm_dir();
    let (source, region) = volume(dir.path());
    region.store(RegionOff(0), b"parent").unwrap();
    let held = REGIONS.lock();
    let ended = in_child(|| {
        assert_eq!(read(&region, 0, 6), b"parent");
        let own = Region::map(&source).unwrap();
        assert!(!Arc::ptr_eq(&own, &region));
        assert!(Arc::ptr_eq(&own, &Region::map(&source).unwrap()));
        assert_eq!(read(&own, 0, 6), b"parent");
    });
    drop(held);
    assert_eq!(ended, Ended::Exited(0));
    Region::forget(&source.identity());
}
