//! Device memory for famfs: mappings, cache lines, streaming copies and memory faults.
//!
//! This crate owns the two sharp edges of memory that several hosts share: nobody may hold a
//! reference to bytes that others write, and nothing reaches other hosts before its cache lines
//! do. [`Memory`] is the seam: bytes are copied out and in, lines are written back, dropped and
//! fenced, and memory that is lost is an error. [`View`] is the one exception that hands out a
//! slice, and its constructor states what must hold for that.
//!
//! It knows nothing of the log or its format, and never decides *when* a line is flushed.
//!
//! ```
//! use famfs_mem::{Memory, Region, RegionOff, Source};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("volume");
//! let source = Source::create_file(&path, 4 << 20, false)?;
//! let region = Region::map(&source)?;
//! region.stream(RegionOff(100), b"hello", 1)?;
//!
//! let mut bytes = [0; 5];
//! region.load(RegionOff(100), &mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! # Region::forget(&source.identity());
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!(
    "famfs-mem needs 64-bit Linux on x86-64 or Arm: shared memory is kept coherent with \
     instructions of the processor, and its faults are caught in routines written for it"
);

mod address;
mod advise;
mod attach;
mod cache;
mod copy;
mod descriptor;
mod fork;
mod guard;
mod located;
mod mapping;
mod memory;
mod patches;
mod per_process;
mod record;
mod region;
#[cfg(feature = "sim")]
pub mod sim;
mod source;
mod stitch;
#[cfg(test)]
mod testing;
mod threads;
mod view;
mod window;

pub use advise::{Collapsed, Populate};
pub use cache::{Instructions, Kind as CacheInstruction, cache_instructions};
pub use descriptor::above_standard;
pub use fork::{Registration, TableFull, close_in_child, generation};
pub use located::{Located, locate};
pub use memory::{Fault, Memory, RegionOff, WHOLE_WORDS};
pub use per_process::PerProcess;
pub use record::RecordRange;
pub use region::{MapError, Region};
pub use source::{Access, Identity, Kind, Part, Source, SourceError};
pub use threads::{default_threads, helped};
pub use view::{Piece, View};
pub use window::Window;

/// What streaming stores this host's processor uses, for reports.
#[must_use]
pub fn streaming_instructions() -> &'static str {
    guard::streams().name
}

/// Chooses this processor's instructions now, and not when the first region is mapped.
///
/// In a virtual machine each question to the processor costs microseconds: whoever is loaded long
/// before it opens anything asks early.
pub fn prepare() {
    let _ = (
        guard::streams(),
        guard::pair_is_atomic(),
        cache::cache_instructions(),
    );
}
