//! The flatbuffers of an IPC file: schema, batches, footer, and the frame around a message.

use super::body::{Body, signed};
use crate::error::DataError;
use arrow_ipc as ipc;
use arrow_ipc::convert::{IpcSchemaEncoder, metadata_to_fb};
use arrow_ipc::writer::DictionaryTracker;
use arrow_schema::Schema;
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use std::collections::HashMap;

/// A message is preceded by this and its length, 4 bytes each.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];
pub(super) const MAGIC: &[u8; 6] = b"ARROW1";
/// What follows a footer's flatbuffer: its length, and the magic.
pub(super) const TAIL: usize = 4 + MAGIC.len();
/// The magic is padded to 8 bytes, then the first message follows.
pub(super) const HEAD: u64 = 8;

fn encode_schema<'a>(
    builder: &mut FlatBufferBuilder<'a>,
    schema: &Schema,
) -> WIPOffset<ipc::Schema<'a>> {
    let mut tracker = DictionaryTracker::new(true);
    IpcSchemaEncoder::new()
        .with_dictionary_tracker(&mut tracker)
        .schema_to_fb_offset(builder, schema)
}

fn message(
    mut builder: FlatBufferBuilder<'_>,
    kind: ipc::MessageHeader,
    header: WIPOffset<UnionWIPOffset>,
    body_len: u64,
) -> Vec<u8> {
    let mut message = ipc::MessageBuilder::new(&mut builder);
    message.add_version(ipc::MetadataVersion::V5);
    message.add_header_type(kind);
    message.add_bodyLength(signed(body_len));
    message.add_header(header);
    let root = message.finish();
    builder.finish(root, None);
    builder.finished_data().to_vec()
}

/// The message that starts the file.
pub(super) fn schema_message(schema: &Schema) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let header = encode_schema(&mut builder, schema).as_union_value();
    message(builder, ipc::MessageHeader::Schema, header, 0)
}

/// The message before `body`: a record batch, or the dictionary with the given id.
pub(super) fn batch_message(body: &Body, rows: usize, dictionary: Option<usize>) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let buffers = builder.create_vector(&body.buffers);
    let nodes = builder.create_vector(&body.nodes);
    let variadic = (!body.variadic.is_empty()).then(|| builder.create_vector(&body.variadic));
    let mut batch = ipc::RecordBatchBuilder::new(&mut builder);
    batch.add_length(signed(rows as u64));
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    if let Some(variadic) = variadic {
        batch.add_variadicBufferCounts(variadic);
    }
    let batch = batch.finish();
    let Some(id) = dictionary else {
        let header = batch.as_union_value();
        return message(builder, ipc::MessageHeader::RecordBatch, header, body.len);
    };
    let mut outer = ipc::DictionaryBatchBuilder::new(&mut builder);
    outer.add_id(signed(id as u64));
    outer.add_data(batch);
    outer.add_isDelta(false);
    let header = outer.finish().as_union_value();
    message(
        builder,
        ipc::MessageHeader::DictionaryBatch,
        header,
        body.len,
    )
}

/// The footer with what follows it up to the end of the file, all but the final magic's frame.
pub(super) fn footer(
    schema: &Schema,
    dictionaries: &[ipc::Block],
    batches: &[ipc::Block],
    metadata: &HashMap<String, String>,
) -> Result<Vec<u8>, DataError> {
    let mut builder = FlatBufferBuilder::new();
    let dictionaries = builder.create_vector(dictionaries);
    let batches = builder.create_vector(batches);
    let schema = encode_schema(&mut builder, schema);
    let metadata = (!metadata.is_empty()).then(|| metadata_to_fb(&mut builder, metadata));
    let mut footer = ipc::FooterBuilder::new(&mut builder);
    footer.add_version(ipc::MetadataVersion::V5);
    footer.add_schema(schema);
    footer.add_dictionaries(dictionaries);
    footer.add_recordBatches(batches);
    if let Some(metadata) = metadata {
        footer.add_custom_metadata(metadata);
    }
    let root = footer.finish();
    builder.finish(root, None);
    let mut bytes = builder.finished_data().to_vec();
    let len = length(&bytes)?;
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(MAGIC);
    Ok(bytes)
}

/// A message as it stands in the file from `at` on, padded so that what follows is aligned.
pub(super) fn frame(message: &[u8], at: u64, alignment: u64) -> Result<Vec<u8>, DataError> {
    let end = (at + 8 + message.len() as u64).next_multiple_of(alignment);
    let size = usize::try_from(end - at).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&CONTINUATION);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(message);
    bytes.resize(size, 0);
    let len = length(&bytes)? - 8;
    bytes[4..8].copy_from_slice(&len.to_le_bytes());
    Ok(bytes)
}

fn length(bytes: &[u8]) -> Result<i32, DataError> {
    i32::try_from(bytes.len()).map_err(|_| DataError::TooLarge {
        what: "the metadata of one message",
        found: bytes.len() as u64,
        limit: i32::MAX.unsigned_abs().into(),
    })
}
