//! An Arrow IPC file as far as it has been laid out: messages one after the other, then the footer.
//!
//! Owns the order of what is in the file. Nothing is copied: what is laid out refers to the caller's
//! buffers until it is taken to be written.

use super::batch::{self, BatchPlace};
use super::body::{Alignment, Body, Segment, signed};
use super::dictionary::{Dictionary, Tree};
use super::encode::{Chunk, Encoder};
use super::group::{Part, group};
use super::index;
use super::layout::PlanOptions;
use super::limit::check_schema;
use super::message::{self, CONTINUATION, HEAD, MAGIC};
use super::parse;
use crate::checksum;
use crate::error::DataError;
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::Block;
use arrow_schema::Schema;

/// Lays messages out, one after the other.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    schema: &'a Schema,
    alignment: Alignment,
    batch_rows: Option<usize>,
    at: u64,
    segments: Vec<Segment>,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
    /// Where the headers of the record batches lie, for the index.
    places: Vec<BatchPlace>,
    rows: u64,
    borrowed: u64,
    owned: u64,
}

/// What a finished file tells of its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Where the footer starts: all data lies before it.
    pub(super) footer_at: u64,
    /// Where the digits of the checksum go.
    pub(super) checksum_at: Option<u64>,
}

impl<'a> Writer<'a> {
    /// A file that begins with its schema.
    pub(super) fn new(schema: &'a Schema, options: &PlanOptions) -> Result<Self, DataError> {
        check_schema(schema)?;
        let mut file = Self {
            schema,
            alignment: options.aligned(),
            batch_rows: options.batch_rows,
            at: 0,
            segments: Vec::new(),
            dictionaries: Vec::new(),
            batches: Vec::new(),
            places: Vec::new(),
            rows: 0,
            borrowed: 0,
            owned: 0,
        };
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&[0; 2]);
        debug_assert_eq!(head.len() as u64, HEAD, "the magic and its padding");
        let message = message::schema_message(schema);
        head.extend(message::frame(&message, HEAD, options.alignment)?);
        file.push(head);
        Ok(file)
    }

    /// The file's length so far.
    pub(super) fn len(&self) -> u64 {
        self.at
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn num_batches(&self) -> usize {
        self.batches.len()
    }

    /// Bytes that are the caller's, and bytes of data that were made.
    pub(super) fn counted(&self) -> (u64, u64) {
        (self.borrowed, self.owned)
    }

    /// What was laid out since the last time.
    pub(super) fn take(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.segments)
    }

    /// Appends the dictionaries that have values.
    pub(super) fn dictionaries(&mut self, dictionaries: &[Dictionary]) -> Result<(), DataError> {
        for (id, dictionary) in dictionaries.iter().enumerate() {
            let Some(values) = &dictionary.values else {
                continue;
            };
            let (array, source) = (values.array()?, 0);
            let mut encoder = self.encoder(dictionaries);
            let chunks = [Chunk { array, source }];
            encoder.put(&dictionary.value_type, &dictionary.tree, &chunks)?;
            let block = self.batch(encoder.body, values.len(), Some(id))?;
            self.dictionaries.push(block);
        }
        Ok(())
    }

    /// Appends batches of the caller's, joined to as few as the options and the format allow.
    pub(super) fn batches(
        &mut self,
        batches: &[RecordBatch],
        trees: &[Tree],
        dictionaries: &[Dictionary],
    ) -> Result<(), DataError> {
        for parts in group(batches, self.batch_rows) {
            let body = self.encode(batches, trees, dictionaries, &parts)?;
            let rows = parts.iter().map(|part| part.len).sum();
            let block = self.batch(body, rows, None)?;
            self.batches.push(block);
            self.rows += rows as u64;
        }
        Ok(())
    }

    fn encode(
        &self,
        batches: &[RecordBatch],
        trees: &[Tree],
        dictionaries: &[Dictionary],
        parts: &[Part],
    ) -> Result<Body, DataError> {
        let mut encoder = self.encoder(dictionaries);
        for (i, (field, tree)) in self.schema.fields().iter().zip(trees).enumerate() {
            let chunk = |part: &Part| Chunk {
                array: part.of(batches[part.source].column(i)),
                source: part.source,
            };
            let chunks: Vec<_> = parts.iter().map(chunk).collect();
            let put = encoder.put(field.data_type(), tree, &chunks);
            put.map_err(|error| error.of_column(field.name()))?;
        }
        Ok(encoder.body)
    }

    fn encoder<'d>(&self, dictionaries: &'d [Dictionary]) -> Encoder<'d> {
        Encoder {
            body: Body::new(self.alignment),
            dictionaries,
        }
    }

    fn push(&mut self, bytes: Vec<u8>) {
        self.at += bytes.len() as u64;
        self.segments.push(Segment::Bytes(Buffer::from_vec(bytes)));
    }

    fn batch(
        &mut self,
        body: Body,
        rows: usize,
        dictionary: Option<usize>,
    ) -> Result<Block, DataError> {
        batch::check_rows(rows as u64, body.len)?;
        let message = message::batch_message(&body, rows, dictionary);
        let header = message::frame(&message, self.at, body.alignment())?;
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

    /// Appends the end of the stream, the index where one helps, and the footer.
    pub(super) fn finish(&mut self, options: &PlanOptions) -> Result<End, DataError> {
        let footer_at = self.at;
        // The end of the stream, for readers that come from the front.
        let mut end = CONTINUATION.to_vec();
        end.extend_from_slice(&[0; 4]);
        if self.schema.fields().len() + self.batches.len() >= options.index_from {
            let at = self.at + end.len() as u64;
            end.extend(index::encode(at, self.schema, &self.places)?);
        }
        let mut pairs = options.footer.clone();
        if options.checksum {
            pairs.insert(checksum::KEY.to_owned(), checksum::UNKNOWN.to_owned());
        }
        let footer = message::footer(self.schema, &self.dictionaries, &self.batches, &pairs)?;
        let start = self.at + end.len() as u64;
        let (flatbuffer, _) = footer.split_at(footer.len() - message::TAIL);
        let digits = options.checksum.then(|| parse::checksum_place(flatbuffer));
        end.extend_from_slice(&footer);
        self.push(end);
        Ok(End {
            footer_at,
            checksum_at: digits.flatten().map(|at| start + at as u64),
        })
    }
}
