//! Random tables survive, whatever they are made of.
#![allow(missing_docs, reason = "a test")]
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "small numbers, made up"
)]

mod common;

use arrow_array::cast::AsArray;
use arrow_array::*;
use arrow_schema::DataType;
use common::tables::{Rng, table, types};
use famfs_data::DataError;
use famfs_data::arrow::{ArrowPlan, ArrowStream, PlanOptions};
use proptest::prelude::*;
use std::sync::Arc;

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
