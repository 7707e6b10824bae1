//! What the tests share: golden files, tables as files, and what must hold of both.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses some of it"
)]

pub mod tables;

use arrow_array::{Array, RecordBatch};
use arrow_data::ArrayData;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use famfs_data::Place;
use famfs_data::arrow::{ArrowFile, ArrowPlan, ArrowStream, PlanOptions, Span};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/arrow-golden")
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the golden files are there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| path.is_file());
    files.sort();
    assert!(!files.is_empty());
    files
}

pub fn streams() -> Vec<(String, SchemaRef, Vec<RecordBatch>)> {
    let mut found = Vec::new();
    for path in files(&golden()) {
        if path
            .extension()
            .is_none_or(|extension| extension != "stream")
        {
            continue;
        }
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let bytes = fs::read(&path).expect("it can be read");
        let reader = StreamReader::try_new(Cursor::new(bytes), None).expect("a stream");
        let schema = reader.schema();
        found.push((
            name,
            schema,
            reader.collect::<Result<_, _>>().expect("batches"),
        ));
    }
    found
}

struct Owner(arrow_buffer::Buffer);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes at an address that is a multiple of 64, as in a mapping.
pub fn aligned(bytes: &[u8]) -> Bytes {
    let mut buffer = arrow_buffer::MutableBuffer::new(bytes.len());
    buffer.extend_from_slice(bytes);
    Bytes::from_owner(Owner(buffer.into()))
}

pub fn open(bytes: &Bytes) -> Result<ArrowFile, famfs_data::DataError> {
    ArrowFile::open(Arc::new(bytes.clone()), bytes.clone())
}

pub fn write(schema: &SchemaRef, batches: &[RecordBatch], options: &PlanOptions) -> Vec<u8> {
    let plan = ArrowPlan::new(schema, batches, options).expect("a plan");
    let mut file = Vec::new();
    plan.write(&mut file).expect("written");
    assert_eq!(
        plan.size(),
        file.len() as u64,
        "the size is known beforehand"
    );
    assert!(plan.footer_at() < plan.size());
    file
}

pub fn inside(data: &ArrayData, file: &Bytes) {
    let range = file.as_ptr_range();
    let nulls = data.nulls().map(arrow_buffer::NullBuffer::buffer);
    for buffer in data
        .buffers()
        .iter()
        .chain(nulls)
        .filter(|buffer| !buffer.is_empty())
    {
        let at = buffer.as_ptr();
        // An empty array's one offset may be missing in a file: it is made then.
        assert!(
            range.contains(&at) || data.is_empty(),
            "{}",
            data.data_type()
        );
    }
    data.child_data()
        .iter()
        .for_each(|child| inside(child, file));
}

/// One batch of all rows, for comparison.
pub fn whole(schema: &SchemaRef, batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(schema, batches).expect("batches can be joined")
}

/// Everything that must hold of a table that is written and opened, with an index and without.
pub fn round_trip(
    name: &str,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    options: &PlanOptions,
) -> Vec<u8> {
    let indexed = PlanOptions {
        index_from: 0,
        ..options.clone()
    };
    let file = one_round_trip(name, schema, batches, &indexed);
    by_index(name, schema, batches, &file);
    let streamed = PlanOptions {
        batch_rows: None,
        ..options.clone()
    };
    let file = stream(schema, batches, &streamed);
    check(name, schema, batches, &streamed, &file);
    one_round_trip(name, schema, batches, options)
}

/// The same table written batch by batch.
pub fn stream(schema: &SchemaRef, batches: &[RecordBatch], options: &PlanOptions) -> Vec<u8> {
    let mut stream = ArrowStream::new(schema, options.clone()).expect("options that make sense");
    let mut file = Vec::new();
    let mut put = |stream: &mut ArrowStream<'_>| {
        let laid_out = stream.take();
        for (at, span) in laid_out.spans() {
            match span {
                Span::Bytes(bytes) => file.put(at, bytes),
                Span::Zero(len) => file.zero(at, len),
            }
            .expect("in order");
        }
        assert_eq!(file.len() as u64, stream.len());
    };
    put(&mut stream);
    for batch in batches {
        stream.add(std::slice::from_ref(batch)).expect("laid out");
        put(&mut stream);
    }
    stream.finish().expect("a footer");
    put(&mut stream);
    file
}

/// Single columns, without the footer ever being read.
fn by_index(name: &str, schema: &SchemaRef, batches: &[RecordBatch], file: &[u8]) {
    let expected = whole(schema, batches);
    let bytes = aligned(file);
    for (i, field) in schema.fields().iter().enumerate() {
        let opened = open(&bytes).expect("it opens");
        let metadata = opened.metadata();
        assert_eq!(&metadata.field(i).expect("a field"), field, "{name}");
        let found = metadata.find_columns(field.name()).expect("names");
        assert!(found.contains(&i), "{name}: {found:?}");
        assert!(
            metadata
                .find_columns("no such name")
                .expect("names")
                .is_empty()
        );
        let count = metadata.num_batches().expect("batches");
        let columns: Vec<_> = (0..count)
            .map(|b| opened.column(b, i).expect("one"))
            .collect();
        let parts: Vec<_> = columns.iter().map(AsRef::as_ref).collect();
        if !parts.is_empty() {
            let joined = arrow_select::concat::concat(&parts).expect("they can be joined");
            assert_eq!(&joined, expected.column(i), "{name}: column {i} by index");
        }
        let rows = expected.num_rows() as u64;
        let (from, to) = (rows / 3, rows / 3 * 2);
        let found = metadata.batches_of(&(from..to)).expect("batches");
        let found: usize = found.iter().map(|(_, rows)| rows.len()).sum();
        assert_eq!(found as u64, to - from, "{name}");
    }
}

fn one_round_trip(
    name: &str,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    options: &PlanOptions,
) -> Vec<u8> {
    let file = write(schema, batches, options);
    check(name, schema, batches, options, &file);
    file
}

/// What must hold of a file of a table.
fn check(
    name: &str,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    options: &PlanOptions,
    file: &[u8],
) {
    let expected = whole(schema, batches);

    let reader = FileReader::try_new(Cursor::new(file), None).expect("arrow opens it");
    assert_eq!(&reader.schema(), schema, "{name}: arrow's schema");
    let read: Vec<_> = reader.collect::<Result<_, _>>().expect("arrow reads it");
    equal(name, &whole(schema, &read), &expected);

    let bytes = aligned(file);
    let opened = open(&bytes).expect("it opens");
    opened
        .verify()
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert_eq!(opened.schema().expect("a schema"), schema, "{name}: schema");
    assert_eq!(
        opened.metadata().num_rows().expect("rows"),
        expected.num_rows() as u64,
        "{name}"
    );
    assert_eq!(opened.bytes_copied(), 0, "{name}: all in place");
    let ours: Vec<_> = (0..opened.metadata().num_batches().expect("batches"))
        .map(|i| opened.batch(i).expect("a batch"))
        .collect();
    for batch in &ours {
        batch
            .columns()
            .iter()
            .for_each(|column| inside(&column.to_data(), &bytes));
    }
    if let Some(rows) = options.batch_rows {
        let last = ours.len().saturating_sub(1);
        assert!(
            ours.iter().take(last).all(|batch| batch.num_rows() == rows),
            "{name}"
        );
    }
    equal(name, &whole(schema, &ours), &expected);
}

pub fn equal(name: &str, found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(found.num_rows(), expected.num_rows(), "{name}: rows");
    for (i, (found, expected)) in found.columns().iter().zip(expected.columns()).enumerate() {
        assert_eq!(found, expected, "{name}: column {i}");
    }
}
