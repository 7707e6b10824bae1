//! Page tables and huge pages of a region: filling them ahead, asking for them, counting them.
//!
//! None of this changes what the memory holds, and all of it may be refused by the kernel.
#![expect(
    unsafe_code,
    reason = "the kernel is told of ranges by their addresses"
)]

use std::{fs, io, ops::Range};

use rustix::mm::{Advice, madvise};

use crate::{
    MapError, Region, RegionOff,
    address::HUGE,
    mapping::Mapping,
    memory::{Fault, Memory},
};

/// What page tables are filled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Populate {
    /// Loads.
    Read,
    /// Stores.
    Write,
}

/// What became of a request for huge pages.
#[derive(Debug)]
#[must_use]
pub struct Collapsed {
    /// How many pieces of 2 MiB are huge pages now.
    pub huge: u64,
    /// How many there are in the range.
    pub of: u64,
    /// Why the last one that is not, is not.
    pub error: Option<io::Error>,
}

/// From the kernel's interface; neither libc for every C library nor rustix knows it.
const MADV_COLLAPSE: libc::c_int = 25;
/// How often a piece is tried that the kernel is too busy for.
const TRIES: usize = 10;

impl Region {
    /// Fills the page tables for a range, so that nobody pays for it later.
    ///
    /// # Errors
    /// [`MapError::System`] where the kernel is older than 5.14, or the memory is lost.
    pub fn populate(&self, range: Range<RegionOff>, how: Populate) -> Result<(), MapError> {
        let (advice, mapping) = match how {
            Populate::Read => (Advice::LinuxPopulateRead, self.mapping()),
            Populate::Write => (Advice::LinuxPopulateWrite, self.to_write()?),
        };
        let (start, len) = self.pages(mapping, &range)?;
        if len == 0 {
            return Ok(());
        }
        for attempt in 1.. {
            // SAFETY: the range lies in the mapping, and filling page tables changes no bytes.
            match unsafe { madvise(start.cast(), len, advice) } {
                Ok(()) => break,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if attempt < TRIES => {}
                Err(error) => return Err(self.system("populate", len as u64, error.into())),
            }
        }
        Ok(())
    }

    /// Asks for huge pages under a range, as far as it covers whole ones.
    ///
    /// This works on tmpfs whatever its settings are, best when the space was just allocated.
    ///
    /// # Errors
    /// [`MapError::Range`]; that the kernel declines is not an error but the result.
    pub fn collapse(&self, range: Range<RegionOff>) -> Result<Collapsed, MapError> {
        let (start, len) = self.bytes(self.mapping(), &range)?;
        let before = start.addr().wrapping_neg() % HUGE;
        let pieces = len.saturating_sub(before) / HUGE;
        let mut result = Collapsed {
            huge: 0,
            of: pieces as u64,
            error: None,
        };
        for piece in 0..pieces {
            let at = start.wrapping_add(before + piece * HUGE);
            match collapse_piece(at) {
                Ok(()) => result.huge += 1,
                Err(error) => {
                    // The kernel or the file system cannot: it will not do better further on.
                    let hopeless = result.huge == 0 && error.raw_os_error() == Some(libc::EINVAL);
                    result.error = Some(error);
                    if hopeless {
                        break;
                    }
                }
            }
        }
        Ok(result)
    }

    /// How many bytes of this mapping the kernel reaches through huge pages, by its own account.
    ///
    /// Only pages that were touched, or populated, count. Memory of a dax device is not in it.
    ///
    /// # Errors
    /// What reading `/proc/self/smaps` fails with.
    pub fn huge_bytes(&self) -> io::Result<u64> {
        let start = self.address() as u64;
        let smaps = fs::read_to_string("/proc/self/smaps")?;
        Ok(huge_bytes(&smaps, start..start + self.len()))
    }

    fn bytes(
        &self,
        mapping: &Mapping,
        range: &Range<RegionOff>,
    ) -> Result<(*mut u8, usize), Fault> {
        let (at, end) = (range.start, range.end.0);
        let Some(len) = end.checked_sub(at.0) else {
            return Err(Fault::OutOfRange {
                at,
                len: 0,
                size: self.len(),
            });
        };
        mapping.range(at, len)
    }

    /// The whole pages around a range.
    fn pages(
        &self,
        mapping: &Mapping,
        range: &Range<RegionOff>,
    ) -> Result<(*mut u8, usize), Fault> {
        let (start, len) = self.bytes(mapping, range)?;
        let page = rustix::param::page_size();
        let before = start.addr() % page;
        if len == 0 {
            return Ok((start, 0));
        }
        Ok((
            start.wrapping_sub(before),
            (before + len).next_multiple_of(page),
        ))
    }
}

fn collapse_piece(at: *mut u8) -> io::Result<()> {
    for attempt in 1.. {
        // SAFETY: the piece lies in a mapping, and which pages hold it changes no bytes.
        if unsafe { libc::madvise(at.cast(), HUGE, MADV_COLLAPSE) } == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EAGAIN) || attempt == TRIES {
            return Err(error);
        }
    }
    Ok(())
}

/// Adds up the huge pages of the mappings that lie in a range of addresses.
fn huge_bytes(smaps: &str, range: Range<u64>) -> u64 {
    const HUGE_FIELDS: [&str; 5] = [
        "AnonHugePages:",
        "ShmemPmdMapped:",
        "FilePmdMapped:",
        "Shared_Hugetlb:",
        "Private_Hugetlb:",
    ];
    let mut inside = false;
    let mut bytes = 0;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if let Some(start) = mapping_start(first) {
            inside = range.contains(&start);
        } else if inside && HUGE_FIELDS.contains(&first) {
            bytes += words
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or(0)
                * 1024;
        }
    }
    bytes
}

/// The address at which a mapping begins, if this is the first word of its header.
fn mapping_start(word: &str) -> Option<u64> {
    let (start, end) = word.split_once('-')?;
    u64::from_str_radix(end, 16).ok()?;
    u64::from_str_radix(start, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Source, testing::shm_dir};

    const LEN: u64 = 8 << 20;

    #[test]
    fn populated_pages_are_there_and_hold_what_they_held() {
        let dir = shm_dir();
        let source = Source::create_file(dir.path().join("volume"), LEN, false).unwrap();
        let region = Region::map(&source).unwrap();
        region.store(RegionOff(5000), b"kept").unwrap();
        for how in [Populate::Read, Populate::Write] {
            region.populate(RegionOff(1)..RegionOff(LEN), how).unwrap();
            region.populate(RegionOff(7)..RegionOff(7), how).unwrap();
            assert!(
                region
                    .populate(RegionOff(1)..RegionOff(LEN + 1), how)
                    .is_err()
            );
            let backwards = RegionOff(2)..RegionOff(1);
            assert!(region.populate(backwards, how).is_err());
        }
        let mut bytes = [0; 4];
        region.load(RegionOff(5000), &mut bytes).unwrap();
        assert_eq!(&bytes, b"kept");
        Region::forget(&source.identity());
    }

    #[test]
    fn a_read_only_region_is_not_populated_for_writing() {
        let dir = shm_dir();
        let path = dir.path().join("volume");
        drop(Source::create_file(&path, LEN, false).unwrap());
        let source = Source::open(&path, Access::ReadOnly).unwrap();
        let region = Region::map(&source).unwrap();
        let error = region
            .populate(RegionOff(0)..RegionOff(1), Populate::Write)
            .unwrap_err();
        assert!(matches!(error, MapError::Range(Fault::ReadOnly)));
        Region::forget(&source.identity());
    }

    #[test]
    fn a_collapse_says_what_came_of_it() {
        let dir = shm_dir();
        let source = Source::create_file(dir.path().join("volume"), LEN, false).unwrap();
        let region = Region::map(&source).unwrap();
        region.store(RegionOff(5000), b"kept").unwrap();
        let result = region.collapse(RegionOff(100)..RegionOff(LEN)).unwrap();
        assert_eq!(result.of, 3, "the first 2 MiB are not whole");
        assert_eq!(
            result.huge == result.of,
            result.error.is_none(),
            "{result:?}"
        );
        let result = region.collapse(RegionOff(0)..RegionOff(LEN)).unwrap();
        assert_eq!(result.of, 4);
        assert_eq!(
            result.huge == result.of,
            result.error.is_none(),
            "{result:?}"
        );
        if let Some(error) = &result.error {
            println!("this kernel gave {} of 4 huge pages: {error}", result.huge);
        } else {
            region
                .populate(RegionOff(0)..RegionOff(LEN), Populate::Read)
                .unwrap();
            if crate::testing::is_emulated() {
                println!("NOT TESTED: the emulator does not pass the kernel's account on");
            } else {
                assert_eq!(region.huge_bytes().unwrap(), LEN);
            }
        }
        assert!(region.collapse(RegionOff(0)..RegionOff(LEN + 1)).is_err());
        let mut bytes = [0; 4];
        region.load(RegionOff(5000), &mut bytes).unwrap();
        assert_eq!(&bytes, b"kept");
        Region::forget(&source.identity());
    }

    #[test]
    fn huge_pages_of_this_mapping_alone_are_counted() {
        let smaps = "\
7f0000000000-7f0000400000 rw-s 00000000 00:01 5  /dev/shm/volume
Size:               4096 kB
ShmemPmdMapped:     2048 kB
FilePmdMapped:         0 kB
VmFlags: rd wr sh mr mw me ms
7f0000400000-7f0000800000 rw-s 00400000 00:01 5  /dev/shm/volume
AnonHugePages:         0 kB
FilePmdMapped:      4096 kB
Shared_Hugetlb:       10 kB
Private_Hugetlb:       1 kB
7f0000800000-7f0000c00000 rw-s 00000000 00:01 6  /dev/shm/other
ShmemPmdMapped:     2048 kB
";
        let range = 0x7f00_0000_0000..0x7f00_0080_0000;
        assert_eq!(huge_bytes(smaps, range), (2048 + 4096 + 11) * 1024);
        assert_eq!(huge_bytes(smaps, 0..1), 0);
    }
}
