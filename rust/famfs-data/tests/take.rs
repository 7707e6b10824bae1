//! Rows of any choice, out of tables of every type.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringViewArray};
use arrow_select::concat::concat_batches;
use famfs_data::arrow::{ArrowPlan, PlanOptions};
use famfs_data::{Columns, Dataset, Options, Rows, publish, take};

#[path = "common/tables.rs"]
mod tables;
mod volumes;
use volumes::Mounted;

fn published(mounted: &Mounted, name: &str, batches: &[RecordBatch], rows: usize) -> Dataset {
    let options = PlanOptions {
        batch_rows: Some(rows),
        ..PlanOptions::default()
    };
    let plan = ArrowPlan::new(&batches[0].schema(), batches, &options).unwrap();
    let path = mounted.path(name);
    publish::table(&path, &plan, Options::default(), &mut |_, _| Ok(())).unwrap();
    Dataset::open(&path).unwrap()
}

#[test]
fn rows_of_every_type_are_those_that_were_asked_for() {
    let mounted = Mounted::new();
    let types = tables::types();
    for batch_rows in [5, 1000] {
        let mut rng = tables::Rng(batch_rows as u64);
        let (schema, batches) = tables::table(&mut rng, &types, &[17, 30]);
        let whole = concat_batches(&schema, &batches).unwrap();
        let name = format!("types{batch_rows}");
        let dataset = Arc::new(published(&mounted, &name, &batches, batch_rows));
        let mut wanted: Vec<u64> = (0..60).map(|_| rng.below(47) as u64).collect();
        wanted.extend([46, 0, 0]);
        for rows in [&wanted[..], &[], &[3], &[4, 5, 6]] {
            let taken = take::rows(&schema, std::slice::from_ref(&dataset), rows).unwrap();
            assert_eq!(taken.len(), 1);
            assert_eq!(taken[0].num_rows(), rows.len());
            for (i, column) in taken[0].columns().iter().enumerate() {
                column.to_data().validate_full().unwrap();
                assert_eq!(column.data_type(), schema.field(i).data_type());
                for (at, row) in rows.iter().enumerate() {
                    let row = usize::try_from(*row).unwrap();
                    let expected = whole.column(i).slice(row, 1);
                    let data_type = column.data_type();
                    assert_eq!(&column.slice(at, 1), &expected, "{data_type}, row {row}");
                }
            }
        }
        let error = take::rows(&schema, &[dataset], &[0, 47]).unwrap_err();
        assert!(error.to_string().contains("row 47"), "{error}");
    }
}

#[test]
fn rows_are_counted_over_parts_of_several_datasets() {
    let mounted = Mounted::new();
    let batch = |from: i64| {
        let column: ArrayRef = Arc::new(arrow_array::Int64Array::from_iter_values(from..from + 9));
        RecordBatch::try_from_iter([("a", column.clone()), ("b", column)]).unwrap()
    };
    let first = published(&mounted, "first", &[batch(0)], 4);
    let second = published(&mounted, "second", &[batch(100)], 4);
    let both = [
        first.select_rows(Rows::Range(2..7)).unwrap(),
        first.select_rows(Rows::Range(0..0)).unwrap(),
        second.select_rows(Rows::Range(3..9)).unwrap(),
    ];
    let column = |dataset: &Dataset| dataset.select_columns(Columns::One(1)).unwrap();
    let both: Vec<_> = both.iter().map(|part| Arc::new(column(part))).collect();
    let schema = both[0].schema().unwrap();
    let taken = take::rows(&schema, &both, &[10, 0, 5, 4, 10]).unwrap();
    let expected = arrow_array::Int64Array::from(vec![108, 2, 103, 6, 108]);
    assert_eq!(taken[0].columns(), [Arc::new(expected) as ArrayRef]);
    assert!(take::rows(&schema, &both, &[11]).is_err());
}

#[test]
fn a_few_rows_of_long_texts_hold_no_more_than_those() {
    let mounted = Mounted::new();
    let texts = (0..1000).map(|i| format!("{i:0>200}"));
    let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
    let batch = RecordBatch::try_from_iter([("t", texts)]).unwrap();
    let dataset = Arc::new(published(
        &mounted,
        "texts",
        std::slice::from_ref(&batch),
        300,
    ));
    let taken = take::rows(&batch.schema(), &[dataset], &[999, 1]).unwrap();
    assert!(taken[0].get_array_memory_size() < 10_000);
}
