//! How large a schema may be: a flatbuffer has 2 GiB at most, and its builder panics beyond.

use crate::error::DataError;
use arrow_schema::{DataType, Field, Schema};
use std::collections::HashMap;

/// What a field takes besides its texts, with its type and room to spare: some 100 bytes.
const FIELD: u64 = 192;

/// Room for what stands around a schema: blocks of batches, and the footer's own pairs.
const AROUND: u64 = 64 << 20;

/// Refuses a schema that no message can hold.
pub(super) fn check_schema(schema: &Schema) -> Result<(), DataError> {
    check(schema, u64::from(i32::MAX.unsigned_abs()) - AROUND)
}

fn check(schema: &Schema, limit: u64) -> Result<(), DataError> {
    let fields: u64 = schema.fields().iter().map(|field| size_of(field)).sum();
    let found = fields + pairs(schema.metadata());
    if found <= limit {
        return Ok(());
    }
    Err(DataError::TooLarge {
        what: "the schema of one table",
        found,
        limit,
    })
}

/// Bytes that a field takes in a flatbuffer, at most.
fn size_of(field: &Field) -> u64 {
    FIELD + text(field.name()) + pairs(field.metadata()) + below(field.data_type())
}

fn below(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Timestamp(_, Some(zone)) => text(zone),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => size_of(item),
        DataType::Struct(fields) => fields.iter().map(|field| size_of(field)).sum(),
        // Each has a type id too.
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| 8 + size_of(field)).sum(),
        DataType::RunEndEncoded(ends, values) => size_of(ends) + size_of(values),
        DataType::Dictionary(_, values) => FIELD + below(values),
        _ => 0,
    }
}

fn pairs(pairs: &HashMap<String, String>) -> u64 {
    let pairs = pairs.iter().map(|(key, value)| text(key) + text(value));
    pairs.map(|size| 32 + size).sum()
}

/// A text with its length, its end and what aligns it.
fn text(text: &str) -> u64 {
    12 + text.len() as u64
}

#[cfg(test)]
mod tests {
    use super::super::message;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_is_counted_is_no_less_than_what_it_takes() {
        let item = Arc::new(Field::new("item", DataType::Int8, true));
        let kept = HashMap::from([("k".into(), "v".repeat(100))]);
        let named = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        for data_type in [
            DataType::Null,
            DataType::Utf8View,
            DataType::Decimal128(3, 1),
            DataType::Timestamp(arrow_schema::TimeUnit::Second, Some("Europe/Berlin".into())),
            DataType::FixedSizeList(item.clone(), 3),
            DataType::Struct(vec![item.clone(), item.clone()].into()),
            DataType::RunEndEncoded(item.clone(), item.clone()),
            DataType::List(Arc::new(Field::new("item", named.clone(), true))),
            named,
        ] {
            let field = |i| {
                let field = Field::new(format!("column {i}"), data_type.clone(), true);
                field.with_metadata(kept.clone())
            };
            let fields: Vec<Field> = (0..100).map(field).collect();
            let schema = Schema::new_with_metadata(fields, kept.clone());
            let taken = message::schema_message(&schema).len() as u64;
            assert!(check(&schema, taken - 1).is_err(), "{data_type}: {taken}");
            assert!(check(&schema, taken * 4).is_ok(), "{data_type}: {taken}");
            assert!(check_schema(&schema).is_ok());
        }
    }
}
