//! Publishing a table whose batches come one after the other.
//!
//! Owns how many of them wait. As long as all that has come fits a window, nothing is written: a
//! table that ends within it is laid out as a whole, with one array for each column. A longer one is
//! written window by window, one record batch or more for each, into space that grows with it, and
//! no more of it than a window is in memory at any time; beside that the distinct values of its
//! dictionaries are, which are written last.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow_array::{Array, RecordBatch};
use arrow_buffer::ArrowNativeType;
use arrow_data::ArrayData;
use arrow_schema::{DataType, Schema};
use famfs::mounts;

use crate::arrow::{ArrowPlan, ArrowStream, PlanOptions};
use crate::error::DataError;
use crate::publish::{Draft, Options, Progress};
use crate::reference::Ref;
use crate::transaction::Transaction;

/// How long a source may take before progress is told, and whether it is to go on asked.
const SILENCE: Duration = Duration::from_millis(100);

/// What a batch and a column of it take besides their values.
const BATCH: u64 = 512;
const COLUMN: u64 = 256;

/// Where a table goes, and how.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// What it appears with.
    pub within: Option<&'a Transaction>,
    /// Its path, below a mount point.
    pub path: &'a Path,
    /// How it is published.
    pub options: Options,
    /// How it is laid out.
    pub plan: PlanOptions,
    /// How many bytes of batches may wait; `None` where all of them are in memory already.
    pub window: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Done {
    /// The reference; of a transaction's file there is none yet.
    pub reference: Option<Ref>,
    /// The file's size in bytes.
    pub size: u64,
    /// Bytes that were the source's own.
    pub borrowed: u64,
    /// Bytes of data that were made: offsets, bitmaps and indices moved.
    pub owned: u64,
}

/// Publishes the table of `batches`, all of them or, where one is an error, nothing.
///
/// # Errors
/// What `batches` has; those of [`ArrowPlan::new`], [`Draft::begin_in`], [`Draft::reach`] and
/// [`Draft::end`].
pub fn publish<E: From<DataError>>(
    target: &Target<'_>,
    schema: &Schema,
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    progress: &mut Progress,
) -> Result<Done, E> {
    let window = match target.window {
        Some(window) if can_grow(target.path)? => window,
        _ => u64::MAX,
    };
    let rows = target.plan.batch_rows;
    let mut waiting = Waiting::default();
    let mut flow: Option<Flow<'_>> = None;
    let mut told = Instant::now();
    for batch in batches {
        waiting.push(batch?);
        if window != u64::MAX && told.elapsed() >= SILENCE {
            let (at, of) = flow.as_ref().map_or((0, 0), Flow::written);
            progress(at, of)?;
            told = Instant::now();
        }
        if waiting.bytes < window {
            continue;
        }
        let whole = waiting.whole(rows);
        if whole.is_empty() {
            continue;
        }
        let flow = match &mut flow {
            Some(flow) => flow,
            None => flow.insert(Flow::begin(target, schema)?),
        };
        flow.add(&whole, progress)?;
    }
    Ok(match flow {
        Some(flow) => flow.end(&waiting.batches, progress)?,
        None => at_once(target, schema, waiting.batches, progress)?,
    })
}

fn can_grow(path: &Path) -> Result<bool, DataError> {
    Ok(mounts::resolve(path)?.volume()?.can_grow()?)
}

fn at_once(
    target: &Target<'_>,
    schema: &Schema,
    batches: Vec<RecordBatch>,
    progress: &mut Progress,
) -> Result<Done, DataError> {
    let plan = ArrowPlan::new(schema, &batches, &target.plan)?;
    drop(batches);
    let draft = Draft::begin_in(target.within, target.path, plan.size(), target.options)?;
    draft.put_table(&plan, progress)?;
    Ok(Done {
        reference: draft.end()?,
        size: plan.size(),
        borrowed: plan.bytes_borrowed(),
        owned: plan.bytes_owned(),
    })
}

/// A table that is being written.
struct Flow<'a> {
    draft: Draft,
    file: ArrowStream<'a>,
}

impl<'a> Flow<'a> {
    fn begin(target: &Target<'_>, schema: &'a Schema) -> Result<Self, DataError> {
        Ok(Self {
            file: ArrowStream::new(schema, target.plan.clone())?,
            // Nobody knows its size yet: it takes space as it needs it.
            draft: Draft::begin_in(target.within, target.path, 0, target.options)?,
        })
    }

    /// Bytes that were written, and bytes that are reserved.
    fn written(&self) -> (u64, u64) {
        (self.file.len(), self.draft.size())
    }

    fn add(&mut self, batches: &[RecordBatch], progress: &mut Progress) -> Result<(), DataError> {
        self.file.add(batches)?;
        self.write(progress)
    }

    fn write(&mut self, progress: &mut Progress) -> Result<(), DataError> {
        self.draft.reach(self.file.len())?;
        self.draft.put_spans(self.file.take().spans(), progress)
    }

    fn end(mut self, rest: &[RecordBatch], progress: &mut Progress) -> Result<Done, DataError> {
        if !rest.is_empty() {
            self.file.add(rest)?;
        }
        self.file.finish()?;
        self.write(progress)?;
        let size = self.file.len();
        self.draft.seal_table(self.file.checksum_at())?;
        self.draft.settle(size)?;
        progress(size, size)?;
        let (borrowed, owned) = self.file.counted();
        Ok(Done {
            reference: self.draft.end()?,
            size,
            borrowed,
            owned,
        })
    }
}

/// Batches that have come, and were not written yet.
#[derive(Debug, Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: u64,
    /// The dictionary that each column had last: one that many batches share is held once.
    dictionaries: Vec<Option<ArrayData>>,
}

impl Waiting {
    fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() == 0 && !self.batches.is_empty() {
            // It adds nothing, and there may be any number of them.
            return;
        }
        self.bytes += BATCH + COLUMN * batch.num_columns() as u64;
        self.dictionaries.resize(batch.num_columns(), None);
        for (column, last) in batch.columns().iter().zip(&mut self.dictionaries) {
            self.bytes += held(&column.to_data(), last);
        }
        self.rows += batch.num_rows();
        self.batches.push(batch);
    }

    /// Takes what makes whole partitions of `rows` rows; all, where there are none.
    fn whole(&mut self, rows: Option<usize>) -> Vec<RecordBatch> {
        let Some(rows) = rows.filter(|rows| *rows > 0) else {
            return std::mem::take(self).batches;
        };
        if self.rows < rows {
            return Vec::new();
        }
        let waiting = std::mem::take(self);
        let mut left = waiting.rows - waiting.rows % rows;
        let mut whole = Vec::new();
        for batch in waiting.batches {
            let len = batch.num_rows().min(left);
            left -= len;
            if len == batch.num_rows() {
                whole.push(batch);
                continue;
            }
            if len > 0 {
                whole.push(batch.slice(0, len));
            }
            self.push(batch.slice(len, batch.num_rows() - len));
        }
        whole
    }
}

/// How many bytes an array keeps from being freed, about: those of its own rows, for what a batch
/// shares with others is somebody else's.
fn held(data: &ArrayData, last: &mut Option<ArrayData>) -> u64 {
    let DataType::Dictionary(key, _) = data.data_type() else {
        return size(data);
    };
    let keys = (data.len() * key.primitive_width().unwrap_or(8)) as u64;
    let values = data.child_data().first();
    let is_known = matches!((&*last, values), (Some(last), Some(values)) if last.ptr_eq(values));
    if is_known {
        return keys;
    }
    *last = values.cloned();
    keys + values.map_or(0, size)
}

/// How many bytes an array's rows take, with what they lead to.
fn size(data: &ArrayData) -> u64 {
    let own = |width: usize| (data.len() * width) as u64;
    let items = |first: usize, last: usize| {
        let child = data.child_data().first();
        child.map_or(0, |child| size(&child.slice(first, last - first)))
    };
    match data.data_type() {
        DataType::List(_) | DataType::Map(_, _) => {
            let offsets = data.buffer::<i32>(0);
            let at = |row: usize| offsets.get(row).map_or(0, |at| at.as_usize());
            own(4) + items(at(0), at(data.len()))
        }
        DataType::LargeList(_) => {
            let offsets = data.buffer::<i64>(0);
            let at = |row: usize| offsets.get(row).map_or(0, |at| at.as_usize());
            own(8) + items(at(0), at(data.len()))
        }
        DataType::Utf8View | DataType::BinaryView => {
            // Which of its texts a view's rows use is not asked here: all of them stay for them.
            let texts = data.buffers().iter().skip(1);
            own(16) + texts.map(|texts| texts.len() as u64).sum::<u64>()
        }
        DataType::Struct(_) => data.child_data().iter().map(size).sum(),
        DataType::RunEndEncoded(_, _) => {
            // At most a run for each row.
            let runs = |child: &ArrayData| size(&child.slice(0, child.len().min(data.len())));
            data.child_data().iter().map(runs).sum()
        }
        _ => {
            let slice = data.get_slice_memory_size();
            slice.unwrap_or_else(|_| data.get_array_memory_size()) as u64
        }
    }
}
