//! Check: a whole image judged at once, as far as it can be (what fsck and dump report).
//!
//! Owns the order in which superblock, log header and entries are judged, and what is said where
//! one of them ends it. Works on bytes that the caller has copied out of the volume.

use crate::finding::Finding;
use crate::header::{HeaderError, LogHeader};
use crate::media::LOG_HEADER_LEN;
use crate::replay::{DeviceError, Replay};
use crate::superblock::{Superblock, SuperblockError};
use crate::units::ByteLen;

/// Why a volume can't be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fatal {
    /// The superblock is refused.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// The device can't hold the volume.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The log's header is refused.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl Fatal {
    /// The finding's name in reports.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Superblock(error) => error.code(),
            Self::Device(error) => error.code(),
            Self::Header(error) => error.code(),
        }
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Clean,
    /// The volume is readable, and something is wrong with it.
    Findings,
    /// The volume could not be judged.
    Unjudged,
}

/// A volume, judged as far as it can be.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// The superblock, if it is valid.
    pub superblock: Option<Superblock>,
    /// The log's header, if it is valid.
    pub header: Option<LogHeader>,
    /// The replayed log, if the volume can be mounted.
    pub replay: Option<Replay>,
    /// What ended the check early.
    pub fatal: Option<Fatal>,
}

impl Check {
    /// Judges the image with these first bytes, on a device of `device` bytes. `read_log` is asked
    /// for bytes of the log, given the offset from its start: it fills the buffer as far as there
    /// are bytes, and says how many there were.
    ///
    /// # Errors
    /// Only what `read_log` returns; what is wrong with the image is in the result.
    pub fn run<E>(
        superblock: &[u8],
        device: ByteLen,
        seed: u64,
        mut read_log: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
    ) -> Result<Self, E> {
        let mut check = Self::default();
        let superblock = match Superblock::decode(superblock) {
            Ok(superblock) => superblock,
            Err(error) => return Ok(check.ended(error.into())),
        };
        check.superblock = Some(superblock.clone());
        if device.0 < superblock.data_offset() {
            let needed = superblock.data_offset();
            let error = DeviceError::TooSmall {
                size: device.0,
                needed,
            };
            return Ok(check.ended(error.into()));
        }
        let mut bytes = [0; LOG_HEADER_LEN];
        let len = read_log(0, &mut bytes)?;
        let header = match LogHeader::decode(&bytes[..len], superblock.log_len()) {
            Ok(header) => header,
            Err(error) => return Ok(check.ended(error.into())),
        };
        check.header = Some(header);
        let mut replay = match Replay::new(&superblock, &header, device, seed) {
            Ok(replay) => replay,
            Err(error) => return Ok(check.ended(error.into())),
        };
        replay.judge_counters(&header, header.counters());
        replay.judge_log(&header, &mut read_log)?;
        check.replay = Some(replay);
        Ok(check)
    }

    fn ended(mut self, fatal: Fatal) -> Self {
        self.fatal = Some(fatal);
        self
    }

    /// What came of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.replay {
            None => Verdict::Unjudged,
            Some(replay) if replay.findings().is_empty() => Verdict::Clean,
            Some(_) => Verdict::Findings,
        }
    }

    /// All findings; none where the check ended early.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.replay.as_ref().map_or(&[], |replay| replay.findings())
    }
}
