//! Filling a file: its parts, dealt out to threads, each of which writes what it takes.
//!
//! Owns how the parts are cut, how many threads there are, what is gathered before it is written,
//! and that checksums come back in the order of the file. It must not know what the parts are of.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crc32fast::Hasher;
use famfs::Reservation;
use famfs::core::units::{ByteLen, FileOff};
use famfs::mem::{default_threads, helped};

use crate::arrow::Span;
use crate::error::DataError;

/// What a thread takes at a time, up to a multiple of it in the file: a large page, which one of
/// them touches first. Whoever is faster takes more.
const CHUNK: u64 = 2 << 20;

/// From so many bytes on more than one thread writes.
const PARALLEL_FROM: u64 = 8 << 20;

/// Bytes that are written between two reports of progress.
const TOLD: u64 = 64 << 20;

/// Pieces smaller than this are gathered before they are written: a streaming store writes whole
/// lines.
const SMALL: usize = 16 << 10;

/// How much is gathered at most.
const GATHERED: usize = 256 << 10;

static ZEROS: [u8; 4096] = [0; 4096];

/// Told of progress: up to which offset so many bytes would reach. An error stops the filling.
pub(crate) type Tell<'a> = dyn FnMut(u64) -> Result<(), DataError> + 'a;

/// Writes spans, given in ascending order; the checksums of what was written come back in the same
/// order, where they are asked for.
///
/// # Errors
/// Those of [`Reservation::fill`], and what `tell` returns.
pub(crate) fn fill<'a>(
    to: &Reservation,
    spans: impl Iterator<Item = (u64, Span<'a>)> + Send,
    summed: bool,
    tell: &mut Tell<'_>,
) -> Result<Vec<Hasher>, DataError> {
    let mut cutter = Cutter { spans, rest: None };
    let (mut ahead, mut known) = (Vec::new(), 0);
    while known < PARALLEL_FROM
        && let Some(chunk) = cutter.next()
    {
        known += chunk.len;
        ahead.push(chunk);
    }
    let Some(start) = ahead.first().map(|chunk| chunk.at) else {
        tell(0)?;
        return Ok(Vec::new());
    };
    let deal = Deal {
        to,
        summed,
        chunks: Mutex::new(ahead.into_iter().chain(cutter).enumerate()),
        written: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
    };
    let helpers = if known < PARALLEL_FROM {
        0
    } else {
        default_threads().max(1) - 1
    };
    let mut told = 0;
    let mut now_and_then = |written| {
        if written < told + TOLD {
            return Ok(());
        }
        told = written;
        tell(start + written)
    };
    let found = helped(
        helpers,
        || deal.work(&mut |_| Ok(())),
        || deal.work(&mut now_and_then),
    );
    let mut sums = Vec::new();
    for each in found {
        sums.extend(each?);
    }
    tell(start + deal.written.into_inner())?;
    sums.sort_by_key(|(number, _)| *number);
    Ok(sums.into_iter().map(|(_, sum)| sum).collect())
}

/// What the threads of one filling share.
struct Deal<'r, I> {
    to: &'r Reservation,
    summed: bool,
    chunks: Mutex<I>,
    written: AtomicU64,
    /// Whether one of them met an error: then it is of no use that the others go on.
    stopped: AtomicBool,
}

impl<'a, I: Iterator<Item = (usize, Chunk<'a>)>> Deal<'_, I> {
    /// Writes chunks for as long as there are some, and tells how much all have written after each.
    fn work(&self, tell: &mut Tell<'_>) -> Result<Vec<(usize, Hasher)>, DataError> {
        let mut sums = Vec::new();
        while !self.stopped.load(Ordering::Relaxed) {
            let next = self
                .chunks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next();
            let Some((number, chunk)) = next else {
                break;
            };
            let written = self.write(&chunk.spans).and_then(|sum| {
                sums.extend(sum.map(|sum| (number, sum)));
                tell(self.written.fetch_add(chunk.len, Ordering::Relaxed) + chunk.len)
            });
            if let Err(error) = written {
                self.stopped.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(sums)
    }

    /// Writes spans with this thread; their checksum, if one is computed, comes back.
    fn write(&self, spans: &[(u64, Span<'a>)]) -> Result<Option<Hasher>, DataError> {
        let mut sum = self.summed.then(Hasher::new);
        let mut gathered: Vec<u8> = Vec::new();
        let mut from = 0;
        for &(at, span) in spans {
            let bytes = match span {
                Span::Bytes(bytes) => bytes,
                Span::Zero(len) => {
                    if let Some(zeros) = ZEROS.get(..usize_of(len)) {
                        zeros
                    } else {
                        self.put(from, &gathered, sum.as_mut())?;
                        gathered.clear();
                        self.zero(at, len, sum.as_mut())?;
                        continue;
                    }
                }
            };
            let joins =
                at == from + gathered.len() as u64 && gathered.len() + bytes.len() <= GATHERED;
            if !joins || bytes.len() >= SMALL {
                self.put(from, &gathered, sum.as_mut())?;
                gathered.clear();
            }
            if bytes.len() >= SMALL {
                self.put(at, bytes, sum.as_mut())?;
            } else {
                if gathered.is_empty() {
                    from = at;
                }
                gathered.extend_from_slice(bytes);
            }
        }
        self.put(from, &gathered, sum.as_mut())?;
        Ok(sum)
    }

    fn put(&self, at: u64, bytes: &[u8], sum: Option<&mut Hasher>) -> Result<(), DataError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let at = FileOff(at);
        match sum {
            Some(sum) => self.to.fill_seen(at, bytes, &mut |part| sum.update(part))?,
            None => self.to.fill_with(at, bytes, 1)?,
        }
        Ok(())
    }

    fn zero(&self, at: u64, len: u64, sum: Option<&mut Hasher>) -> Result<(), DataError> {
        self.to.zero(FileOff(at), ByteLen(len))?;
        if let Some(sum) = sum {
            let mut left = usize_of(len);
            while left > 0 {
                let part = left.min(ZEROS.len());
                sum.update(ZEROS.split_at(part).0);
                left -= part;
            }
        }
        Ok(())
    }
}

/// Spans that follow one another, within one large page of the file.
struct Chunk<'a> {
    at: u64,
    len: u64,
    spans: Vec<(u64, Span<'a>)>,
}

/// Cuts spans into chunks.
struct Cutter<'a, I> {
    spans: I,
    /// What is left of a span that reached beyond its chunk.
    rest: Option<(u64, Span<'a>)>,
}

impl<'a, I: Iterator<Item = (u64, Span<'a>)>> Iterator for Cutter<'a, I> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let mut chunk: Option<Chunk<'a>> = None;
        while let Some((at, span)) = self.rest.take().or_else(|| self.spans.next()) {
            if span.is_empty() {
                continue;
            }
            let chunk = chunk.get_or_insert_with(|| Chunk {
                at,
                len: 0,
                spans: Vec::new(),
            });
            let end = (chunk.at / CHUNK + 1) * CHUNK;
            if at >= end {
                self.rest = Some((at, span));
                break;
            }
            let (part, after) = span.split_at(end - at);
            chunk.len += part.len();
            chunk.spans.push((at, part));
            if at + part.len() == end {
                self.rest = Some((end, after));
                break;
            }
        }
        chunk
    }
}

fn usize_of(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spans that were cut, put together again.
    fn joined(chunks: &[Chunk<'_>]) -> Vec<(u64, Vec<u8>)> {
        let mut all: Vec<(u64, Vec<u8>)> = Vec::new();
        for &(at, span) in chunks.iter().flat_map(|chunk| &chunk.spans) {
            let bytes = match span {
                Span::Bytes(bytes) => bytes.to_vec(),
                Span::Zero(len) => vec![0; usize_of(len)],
            };
            match all.last_mut() {
                Some((start, before)) if *start + before.len() as u64 == at => {
                    before.extend(bytes);
                }
                _ => all.push((at, bytes)),
            }
        }
        all
    }

    #[test]
    fn chunks_end_where_large_pages_do_and_hold_every_byte_once() {
        let bytes: Vec<u8> = (0..7_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        let gap = 100 + bytes.len() as u64 + 5000 + 3 * CHUNK;
        let spans = [
            (100, Span::Bytes(&bytes[..10])),
            (110, Span::Bytes(&bytes[10..10])),
            (110, Span::Bytes(&bytes[10..])),
            (100 + bytes.len() as u64, Span::Zero(5000)),
            (gap, Span::Zero(CHUNK)),
            (gap + CHUNK, Span::Bytes(&bytes[..1])),
        ];
        let cutter = Cutter {
            spans: spans.into_iter(),
            rest: None,
        };
        let chunks: Vec<_> = cutter.collect();
        for chunk in &chunks {
            let end = chunk.at + chunk.len;
            assert!(chunk.len > 0 && end <= (chunk.at / CHUNK + 1) * CHUNK);
            assert_eq!(chunk.spans[0].0, chunk.at);
        }
        let mut first = bytes.clone();
        first.resize(bytes.len() + 5000, 0);
        let mut second = vec![0; usize_of(CHUNK)];
        second.push(bytes[0]);
        assert!(joined(&chunks) == [(100, first), (gap, second)]);
    }

    #[test]
    fn nothing_makes_no_chunk() {
        let spans = [(0, Span::Zero(0)), (7, Span::Bytes(&[]))].into_iter();
        assert!(Cutter { spans, rest: None }.next().is_none());
    }
}
