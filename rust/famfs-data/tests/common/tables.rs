//! Random tables of every type that has a place in a file: chunked, sliced, with nulls. The tests
//! publish them, and the fuzzer begins with some.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each user takes some of it"
)]
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "small numbers, made up"
)]

use arrow_array::builder::*;
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::*;
use std::sync::Arc;

pub struct Rng(pub u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn text(&mut self) -> String {
        let len = [0, 3, 12, 13, 40][self.below(5)];
        (0..len)
            .map(|_| ['a', 'z', '\u{e9}', '0'][self.below(4)])
            .collect()
    }

    fn nulls(&mut self, len: usize) -> Option<NullBuffer> {
        let some = self.below(3);
        (some > 0).then(|| (0..len).map(|_| self.below(4) >= some).collect())
    }
}

pub fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, true))
}

pub fn types() -> Vec<DataType> {
    let entries = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Int32, true),
    ]);
    let two = vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
    ];
    let both = || UnionFields::try_new([3, 7], two.clone()).unwrap();
    let dictionary = |key, value| DataType::Dictionary(Box::new(key), Box::new(value));
    let runs = |ends, values| {
        let ends = Arc::new(Field::new("run_ends", ends, false));
        DataType::RunEndEncoded(ends, Arc::new(Field::new("values", values, true)))
    };
    vec![
        DataType::Null,
        DataType::Boolean,
        DataType::Int8,
        DataType::Int64,
        DataType::Float64,
        DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Berlin".into())),
        DataType::Decimal128(20, 3),
        DataType::FixedSizeBinary(5),
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::List(item(DataType::Utf8)),
        DataType::LargeList(item(DataType::List(item(DataType::Boolean)))),
        DataType::ListView(item(DataType::Int64)),
        DataType::LargeListView(item(DataType::Utf8View)),
        DataType::FixedSizeList(item(DataType::Int8), 3),
        DataType::FixedSizeList(item(DataType::Utf8), 0),
        DataType::Struct(two.clone().into()),
        DataType::Map(
            Arc::new(Field::new("entries", DataType::Struct(entries), false)),
            false,
        ),
        DataType::Union(both(), UnionMode::Sparse),
        DataType::Union(both(), UnionMode::Dense),
        runs(DataType::Int16, DataType::Utf8),
        runs(DataType::Int32, dictionary(DataType::Int8, DataType::Utf8)),
        dictionary(DataType::Int8, DataType::Utf8),
        dictionary(DataType::UInt16, DataType::List(item(DataType::Int64))),
        DataType::List(item(dictionary(DataType::Int32, DataType::Utf8))),
        DataType::Struct(
            vec![Field::new(
                "d",
                dictionary(DataType::Int32, DataType::LargeUtf8),
                true,
            )]
            .into(),
        ),
    ]
}

pub fn array(rng: &mut Rng, data_type: &DataType, len: usize) -> ArrayRef {
    // Part of something larger, as often as not.
    let (before, after) = [(0, 0), (1, 0), (8, 3), (11, 70)][rng.below(4)];
    made(rng, data_type, before + len + after).slice(before, len)
}

fn offsets<O: OffsetSizeTrait>(rng: &mut Rng, len: usize) -> (OffsetBuffer<O>, usize) {
    let offsets: OffsetBuffer<O> = OffsetBuffer::from_lengths((0..len).map(|_| rng.below(4)));
    let end = offsets.last().unwrap().as_usize();
    (offsets, end + rng.below(3))
}

fn made(rng: &mut Rng, data_type: &DataType, len: usize) -> ArrayRef {
    let nulls = rng.nulls(len);
    let texts: Vec<Option<String>> = (0..len)
        .map(|i| {
            nulls
                .as_ref()
                .is_none_or(|n| n.is_valid(i))
                .then(|| rng.text())
        })
        .collect();
    let ints: Vec<i64> = (0..len).map(|_| rng.next() as i64 >> 8).collect();
    match data_type {
        DataType::Null => Arc::new(NullArray::new(len)),
        DataType::Boolean => {
            let bits = ints.iter().map(|i| i % 2 == 0).collect();
            Arc::new(BooleanArray::new(bits, nulls))
        }
        DataType::Int8 => {
            let values: Vec<i8> = ints.iter().map(|i| *i as i8).collect();
            Arc::new(Int8Array::new(values.into(), nulls))
        }
        DataType::Int32 => {
            let values: Vec<i32> = ints.iter().map(|i| *i as i32).collect();
            Arc::new(Int32Array::new(values.into(), nulls))
        }
        DataType::Int64 => Arc::new(Int64Array::new(ints.into(), nulls)),
        DataType::Float64 => {
            let values: Vec<f64> = ints.iter().map(|i| *i as f64 / 3.0).collect();
            Arc::new(Float64Array::new(values.into(), nulls))
        }
        DataType::Timestamp(_, zone) => Arc::new(
            TimestampNanosecondArray::new(ints.into(), nulls).with_timezone_opt(zone.clone()),
        ),
        DataType::Decimal128(precision, scale) => {
            let values: Vec<i128> = ints.iter().map(|i| i128::from(*i)).collect();
            let array = Decimal128Array::new(values.into(), nulls);
            Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::FixedSizeBinary(width) => {
            let bytes: Vec<u8> = (0..len * *width as usize).map(|i| i as u8).collect();
            Arc::new(FixedSizeBinaryArray::new(*width, bytes.into(), nulls))
        }
        DataType::Utf8 => Arc::new(StringArray::from(texts)),
        DataType::LargeUtf8 => Arc::new(LargeStringArray::from(texts)),
        DataType::Utf8View => {
            let mut builder = StringViewBuilder::new().with_fixed_block_size(64);
            texts
                .iter()
                .for_each(|text| builder.append_option(text.as_ref()));
            Arc::new(builder.finish())
        }
        DataType::List(field) => {
            let (offsets, end) = offsets::<i32>(rng, len);
            let values = array(rng, field.data_type(), end);
            Arc::new(ListArray::new(field.clone(), offsets, values, nulls))
        }
        DataType::LargeList(field) => {
            let (offsets, end) = offsets::<i64>(rng, len);
            let values = array(rng, field.data_type(), end);
            Arc::new(LargeListArray::new(field.clone(), offsets, values, nulls))
        }
        DataType::ListView(field) => list_view::<i32>(rng, field, len, nulls),
        DataType::LargeListView(field) => list_view::<i64>(rng, field, len, nulls),
        DataType::FixedSizeList(field, size) => {
            let values = array(rng, field.data_type(), len * *size as usize);
            let list =
                FixedSizeListArray::try_new_with_length(field.clone(), *size, values, nulls, len);
            Arc::new(list.unwrap())
        }
        DataType::Struct(fields) => {
            let columns = fields
                .iter()
                .map(|f| array(rng, f.data_type(), len))
                .collect();
            Arc::new(StructArray::new(fields.clone(), columns, nulls))
        }
        DataType::Map(field, sorted) => {
            let DataType::Struct(fields) = field.data_type() else {
                unreachable!()
            };
            let (offsets, end) = offsets::<i32>(rng, len);
            let keys: StringArray = (0..end).map(|_| Some(rng.text())).collect();
            let values = array(rng, fields[1].data_type(), end);
            let entries = StructArray::new(fields.clone(), vec![Arc::new(keys), values], None);
            Arc::new(MapArray::new(
                field.clone(),
                offsets,
                entries,
                nulls,
                *sorted,
            ))
        }
        DataType::Union(fields, mode) => {
            let ids: Vec<i8> = (0..len).map(|_| [3, 7][rng.below(2)]).collect();
            let dense = *mode == UnionMode::Dense;
            let size = if dense { len + 1 } else { len };
            let children = fields
                .iter()
                .map(|(_, f)| array(rng, f.data_type(), size))
                .collect();
            let offsets = dense.then(|| (0..len).map(|_| rng.below(size) as i32).collect());
            Arc::new(UnionArray::try_new(fields.clone(), ids.into(), offsets, children).unwrap())
        }
        DataType::RunEndEncoded(ends, values) => {
            let mut stops = Vec::new();
            while stops.last().copied().unwrap_or(0) < len {
                let last = stops.last().copied().unwrap_or(0);
                stops.push((last + 1 + rng.below(4)).min(len));
            }
            let values = array(rng, values.data_type(), stops.len());
            let stops = stops.into_iter();
            if *ends.data_type() == DataType::Int16 {
                let stops: Int16Array = stops.map(|stop| stop as i16).collect();
                Arc::new(RunArray::try_new(&stops, &values).unwrap())
            } else {
                let stops: Int32Array = stops.map(|stop| stop as i32).collect();
                Arc::new(RunArray::try_new(&stops, &values).unwrap())
            }
        }
        DataType::Dictionary(key, values) => {
            let count = 1 + rng.below(9);
            let values = array(rng, values, count);
            let keys = (0..len).map(|_| rng.below(count));
            match **key {
                DataType::Int8 => {
                    let keys: Vec<i8> = keys.map(|key| key as i8).collect();
                    let keys = Int8Array::new(keys.into(), nulls);
                    Arc::new(DictionaryArray::new(keys, values))
                }
                DataType::UInt16 => {
                    let keys: Vec<u16> = keys.map(|key| key as u16).collect();
                    let keys = UInt16Array::new(keys.into(), nulls);
                    Arc::new(DictionaryArray::new(keys, values))
                }
                _ => {
                    let keys: Vec<i32> = keys.map(|key| key as i32).collect();
                    let keys = Int32Array::new(keys.into(), nulls);
                    Arc::new(DictionaryArray::new(keys, values))
                }
            }
        }
        other => unreachable!("{other}"),
    }
}

fn list_view<O: OffsetSizeTrait>(
    rng: &mut Rng,
    field: &Arc<Field>,
    len: usize,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let size = 3 + rng.below(len + 1);
    let values = array(rng, field.data_type(), size);
    let sizes: Vec<usize> = (0..len).map(|_| rng.below(3)).collect();
    let starts: Vec<O> = sizes
        .iter()
        .map(|s| O::usize_as(rng.below(size - s)))
        .collect();
    let sizes: Vec<O> = sizes.into_iter().map(O::usize_as).collect();
    let (starts, sizes) = (ScalarBuffer::from(starts), ScalarBuffer::from(sizes));
    Arc::new(GenericListViewArray::new(
        field.clone(),
        starts,
        sizes,
        values,
        nulls,
    ))
}

pub fn table(rng: &mut Rng, types: &[DataType], lens: &[usize]) -> (SchemaRef, Vec<RecordBatch>) {
    let field = |(i, t): (usize, &DataType)| Field::new(format!("c{i}"), t.clone(), true);
    let fields: Vec<Field> = types.iter().enumerate().map(field).collect();
    let schema = Arc::new(Schema::new(fields));
    let batches = lens.iter().map(|len| {
        let columns = types
            .iter()
            .map(|data_type| array(rng, data_type, *len))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(*len));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options).unwrap()
    });
    let batches = batches.collect();
    (schema, batches)
}
