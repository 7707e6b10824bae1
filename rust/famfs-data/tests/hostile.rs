//! Files that mean harm: each gives an error or a table.
#![allow(missing_docs, reason = "a test")]

mod common;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int8Array, Int32Array, ListArray, RecordBatch, RunArray,
    StringArray, UInt32Array,
};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::take::take;
use bytes::Bytes;
use famfs_data::arrow::{ArrowFile, ArrowPlan, PlanOptions};
use famfs_data::{DataError, Peek, PeekError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Opens a file and touches all there is: every column's every value, if it was verified.
fn read_all(bytes: &Bytes) -> Result<usize, DataError> {
    let file = common::open(bytes)?;
    let checked = file.metadata().check();
    for batch in 0..file.metadata().num_batches()? {
        for index in 0..file.metadata().num_columns()? {
            if let Ok(column) = file.column(batch, index) {
                assert_eq!(column.len(), file.metadata().batch_rows(batch)?);
                let _ = column.logical_null_count();
                use_as_arrow_does(&column);
            }
        }
    }
    checked?;
    file.verify()?;
    let mut values = 0;
    for batch in 0..file.metadata().num_batches()? {
        let batch = file.batch(batch)?;
        for column in batch.columns() {
            // Arrow's own full judgement agrees: nothing below was handed out broken.
            let judged = column.to_data().validate_full();
            assert!(judged.is_ok(), "verified, and then {judged:?}");
            use_as_arrow_does(column);
            values += column.len();
        }
        if batch.num_rows() < 10_000 {
            assert_eq!(batch, batch.clone());
            let _ = format!("{batch:?}");
        }
    }
    Ok(values)
}

/// Arrow's functions may refuse what was handed out, but never panic at it.
fn use_as_arrow_does(column: &ArrayRef) {
    let len = u32::try_from(column.len()).unwrap_or(u32::MAX);
    let backwards = UInt32Array::from_iter_values((0..len.min(100)).rev());
    let _ = take(column, &backwards, None);
}

#[test]
fn every_hostile_file_is_an_error_or_a_table() {
    let (mut tables, mut errors) = (0, 0);
    for path in common::files(&common::golden().join("hostile")) {
        let bytes = std::fs::read(&path).unwrap();
        // Most have a broken start, which hides the rest: they are also tried with it mended.
        let mut mended = bytes.clone();
        let len = mended.len().min(6);
        mended[..len].copy_from_slice(&b"ARROW1"[..len]);
        for bytes in [bytes, mended] {
            match read_all(&common::aligned(&bytes)) {
                Ok(values) => {
                    tables += 1;
                    println!("table of {values} values: {}", path.display());
                }
                Err(error) => {
                    errors += 1;
                    let mut chain = vec![error.to_string()];
                    let mut source = std::error::Error::source(&error);
                    while let Some(cause) = source {
                        chain.push(cause.to_string());
                        source = cause.source();
                    }
                    let text = chain.join(": ");
                    assert!(!text.ends_with('.'), "{text}");
                    println!("{text}: {}", path.display());
                }
            }
        }
    }
    println!("{tables} tables, {errors} errors");
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let options = PlanOptions::default();
    let tables = common::streams().into_iter().zip(sample_tables());
    tables
        .map(|((name, ..), (schema, batches))| (name, common::write(&schema, &batches, &options)))
        .collect()
}

/// A few rows of each of the streams.
fn sample_tables() -> Vec<(SchemaRef, Vec<RecordBatch>)> {
    let few = |batch: &RecordBatch| batch.slice(0, batch.num_rows().min(7));
    common::streams()
        .into_iter()
        .map(|(_, schema, batches)| (schema, batches.iter().map(few).collect()))
        .collect()
}

#[test]
fn every_truncation_is_an_error() {
    for (name, file) in samples() {
        for len in 0..file.len() {
            let bytes = common::aligned(&file[..len]);
            assert!(common::open(&bytes).is_err(), "{name} cut to {len}");
        }
    }
}

/// With another end put on what is left, the footer is found and the rest is not.
#[test]
fn a_footer_over_missing_data_is_an_error() {
    for (name, file) in samples() {
        for cut in (8..file.len()).step_by(64) {
            let mut short = file[..8].to_vec();
            short.extend_from_slice(&file[cut..]);
            let _ = read_all(&common::aligned(&short)).map_err(|error| error.to_string());
            let _ = name;
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    for (_, file) in samples() {
        let step = (file.len() / 3000).max(1);
        for at in (0..file.len()).step_by(step) {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = file.clone();
                bad[at] ^= flip;
                let _ = read_all(&common::aligned(&bad));
            }
        }
    }
}

/// Each type there is, with each byte of its file changed by as little as can be.
#[test]
fn small_lies_about_any_type_never_panic() {
    let mut rng = common::tables::Rng(7);
    let (mut refused, mut taken) = (0, 0);
    for data_type in common::tables::types() {
        let (schema, batches) = common::tables::table(&mut rng, &[data_type], &[20]);
        let file = common::write(&schema, &batches, &PlanOptions::default());
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            match read_all(&common::aligned(&bad)) {
                Ok(_) => taken += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 1000 && taken > 1000, "{refused} {taken}");
}

/// Footer and headers decide most: every byte of them, with values that are often edges.
#[test]
fn flipped_metadata_never_panics() {
    for (_, file) in samples() {
        let len = i32::from_le_bytes(*file[file.len() - 10..].first_chunk().unwrap());
        let footer = file.len() - 10 - usize::try_from(len).unwrap();
        for at in (footer..file.len()).step_by(4) {
            for value in [0_i32, 1, -1, i32::MAX, i32::MIN, 0x0101_0101] {
                let mut bad = file.clone();
                let end = bad.len().min(at + 4);
                bad[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                let _ = read_all(&common::aligned(&bad));
            }
        }
    }
}

/// An index is a short cut that lies wherever it wants: each of its bytes, with values that are
/// often edges. Columns come by it alone, and by the footer.
#[test]
fn flipped_indices_never_panic() {
    let mut refused = 0;
    for (schema, batches) in sample_tables() {
        let indexed = PlanOptions {
            index_from: 0,
            batch_rows: Some(3),
            ..PlanOptions::default()
        };
        let plan = ArrowPlan::new(&schema, &batches, &indexed).unwrap();
        let file = common::write(&schema, &batches, &indexed);
        let start = usize::try_from(plan.footer_at()).unwrap();
        let len = i32::from_le_bytes(*file[file.len() - 10..].first_chunk().unwrap());
        let footer = file.len() - 10 - usize::try_from(len).unwrap();
        let step = ((footer - start) / 100).next_multiple_of(4).max(4);
        // All of the trailer, and of what lies before it as much as time allows.
        for at in (start..footer - 40)
            .step_by(step)
            .chain((footer - 40..footer).step_by(4))
        {
            for value in [0_i32, 1, -1, i32::MAX, i32::MIN] {
                let mut bad = file.clone();
                bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
                mend_trailer(&mut bad, footer);
                let bytes = common::aligned(&bad);
                let by_index = common::open(&bytes).and_then(|file| {
                    for field in schema.fields() {
                        for index in file.metadata().find_columns(field.name())? {
                            for batch in 0..file.metadata().num_batches()?.min(4) {
                                file.column(batch, index)?;
                            }
                        }
                    }
                    file.metadata().batches_of(&(2..7)).map(drop)
                });
                let _ = by_index.map_err(|error| error.to_string());
                refused += usize::from(read_all(&bytes).is_err());
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

/// Where footer and index say different things of a column, nobody gets an array of the one for what
/// the other says.
#[test]
fn a_footer_that_differs_from_the_index_is_never_mixed_with_it() {
    let column = Arc::new(Int8Array::from_iter_values(0..100)) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("v", column.clone()), ("w", column)]).unwrap();
    let indexed = PlanOptions {
        index_from: 0,
        ..PlanOptions::default()
    };
    let file = common::write(&batch.schema(), &[batch], &indexed);
    let len = i32::from_le_bytes(*file[file.len() - 10..].first_chunk().unwrap());
    let footer = file.len() - 10 - usize::try_from(len).unwrap();
    let mut differed = 0;
    for at in footer..file.len() - 10 {
        for (from, to) in [(8, 64), (8, 16), (1, 0)] {
            if file[at] != from {
                continue;
            }
            let mut evil = file.clone();
            evil[at] = to;
            let Ok(opened) = common::open(&common::aligned(&evil)) else {
                continue;
            };
            let Ok(by_index) = opened.column(0, 0) else {
                continue;
            };
            let Ok(schema) = opened.schema() else {
                continue;
            };
            let Some(field) = schema.fields().first().cloned() else {
                continue;
            };
            differed += usize::from(field.data_type() != by_index.data_type());
            if let Ok(found) = opened.column(0, 0) {
                assert_eq!(found.data_type(), field.data_type(), "byte {at}");
                found.to_data().validate_full().unwrap();
            }
            if let Ok(batch) = opened.batch(0) {
                assert_eq!(batch.column(0).data_type(), field.data_type(), "byte {at}");
            }
        }
    }
    assert!(differed > 0);
}

/// Puts the checksum of the index's last 40 bytes right: it guards against damage, not harm.
fn mend_trailer(file: &mut [u8], footer: usize) {
    let trailer = footer - 40;
    let crc = trailer + 28..trailer + 32;
    file[crc.clone()].fill(0);
    let sum = crc32fast::hash(&file[trailer..footer]);
    file[crc].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn misaligned_files_are_copied_where_they_must_be() {
    for (name, schema, batches) in common::streams() {
        let file = common::write(&schema, &batches, &PlanOptions::default());
        let mut shifted = vec![0; 4];
        shifted.extend_from_slice(&file);
        let bytes = common::aligned(&shifted).slice(4..);
        let opened = common::open(&bytes).unwrap();
        let read: Vec<RecordBatch> = (0..opened.metadata().num_batches().unwrap())
            .map(|i| opened.batch(i).unwrap())
            .collect();
        let expected = common::whole(&schema, &batches);
        common::equal(&name, &common::whole(&schema, &read), &expected);
        if name == "generated_primitive" {
            assert!(opened.bytes_copied() > 0);
        }
    }
}

/// A file that counts what is copied out of it.
#[derive(Debug)]
struct Counted {
    bytes: Bytes,
    copied: AtomicU64,
}

impl Peek for Counted {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), PeekError> {
        self.copied.fetch_add(into.len() as u64, Ordering::Relaxed);
        Peek::read(&self.bytes, at, into)
    }
}

#[test]
fn one_of_many_columns_is_opened_by_a_few_lines_of_the_file() {
    let copied = |columns: usize| {
        let column = Arc::new(Int32Array::from_iter_values(0..3)) as ArrayRef;
        let named = (0..columns).map(|i| (format!("c{i}"), column.clone()));
        let batch = RecordBatch::try_from_iter(named).unwrap();
        let file = common::write(&batch.schema(), &[batch], &PlanOptions::default());
        let bytes = common::aligned(&file);
        let peek = Arc::new(Counted {
            bytes: bytes.clone(),
            copied: AtomicU64::new(0),
        });
        let file = ArrowFile::open(peek.clone(), bytes).unwrap();
        let name = format!("c{}", columns / 2);
        let found = file.metadata().find_columns(&name).unwrap();
        assert_eq!(found, [columns / 2]);
        assert_eq!(file.column(0, found[0]).unwrap().len(), 3);
        peek.copied.load(Ordering::Relaxed)
    };
    let (few, many) = (copied(100), copied(10_000));
    assert!(few < 2000 && many < 2000, "{few} and {many} bytes");
}

/// A file one page of which is lost: whoever copies it out is told.
#[derive(Debug)]
struct Holed {
    bytes: Bytes,
    lost: u64,
}

impl Peek for Holed {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), PeekError> {
        let len = into.len() as u64;
        if at < self.lost + 4096 && at + len > self.lost {
            return Err(PeekError::new(at, len, "lost"));
        }
        Peek::read(&self.bytes, at, into)
    }
}

#[test]
fn a_lost_page_is_an_error_before_a_value_of_it_is_read() {
    let rows = 40_000_i32;
    let texts: StringArray = (0..rows)
        .map(|i| (i % 3 > 0).then(|| i.to_string()))
        .collect();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..rows).map(|i| (i % 5 > 0).then(|| vec![Some(i); 2])),
    );
    let words: DictionaryArray<Int32Type> = (0..rows)
        .map(|i| if i % 2 > 0 { "a" } else { "b" })
        .collect();
    let ends = Int32Array::from_iter_values((1..=rows).map(|i| i * 2));
    let runs = RunArray::try_new(&ends, &Int32Array::from_iter_values(0..rows)).unwrap();
    let runs: ArrayRef = Arc::new(runs.slice(0, 40_000));
    let numbers = Int32Array::from_iter_values(0..rows);
    let columns: [(&str, ArrayRef, usize); 5] = [
        // The bytes that are read when the column is handed out: bitmap and offsets or the like.
        ("texts", Arc::new(texts), 40_000 / 8 + 160_000),
        ("lists", Arc::new(lists), 40_000 / 8 + 160_000),
        ("words", Arc::new(words), 160_000),
        ("runs", runs, 80_000),
        ("numbers", Arc::new(numbers), 0),
    ];
    for (name, column, read) in columns {
        let batch = RecordBatch::try_from_iter([(name, column)]).unwrap();
        let file = common::write(&batch.schema(), &[batch], &PlanOptions::default());
        let bytes = common::aligned(&file);
        let (mut found, mut opened) = (0, 0);
        for lost in (0..file.len() as u64).step_by(4096) {
            let bytes = bytes.clone();
            let peek = Arc::new(Holed {
                bytes: bytes.clone(),
                lost,
            });
            let Ok(file) = ArrowFile::open(peek, bytes) else {
                continue;
            };
            opened += 1;
            match file.column(0, 0) {
                Ok(_) => {}
                Err(error) => {
                    assert!(error.message().contains("lost"), "{error}");
                    found += 1;
                }
            }
            assert!(file.verify().is_err(), "{name}: page at {lost}");
        }
        assert!(opened > 0);
        // Each lost page of those that are read: some are shared with what opening reads.
        let pages = read / 4096;

        assert!(
            (pages.saturating_sub(2)..=pages + 4).contains(&found),
            "{name}: {found} of {pages} pages"
        );
    }
}

#[test]
fn what_is_not_there_is_out_of_range() {
    let file = common::write(&Arc::new(Schema::empty()), &[], &PlanOptions::default());
    let opened = common::open(&common::aligned(&file)).unwrap();
    assert!(matches!(
        opened.batch(0),
        Err(DataError::OutOfRange { what: "batch", .. })
    ));
    assert_eq!(opened.metadata().num_rows().unwrap(), 0);
}
