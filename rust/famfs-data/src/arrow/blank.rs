//! Lays out a table that has no values yet, for them to be written where they stay.
//!
//! One record batch, and every buffer's place before anything is known of its values. What depends
//! on them, nulls and the lengths of texts, is a few numbers of fixed width in the message before
//! the batch: that is made last, by the same builders as a published table's, and fits where it was
//! planned.

use std::collections::HashMap;

use super::batch::{check_rows, locate};
use super::body::{Alignment, Body, PAGES_FROM, signed};
use super::index;
use super::layout::PlanOptions;
use super::limit::check_schema;
use super::message::{self, CONTINUATION, HEAD, MAGIC};
use crate::error::DataError;
use arrow_ipc::{Block, Buffer};
use arrow_schema::{DataType, Field, Schema};

/// Where buffers start, and messages.
const ALIGNED: Alignment = Alignment {
    base: 64,
    pages_from: PAGES_FROM,
};

const HINT: &str = "numbers, dates and times, decimals, fixed-size binary, fixed-size lists of \
                    these, booleans, strings and binary can be; publish a table that has the others";

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// So many bytes for each row.
    Fixed(u64),
    /// A bit for each row.
    Bits,
    /// Offsets of so many bytes, one more than rows, and the bytes that they lead into.
    Bytes(u64),
}

/// Where a buffer lies in the file, and how long it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Where it begins.
    pub at: u64,
    /// How long it is at most.
    pub len: u64,
}

/// A column of a table that is built in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub values: Values,
    /// Where its nulls are said, a bit for each row: 1 where there is a value.
    pub validity: Option<Room>,
    /// Where its values are; for [`Values::Bytes`] the offsets.
    pub data: Room,
    /// Where the bytes are that offsets lead into.
    pub bytes: Room,
    /// Rows of the list in each of its own, where it is one.
    items: Option<u64>,
}

impl Column {
    /// All buffers, in their order.
    fn rooms(&self) -> impl Iterator<Item = Room> {
        self.validity.into_iter().chain([self.data, self.bytes])
    }
}

/// What is known of a column when it is filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// How many of its rows are null.
    pub nulls: u64,
    /// How many of its bytes are used, of [`Values::Bytes`].
    pub used: u64,
}

/// A table without values, laid out.
#[derive(Clone, Debug)]
pub struct Blank {
    schema: Schema,
    rows: u64,
    columns: Vec<Column>,
    /// Where the batch's message begins, and its body.
    batch_at: u64,
    body_at: u64,
    body_len: u64,
    size: u64,
}

impl Blank {
    /// Lays out a table of `rows` rows. `sizes` says how many bytes a column of strings or binary
    /// has room for.
    ///
    /// # Errors
    /// [`DataError::Unsupported`] for a column whose buffers' sizes can't be told from these, and
    /// for two of one name; [`DataError::TooLarge`].
    pub fn new(
        schema: &Schema,
        rows: u64,
        sizes: &HashMap<String, u64>,
    ) -> Result<Self, DataError> {
        check_schema(schema)?;
        let mut columns: Vec<Column> = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            if columns.iter().any(|column| column.name == *field.name()) {
                return Err(DataError::unsupported(
                    format!("a table with two columns of the name {:?}", field.name()),
                    "give one of them another name",
                ));
            }
            columns.push(column(field, rows, sizes.get(field.name()).copied())?);
        }
        for name in sizes.keys() {
            let found = columns.iter().find(|column| column.name == *name);
            if !found.is_some_and(|column| matches!(column.values, Values::Bytes(_))) {
                return Err(DataError::unsupported(
                    format!("a size for {name:?}"),
                    "only columns of strings and binary have one",
                ));
            }
        }
        let mut blank = Self {
            schema: schema.clone(),
            rows,
            columns,
            batch_at: 0,
            body_at: 0,
            body_len: 0,
            size: 0,
        };
        blank.batch_at = blank.head()?.len() as u64;
        // Its length does not depend on where the body is, or on what is in it.
        blank.body_at = blank.batch_at + blank.batch(&blank.unfilled())?.len() as u64;
        blank.body_len = blank.place()?;
        check_rows(rows, blank.body_len)?;
        blank.size = blank
            .footer_at()
            .checked_add(blank.tail(&blank.unfilled())?.len() as u64)
            .filter(|size| i64::try_from(*size).is_ok())
            .ok_or_else(|| too_large(rows))?;
        Ok(blank)
    }

    /// The file's exact size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The columns, in the schema's order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The bytes around the values, with their places: one [`Filled`] for each column.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] where there are others than columns, or more is filled than there
    /// is room.
    pub fn finish(&self, filled: &[Filled]) -> Result<Vec<(u64, Vec<u8>)>, DataError> {
        if filled.len() != self.columns.len() {
            return Err(DataError::OutOfRange {
                what: "column",
                index: filled.len(),
                count: self.columns.len(),
            });
        }
        for (column, filled) in self.columns.iter().zip(filled) {
            let nulls = if column.validity.is_some() {
                self.rows
            } else {
                0
            };
            if filled.nulls > nulls || filled.used > column.bytes.len {
                return Err(DataError::TooLarge {
                    what: "a column",
                    found: filled.nulls.max(filled.used),
                    limit: nulls.max(column.bytes.len),
                });
            }
        }
        Ok(vec![
            (0, self.head()?),
            (self.batch_at, self.batch(filled)?),
            (self.footer_at(), self.tail(filled)?),
        ])
    }

    fn footer_at(&self) -> u64 {
        self.body_at.saturating_add(self.body_len)
    }

    fn unfilled(&self) -> Vec<Filled> {
        vec![Filled::default(); self.columns.len()]
    }

    fn head(&self) -> Result<Vec<u8>, DataError> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&[0; 2]);
        let schema = message::schema_message(&self.schema);
        head.extend(message::frame(&schema, HEAD, ALIGNED.base)?);
        Ok(head)
    }

    fn batch(&self, filled: &[Filled]) -> Result<Vec<u8>, DataError> {
        message::frame(&self.message(filled)?, self.batch_at, self.alignment())
    }

    fn message(&self, filled: &[Filled]) -> Result<Vec<u8>, DataError> {
        let body = self.body(filled);
        let rows = usize::try_from(self.rows).map_err(|_| too_large(self.rows))?;
        Ok(message::batch_message(&body, rows, None))
    }

    fn tail(&self, filled: &[Filled]) -> Result<Vec<u8>, DataError> {
        let header_len = self.body_at - self.batch_at;
        let block = Block::new(
            signed(self.batch_at),
            i32::try_from(header_len).unwrap_or(i32::MAX),
            signed(self.body_len),
        );
        let mut tail = CONTINUATION.to_vec();
        tail.extend_from_slice(&[0; 4]);
        // As of a table that is published: one of many columns is found as fast.
        if self.schema.fields().len() + 1 >= PlanOptions::default().index_from {
            let body = self.body_at..self.footer_at();
            let place = locate(&self.message(filled)?, self.batch_at + 8, body)?;
            let at = self.footer_at().saturating_add(tail.len() as u64);
            tail.extend(index::encode(at, &self.schema, &[place])?);
        }
        let footer = message::footer(&self.schema, &[], &[block], &HashMap::new())?;
        tail.extend(footer);
        Ok(tail)
    }

    /// What the body is aligned to, for its buffers to be.
    fn alignment(&self) -> u64 {
        let rooms = self.columns.iter().flat_map(Column::rooms);
        rooms
            .map(|room| ALIGNED.of(room.len))
            .max()
            .unwrap_or(ALIGNED.base)
    }

    /// Gives every buffer its place; the length of all of them.
    fn place(&mut self) -> Result<u64, DataError> {
        let (rows, body_at) = (self.rows, self.body_at);
        let mut at = body_at;
        let mut put = |place: &mut Room| {
            let aligned = |at: u64, to| {
                let at = at.checked_next_multiple_of(to);
                at.ok_or_else(|| too_large(rows))
            };
            place.at = aligned(at, ALIGNED.of(place.len))?;
            let end = place.at.checked_add(place.len);
            at = aligned(end.ok_or_else(|| too_large(rows))?, ALIGNED.base)?;
            Ok::<_, DataError>(())
        };
        for column in &mut self.columns {
            if let Some(validity) = &mut column.validity {
                put(validity)?;
            }
            put(&mut column.data)?;
            put(&mut column.bytes)?;
        }
        Ok(at - body_at)
    }

    /// What the batch's message says of nodes and buffers.
    fn body(&self, filled: &[Filled]) -> Body {
        let mut body = Body::new(ALIGNED);
        body.len = self.body_len;
        let buffer = |place: Room, len: u64| {
            let at = place.at.saturating_sub(self.body_at);
            Buffer::new(signed(at), signed(len))
        };
        for (column, filled) in self.columns.iter().zip(filled) {
            let node =
                |rows: u64, nulls: u64| arrow_ipc::FieldNode::new(signed(rows), signed(nulls));
            body.nodes.push(node(self.rows, filled.nulls));
            // Without nulls there is no bitmap: its place stays empty.
            let validity = column.validity.filter(|_| filled.nulls > 0);
            let nothing = buffer(column.data, 0);
            body.buffers
                .push(validity.map_or(nothing, |place| buffer(place, place.len)));
            if let Some(items) = column.items {
                body.nodes.push(node(self.rows.saturating_mul(items), 0));
                body.buffers.push(nothing);
            }
            body.buffers.push(buffer(column.data, column.data.len));
            if matches!(column.values, Values::Bytes(_)) {
                body.buffers.push(buffer(column.bytes, filled.used));
            }
        }
        body
    }
}

fn too_large(rows: u64) -> DataError {
    let why = "its columns would take more bytes than a file can have (2^63 - 1)";
    DataError::unsupported(format!("a table of {rows} rows"), why)
}

fn column(field: &Field, rows: u64, size: Option<u64>) -> Result<Column, DataError> {
    let refused = || {
        let (name, data_type) = (field.name(), field.data_type());
        let what = format!("building column {name:?} of type {data_type} in place");
        DataError::unsupported(what, HINT)
    };
    let (values, items) = match field.data_type() {
        DataType::FixedSizeList(item, len) => {
            let len = u64::try_from(*len).map_err(|_| refused())?;
            let width = width(item.data_type()).ok_or_else(refused)?;
            let all = width.checked_mul(len).ok_or_else(|| too_large(rows))?;
            (Values::Fixed(all), Some(len))
        }
        DataType::Boolean => (Values::Bits, None),
        DataType::Utf8 | DataType::Binary => (Values::Bytes(4), None),
        DataType::LargeUtf8 | DataType::LargeBinary => (Values::Bytes(8), None),
        other => (Values::Fixed(width(other).ok_or_else(refused)?), None),
    };
    let of = |len: Option<u64>| {
        let len = len.ok_or_else(|| too_large(rows))?;
        Ok::<_, DataError>(Room { at: 0, len })
    };
    let (data, bytes) = match values {
        Values::Fixed(width) => (of(rows.checked_mul(width))?, Room::default()),
        Values::Bits => (of(Some(rows.div_ceil(8)))?, Room::default()),
        Values::Bytes(width) => {
            let size = size.ok_or_else(|| {
                DataError::unsupported(
                    format!("building column {:?} without its size", field.name()),
                    "say how many bytes its values take in all: sizes={name: bytes}",
                )
            })?;
            if width == 4 && i32::try_from(size).is_err() {
                return Err(DataError::TooLarge {
                    what: "the values of one record batch",
                    found: size,
                    limit: i32::MAX.unsigned_abs().into(),
                });
            }
            let offsets = rows.checked_add(1).and_then(|n| n.checked_mul(width));
            (of(offsets)?, of(Some(size))?)
        }
    };
    let validity = field.is_nullable().then(|| Room {
        at: 0,
        len: rows.div_ceil(8),
    });
    Ok(Column {
        name: field.name().clone(),
        values,
        validity,
        data,
        bytes,
        items,
    })
}

/// Bytes of each value, of types whose values are as wide.
fn width(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::FixedSizeBinary(width) => u64::try_from(*width).ok(),
        other => other.primitive_width().map(|width| width as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn schema() -> Schema {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        Schema::new(vec![
            Field::new("a", DataType::Int64, false),
            Field::new("b", DataType::Float32, true),
            Field::new("flag", DataType::Boolean, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("v", DataType::FixedSizeList(item, 3), true),
        ])
    }

    fn sizes() -> HashMap<String, u64> {
        HashMap::from([("s".into(), 100)])
    }

    #[test]
    fn places_are_aligned_apart_and_before_the_footer() {
        for rows in [0, 1, 7, 1000, 1 << 20] {
            let blank = Blank::new(&schema(), rows, &sizes()).unwrap();
            let mut end = blank.body_at;
            for place in blank.columns().iter().flat_map(Column::rooms) {
                assert!(place.at >= end && place.at.is_multiple_of(ALIGNED.of(place.len)));
                end = place.at + place.len;
            }
            assert!(end <= blank.footer_at());
        }
    }

    #[test]
    fn what_is_said_last_fits_where_it_was_planned() {
        let blank = Blank::new(&schema(), 1000, &sizes()).unwrap();
        let filled = Filled {
            nulls: 1000,
            used: 0,
        };
        let mut all = vec![filled; 5];
        all[0].nulls = 0;
        all[3].used = 100;
        for filled in [vec![Filled::default(); 5], all] {
            let parts = blank.finish(&filled).unwrap();
            let ends: Vec<_> = parts.iter().map(|(at, b)| at + b.len() as u64).collect();
            assert_eq!(ends, [blank.batch_at, blank.body_at, blank.size()]);
        }
    }

    #[test]
    fn a_wide_table_has_an_index_that_says_what_its_footer_does() {
        let field = |i| Field::new(format!("c{i}"), DataType::Int16, true);
        let mut fields: Vec<Field> = (0..300).map(field).collect();
        fields.push(Field::new("s", DataType::Utf8, true));
        let blank = Blank::new(&Schema::new(fields), 9, &sizes()).unwrap();
        let mut filled = vec![Filled { nulls: 9, used: 0 }; 301];
        filled[7].nulls = 0;
        let mut file = vec![0; usize::try_from(blank.size()).unwrap()];
        for (at, bytes) in blank.finish(&filled).unwrap() {
            let at = usize::try_from(at).unwrap();
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        assert!(file.windows(8).any(|bytes| bytes == b"FAMFSIX1"));
        let opened = super::super::ArrowMetadata::open(Arc::new(file)).unwrap();
        assert_eq!(opened.find_columns("c299").unwrap(), [299]);
        assert_eq!(opened.field(300).unwrap().name(), "s");
        assert!(!opened.has_footer(), "the index was enough");
        opened.check().unwrap();
        assert_eq!(opened.num_rows().unwrap(), 9);
    }

    #[test]
    fn more_than_there_is_room_for_is_refused() {
        let blank = Blank::new(&schema(), 10, &sizes()).unwrap();
        let mut filled = vec![Filled::default(); 5];
        assert!(blank.finish(&filled[1..]).is_err());
        filled[0].nulls = 1;
        assert!(blank.finish(&filled).is_err());
        filled[0].nulls = 0;
        filled[3].used = 101;
        assert!(blank.finish(&filled).is_err());
    }

    #[test]
    fn what_cannot_be_laid_out_is_named() {
        let refused = |fields: Vec<Field>, rows, sizes: &[(&str, u64)]| {
            let sizes = sizes.iter().map(|(name, size)| ((*name).into(), *size));
            let blank = Blank::new(&Schema::new(fields), rows, &sizes.collect());
            blank.unwrap_err().to_string()
        };
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let list = Field::new("nested", DataType::List(item), true);
        assert!(refused(vec![list], 1, &[]).contains("\"nested\" of type List"));
        let text = Field::new("s", DataType::Utf8, true);
        assert!(refused(vec![text.clone()], 1, &[]).contains("sizes="));
        assert!(refused(vec![text.clone()], 1, &[("s", 1 << 31)]).contains("2147483648"));
        assert!(refused(vec![text.clone(), text.clone()], 1, &[]).contains("sizes="));
        assert!(refused(vec![text.clone(), text], 1, &[("s", 1)]).contains("two columns"));
        let number = Field::new("a", DataType::Int64, true);
        assert!(refused(vec![number.clone()], 1, &[("a", 1)]).contains("a size for \"a\""));
        for rows in [u64::MAX, u64::MAX / 8, i64::MAX.unsigned_abs()] {
            assert!(refused(vec![number.clone()], rows, &[]).contains("more bytes than a file"));
        }
    }
}
