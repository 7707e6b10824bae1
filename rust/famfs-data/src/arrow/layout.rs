//! Lays a table out as an Arrow IPC file: its exact size, and every byte's place, before any is
//! written.
//!
//! Batches are joined, so that a column is one array, unless the caller wants partitions. The
//! file has more than one record batch then, and also where one column would outgrow its type:
//! 32-bit offsets count 2 GiB of strings, 16-bit run ends 32,767 rows. Values are not copied on the
//! way: the plan holds references to the caller's buffers, and the metadata it made.

use super::batch::{self, BatchPlace};
use super::body::{Body, Segment, signed};
use super::dictionary::{self, Dictionary, Tree};
use super::encode::{Chunk, Encoder};
use super::group::{Part, group};
use super::index;
use super::message::{self, CONTINUATION, HEAD, MAGIC};
use super::parse;
use crate::checksum;
use crate::error::DataError;
use crate::place::Place;
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::Block;
use arrow_schema::Schema;
use std::collections::HashMap;

/// Below this a footer is read as fast as an index.
const INDEX_FROM: usize = 64;

/// How a table is laid out.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Keep partitions of this many rows; without it, as few record batches as possible.
    pub batch_rows: Option<usize>,
    /// Every buffer starts at a multiple of this in the file: a power of two, at least 64.
    pub alignment: u64,
    /// Key-value pairs for the footer.
    pub footer: HashMap<String, String>,
    /// Keep room for a checksum of the file, see [`ArrowPlan::checksum_at`].
    pub checksum: bool,
    /// From so many columns and batches on, together, the file gets an index of them.
    pub index_from: usize,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            batch_rows: None,
            alignment: 64,
            footer: HashMap::new(),
            checksum: false,
            index_from: INDEX_FROM,
        }
    }
}

/// Bytes of a planned file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// This many zeros.
    Zero(u64),
}

/// A table laid out as an Arrow IPC file, ready to be written.
#[derive(Debug)]
pub struct ArrowPlan {
    segments: Vec<Segment>,
    size: u64,
    footer_at: u64,
    checksum_at: Option<u64>,
    rows: u64,
    batches: usize,
    borrowed: u64,
    owned: u64,
}

impl ArrowPlan {
    /// Lays out `batches` as one table with the given schema.
    ///
    /// # Errors
    /// If a batch's columns are not of the schema's types, if the options make no sense, or if
    /// the table can't be said in the format: dictionaries that are too large once they are one.
    pub fn new(
        schema: &Schema,
        batches: &[RecordBatch],
        options: &PlanOptions,
    ) -> Result<Self, DataError> {
        if !options.alignment.is_power_of_two() || options.alignment < 64 {
            return Err(DataError::unsupported(
                format!("an alignment of {}", options.alignment),
                "it is a power of two and at least 64",
            ));
        }
        if options.batch_rows == Some(0) {
            return Err(DataError::unsupported(
                "partitions of 0 rows",
                "ask for 1 or more",
            ));
        }
        super::limit::check_schema(schema)?;
        check_schemas(schema, batches)?;
        let mut dictionaries = Vec::new();
        let mut trees = Vec::with_capacity(schema.fields().len());
        for (i, field) in schema.fields().iter().enumerate() {
            let chunk = |(source, batch): (usize, &RecordBatch)| Chunk {
                array: batch.column(i).clone(),
                source,
            };
            let chunks: Vec<_> = batches.iter().enumerate().map(chunk).collect();
            trees.push(dictionary::collect(field, &chunks, &mut dictionaries)?);
        }
        let mut file = File::new(options.alignment);
        file.start(schema)?;
        let mut dictionary_blocks = Vec::new();
        for (id, dictionary) in dictionaries.iter().enumerate() {
            let Some(values) = &dictionary.values else {
                continue;
            };
            let mut encoder = file.encoder(&dictionaries);
            let chunks = std::slice::from_ref(values);
            encoder.put(&dictionary.value_type, &dictionary.tree, chunks)?;
            let body = encoder.body;
            dictionary_blocks.push(file.batch(body, values.array.len(), Some(id))?);
        }
        let groups = group(batches, options.batch_rows);
        let mut blocks = Vec::with_capacity(groups.len());
        for parts in &groups {
            let body = encode(&file, schema, batches, &trees, &dictionaries, parts)?;
            let rows = parts.iter().map(|part| part.len).sum();
            blocks.push(file.batch(body, rows, None)?);
        }
        let mut plan = file.finish(schema, &dictionary_blocks, &blocks, options)?;
        plan.rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        plan.batches = groups.len();
        Ok(plan)
    }

    /// The file's exact size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the footer starts: all data lies before it.
    #[must_use]
    pub fn footer_at(&self) -> u64 {
        self.footer_at
    }

    /// Where the eight digits of the checksum go, zeros as planned: it is that of the file with
    /// them.
    #[must_use]
    pub fn checksum_at(&self) -> Option<u64> {
        self.checksum_at
    }

    /// The number of rows.
    #[must_use]
    pub fn num_rows(&self) -> u64 {
        self.rows
    }

    /// The number of record batches in the file.
    #[must_use]
    pub fn num_batches(&self) -> usize {
        self.batches
    }

    /// How many bytes of the file are the caller's own, written from where they are.
    #[must_use]
    pub fn bytes_borrowed(&self) -> u64 {
        self.borrowed
    }

    /// How many bytes of the file's data were made for it: offsets, bitmaps and indices moved.
    #[must_use]
    pub fn bytes_owned(&self) -> u64 {
        self.owned
    }

    /// All of the file in ascending order, each part with its offset.
    pub fn spans(&self) -> impl Iterator<Item = (u64, Span<'_>)> {
        self.segments.iter().scan(0, |at, segment| {
            let start = *at;
            *at += segment.len();
            let span = match segment {
                Segment::Bytes(bytes) => Span::Bytes(bytes.as_slice()),
                Segment::Zero(len) => Span::Zero(*len),
            };
            Some((start, span))
        })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What the place says.
    pub fn write(&self, place: &mut dyn Place) -> Result<(), DataError> {
        for (at, span) in self.spans() {
            match span {
                Span::Bytes(bytes) => place.put(at, bytes)?,
                Span::Zero(len) => place.zero(at, len)?,
            }
        }
        Ok(())
    }
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zero(len) => *len,
        }
    }
}

fn check_schemas(schema: &Schema, batches: &[RecordBatch]) -> Result<(), DataError> {
    for (i, batch) in batches.iter().enumerate() {
        let same = batch.num_columns() == schema.fields().len()
            && schema
                .fields()
                .iter()
                .zip(batch.columns())
                .all(|(field, column)| column.data_type() == field.data_type());
        if !same {
            return Err(DataError::SchemaMismatch {
                batch: i,
                expected: schema.to_string(),
                found: batch.schema().to_string(),
            });
        }
    }
    Ok(())
}

fn encode(
    file: &File,
    schema: &Schema,
    batches: &[RecordBatch],
    trees: &[Tree],
    dictionaries: &[Dictionary],
    parts: &[Part],
) -> Result<Body, DataError> {
    let mut encoder = file.encoder(dictionaries);
    for (i, (field, tree)) in schema.fields().iter().zip(trees).enumerate() {
        let chunk = |part: &Part| Chunk {
            array: part.of(batches[part.source].column(i)),
            source: part.source,
        };
        let chunks: Vec<_> = parts.iter().map(chunk).collect();
        encoder.put(field.data_type(), tree, &chunks)?;
    }
    Ok(encoder.body)
}

/// The file as far as it has been laid out.
struct File {
    alignment: u64,
    at: u64,
    segments: Vec<Segment>,
    borrowed: u64,
    owned: u64,
    /// Where the headers of the record batches lie, for the index.
    places: Vec<BatchPlace>,
}

impl File {
    fn new(alignment: u64) -> Self {
        Self {
            alignment,
            at: 0,
            segments: Vec::new(),
            borrowed: 0,
            owned: 0,
            places: Vec::new(),
        }
    }

    fn encoder<'a>(&self, dictionaries: &'a [Dictionary]) -> Encoder<'a> {
        Encoder {
            body: Body::new(self.alignment),
            dictionaries,
        }
    }

    fn push(&mut self, bytes: Vec<u8>) {
        self.at += bytes.len() as u64;
        self.segments.push(Segment::Bytes(Buffer::from_vec(bytes)));
    }

    fn start(&mut self, schema: &Schema) -> Result<(), DataError> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&[0; 2]);
        debug_assert_eq!(head.len() as u64, HEAD, "the magic and its padding");
        head.extend(message::frame(
            &message::schema_message(schema),
            HEAD,
            self.alignment,
        )?);
        self.push(head);
        Ok(())
    }

    fn batch(
        &mut self,
        body: Body,
        rows: usize,
        dictionary: Option<usize>,
    ) -> Result<Block, DataError> {
        batch::check_rows(rows as u64, body.len)?;
        let message = message::batch_message(&body, rows, dictionary);
        let header = message::frame(&message, self.at, self.alignment)?;
        if dictionary.is_none() {
            let start = self.at + header.len() as u64;
            let place = batch::locate(&message, self.at + 8, start..start + body.len)?;
            self.places.push(place);
        }
        // The frame checked that its length fits.
        let header_len = i32::try_from(header.len()).unwrap_or(i32::MAX);
        let block = Block::new(signed(self.at), header_len, signed(body.len));
        self.push(header);
        self.at += body.len;
        self.segments.extend(body.segments);
        self.borrowed += body.borrowed;
        self.owned += body.owned;
        Ok(block)
    }

    fn finish(
        mut self,
        schema: &Schema,
        dictionaries: &[Block],
        batches: &[Block],
        options: &PlanOptions,
    ) -> Result<ArrowPlan, DataError> {
        let footer_at = self.at;
        // The end of the stream, for readers that come from the front.
        let mut end = CONTINUATION.to_vec();
        end.extend_from_slice(&[0; 4]);
        if schema.fields().len() + batches.len() >= options.index_from {
            let at = self.at + end.len() as u64;
            end.extend(index::encode(at, schema, &self.places)?);
        }
        let mut pairs = options.footer.clone();
        if options.checksum {
            pairs.insert(checksum::KEY.to_owned(), checksum::UNKNOWN.to_owned());
        }
        let footer = message::footer(schema, dictionaries, batches, &pairs)?;
        let start = self.at + end.len() as u64;
        let (flatbuffer, _) = footer.split_at(footer.len() - message::TAIL);
        let digits = options.checksum.then(|| parse::checksum_place(flatbuffer));
        end.extend_from_slice(&footer);
        self.push(end);
        Ok(ArrowPlan {
            segments: self.segments,
            size: self.at,
            footer_at,
            checksum_at: digits.flatten().map(|at| start + at as u64),
            rows: 0,
            batches: 0,
            borrowed: self.borrowed,
            owned: self.owned,
        })
    }
}
