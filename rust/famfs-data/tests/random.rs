//! Random tables: chunked, sliced, with nulls, of every type.
#![allow(missing_docs, reason = "a test")]
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "small numbers, made up"
)]

mod common;

use arrow_array::builder::*;
use arrow_array::cast::AsArray;
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::*;
use famfs_data::DataError;
use famfs_data::arrow::{ArrowPlan, ArrowStream, PlanOptions};
use proptest::prelude::*;
use std::sync::Arc;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
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

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, true))
}

fn types() -> Vec<DataType> {
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

fn array(rng: &mut Rng, data_type: &DataType, len: usize) -> ArrayRef {
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

fn table(rng: &mut Rng, types: &[DataType], lens: &[usize]) -> (SchemaRef, Vec<RecordBatch>) {
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

proptest! {
    #[test]
    fn any_table_survives(
        seed: u64,
        picks in prop::collection::vec(0..types().len(), 0..4),
        lens in prop::collection::vec(0_usize..40, 0..5),
        rows in prop::option::of(1_usize..30),
    ) {
        let all = types();
        let types: Vec<DataType> = picks.iter().map(|pick| all[*pick].clone()).collect();
        let (schema, batches) = table(&mut Rng(seed), &types, &lens);
        let options = PlanOptions { batch_rows: rows, ..PlanOptions::default() };
        common::round_trip(&format!("{types:?}"), &schema, &batches, &options);
    }
}

#[test]
fn every_type_survives() {
    for seed in 0..20 {
        for data_type in types() {
            let name = format!("{data_type} {seed}");
            for lens in [&[9][..], &[0], &[17, 0, 8], &[64, 64, 3]] {
                let (schema, batches) =
                    table(&mut Rng(seed), std::slice::from_ref(&data_type), lens);
                common::round_trip(&name, &schema, &batches, &PlanOptions::default());
            }
        }
    }
}

fn one(name: &str, array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([(name, array)]).unwrap()
}

#[test]
fn values_are_borrowed() {
    let ints: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1 << 17));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..1 << 12).map(|i| i.to_string()),
    ));
    let batch = RecordBatch::try_from_iter([("i", ints.slice(0, 1 << 12)), ("t", texts)]).unwrap();
    let options = PlanOptions::default();
    let plan = ArrowPlan::new(&batch.schema(), std::slice::from_ref(&batch), &options).unwrap();
    assert_eq!(plan.bytes_owned(), 0, "one chunk is borrowed whole");
    assert!(plan.size() < 100_000, "a slice leaves its parent behind");
    let twice = [batch.clone(), batch.clone()];
    let plan = ArrowPlan::new(&batch.schema(), &twice, &options).unwrap();
    assert_eq!(
        plan.bytes_owned(),
        4 << 12,
        "the second chunk's offsets are moved"
    );
    assert_eq!((plan.num_batches(), plan.num_rows()), (1, 2 << 12));
}

#[test]
fn batches_split_where_a_type_counts_no_further() {
    let ends = Int16Array::from(vec![20_000]);
    let runs: ArrayRef = Arc::new(RunArray::try_new(&ends, &Int8Array::from(vec![1])).unwrap());
    let batch = one("r", runs);
    let batches = vec![batch.clone(), batch.clone(), batch.clone()];
    let file = common::write(&batch.schema(), &batches, &PlanOptions::default());
    let opened = common::open(&common::aligned(&file)).unwrap();
    assert_eq!(
        (
            opened.metadata().num_batches().unwrap(),
            opened.metadata().num_rows().unwrap()
        ),
        (3, 60_000)
    );
}

fn words(from: usize, count: usize) -> RecordBatch {
    let values: StringArray = (from..from + count)
        .map(|i| Some(format!("w{i}")))
        .collect();
    let keys: Int8Array = (0..count).map(|i| Some(i as i8)).collect();
    one("d", Arc::new(DictionaryArray::new(keys, Arc::new(values))))
}

#[test]
fn dictionaries_become_one() {
    let batches = [words(0, 50), words(25, 50)];
    let schema = batches[0].schema();
    let file = common::round_trip("words", &schema, &batches, &PlanOptions::default());
    let opened = common::open(&common::aligned(&file)).unwrap();
    let column = opened.column(0, 0).unwrap();
    assert_eq!(
        column.as_any_dictionary().values().len(),
        75,
        "each value once"
    );
    assert!(
        Arc::ptr_eq(&column, &opened.column(0, 0).unwrap()),
        "checked once, then kept"
    );

    // A dictionary that grows is the longest of them, and no index moves.
    let growing = [words(0, 10), words(0, 50)];
    let plan = ArrowPlan::new(&schema, &growing, &PlanOptions::default()).unwrap();
    assert_eq!(plan.bytes_owned(), 0);

    let many = [words(0, 100), words(100, 100)];
    let error = ArrowPlan::new(&schema, &many, &PlanOptions::default()).unwrap_err();
    assert!(
        matches!(error, DataError::DictionaryTooLarge { values: 200, .. }),
        "{error}"
    );
}

#[test]
fn a_dictionary_that_grows_keeps_what_was_written_with_it() {
    // One that holds a value twice, one that begins the next, one that is longer, one without
    // anything in common, and an empty one.
    let of = |values: &[&str], keys: &[i8]| {
        let values: StringArray = values.iter().map(|v| Some(*v)).collect();
        let keys = Int8Array::from(keys.to_vec());
        one("d", Arc::new(DictionaryArray::new(keys, Arc::new(values))))
    };
    let batches = [
        of(&["b", "a", "b"], &[0, 1, 2]),
        of(&["b"], &[0, 0]),
        of(&["b", "a", "b", "c"], &[3, 2]),
        of(&["x", "c", "a"], &[0, 1, 2]),
        of(&[], &[]),
    ];
    let schema = batches[0].schema();
    let file = common::stream(&schema, &batches, &PlanOptions::default());
    let opened = common::open(&common::aligned(&file)).unwrap();
    let column = opened.column(0, 0).unwrap();
    let values = column.as_any_dictionary().values().as_string::<i32>();
    let values: Vec<_> = values.iter().flatten().collect();
    assert_eq!(values, ["b", "a", "b", "c", "x"]);
    let mut found = Vec::new();
    for batch in 0..4 {
        let column = opened.column(batch, 0).unwrap();
        let plain = arrow_cast::cast(&column, &DataType::Utf8).unwrap();
        found.extend(plain.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    assert_eq!(found, ["b", "a", "b", "b", "b", "c", "b", "x", "c", "a"]);

    let mut stream = ArrowStream::new(&schema, PlanOptions::default()).unwrap();
    stream.add(&[words(0, 100)]).unwrap();
    let error = stream.add(&[words(100, 100)]).unwrap_err();
    assert!(
        matches!(error, DataError::DictionaryTooLarge { values: 200, .. }),
        "{error}"
    );
}

#[test]
fn pages_cost_little() {
    // The worst: each batch has one large buffer, just large enough.
    for (columns, rows) in [(1, 1 << 15), (64, 1 << 15), (3, 100_000)] {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![7; rows]));
        let fields = (0..columns).map(|i| (format!("c{i}"), array.clone()));
        let batch = RecordBatch::try_from_iter(fields).unwrap();
        let batches = vec![batch.clone(); 64];
        let options = PlanOptions {
            batch_rows: Some(rows),
            ..PlanOptions::default()
        };
        let plan = ArrowPlan::new(&batch.schema(), &batches, &options).unwrap();
        let data = (columns * rows * 8 * 64) as u64;
        assert!(data >= 16 << 20);
        let over = plan.size() - data;
        assert!(over * 20 <= data, "{over} bytes over {data}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let batch = words(0, 3);
    let plan = |options: &PlanOptions| {
        ArrowPlan::new(&batch.schema(), std::slice::from_ref(&batch), options)
    };
    assert!(
        plan(&PlanOptions {
            alignment: 48,
            ..PlanOptions::default()
        })
        .is_err()
    );
    assert!(
        plan(&PlanOptions {
            alignment: 8,
            ..PlanOptions::default()
        })
        .is_err()
    );
    assert!(
        plan(&PlanOptions {
            batch_rows: Some(0),
            ..PlanOptions::default()
        })
        .is_err()
    );
    let other = one("d", Arc::new(Int8Array::from(vec![1])));
    let error = ArrowPlan::new(&batch.schema(), &[other], &PlanOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::SchemaMismatch { batch: 0, .. }));
}

#[test]
fn the_footer_keeps_what_it_is_given() {
    let footer = [("famfs.checksum".to_owned(), "00c0ffee".to_owned())].into();
    let options = PlanOptions {
        footer,
        ..PlanOptions::default()
    };
    let batch = words(0, 3);
    let file = common::round_trip(
        "footer",
        &batch.schema(),
        std::slice::from_ref(&batch),
        &options,
    );
    let opened = common::open(&common::aligned(&file)).unwrap();
    assert_eq!(
        opened.metadata().key_values().unwrap()["famfs.checksum"],
        "00c0ffee"
    );
}
