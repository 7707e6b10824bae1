//! Selections of a published table or array: what they hold, and that it is in place.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use famfs_data::arrow::{ArrowPlan, PlanOptions};
use famfs_data::npy::NpyPlan;
use famfs_data::{Columns, DataError, Dataset, Kind, Options, Rows, publish};
use proptest::prelude::*;

mod volumes;
use volumes::Mounted;

/// Value `r * 1000 + c` in row `r` of column `c`, in batches of `batch_rows`.
fn table(mounted: &Mounted, name: &str, columns: usize, rows: i64, batch_rows: usize) -> Dataset {
    let array = |c: usize| -> ArrayRef {
        let c = i64::try_from(c).unwrap();
        Arc::new(Int64Array::from_iter_values(
            (0..rows).map(|r| r * 1000 + c),
        ))
    };
    let named = (0..columns).map(|c| (format!("c{c}"), array(c)));
    let batch = RecordBatch::try_from_iter(named).unwrap();
    let options = PlanOptions {
        batch_rows: Some(batch_rows),
        ..PlanOptions::default()
    };
    let plan = ArrowPlan::new(&batch.schema(), &[batch], &options).unwrap();
    let path = mounted.path(name);
    publish::table(&path, &plan, Options::default(), &mut |_, _| Ok(())).unwrap();
    Dataset::open(&path).unwrap()
}

/// All values of a table, row by row in each batch, and whether they lie in the file.
fn values(dataset: &Dataset) -> Vec<Vec<i64>> {
    let view = dataset.file().view();
    let place = view.address()..view.address() + view.len();
    let mut rows = Vec::new();
    for part in dataset.parts().unwrap() {
        let batch = dataset.batch(part).unwrap();
        for column in batch.columns() {
            let address = column.to_data().buffers()[0].as_ptr().addr();
            assert!(batch.num_rows() == 0 || place.contains(&address));
        }
        for row in 0..batch.num_rows() {
            let value = |c: &ArrayRef| c.as_primitive::<Int64Type>().value(row);
            rows.push(batch.columns().iter().map(value).collect());
        }
    }
    rows
}

#[test]
fn any_selection_of_a_table_holds_what_slicing_twice_holds() {
    let mounted = Mounted::new();
    // One is read by its footer, the other has an index too.
    let small = table(&mounted, "small", 5, 23, 4);
    let indexed = table(&mounted, "indexed", 70, 23, 4);
    let range = |limit: u64| (0..=limit, 0..=limit).prop_map(|(a, b)| a.min(b)..a.max(b));
    let mut runner = proptest::test_runner::TestRunner::default();
    let strategy = (
        any::<bool>(),
        range(23),
        range(23),
        proptest::collection::vec(0..5_u64, 0..6),
        proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    );
    runner
        .run(&strategy, |(which, first, second, columns, again)| {
            let whole = if which { &small } else { &indexed };
            let one = whole.select_rows(Rows::Range(first.clone())).unwrap();
            let part = one
                .select_columns(Columns::table(columns.iter().copied()))
                .unwrap();
            let len = first.end - first.start;
            let second = second.start.min(len)..second.end.min(len);
            let part = part.select_rows(Rows::Range(second.clone())).unwrap();
            let mut expected_columns: Vec<u64> = columns.clone();
            let mut part = part;
            if !columns.is_empty() {
                let again: Vec<_> = again
                    .iter()
                    .map(|i| i.index(columns.len()) as u64)
                    .collect();
                part = part
                    .select_columns(Columns::table(again.iter().copied()))
                    .unwrap();
                expected_columns = again
                    .iter()
                    .map(|i| columns[usize::try_from(*i).unwrap()])
                    .collect();
            }
            let rows = first.start + second.start..first.start + second.end;
            prop_assert_eq!(part.num_rows().unwrap(), Some(rows.end - rows.start));
            prop_assert_eq!(part.num_columns().unwrap(), expected_columns.len() as u64);
            let value = |r: u64, c: &u64| i64::try_from(r * 1000 + c).unwrap();
            let expected: Vec<Vec<i64>> = rows
                .map(|r| expected_columns.iter().map(|c| value(r, c)).collect())
                .collect();
            let found = values(&part);
            prop_assert_eq!(&found, &expected);
            // By its reference and back it is the same.
            let text = part.reference().to_string();
            let again = Dataset::open_ref(&text.parse().unwrap()).unwrap();
            prop_assert_eq!(again.reference(), part.reference());
            prop_assert_eq!(values(&again), expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn columns_are_found_among_those_selected() {
    let mounted = Mounted::new();
    for columns in [5, 70] {
        let whole = table(&mounted, &format!("t{columns}"), columns, 3, 10);
        assert_eq!(whole.find_columns("c4").unwrap(), [4]);
        assert!(whole.find_columns("c99").unwrap().is_empty());
        let part = whole.select_columns(Columns::table([4, 1])).unwrap();
        assert_eq!(part.find_columns("c1").unwrap(), [1]);
        assert!(part.find_columns("c2").unwrap().is_empty());
        let one = part.select_columns(Columns::One(0)).unwrap();
        assert_eq!(one.kind(), Kind::Column);
        assert_eq!(one.schema().unwrap().field(0).name(), "c4");
        assert_eq!(one.reference().selection().to_string(), "cols=4");
        assert!(matches!(
            part.select_columns(Columns::One(2)),
            Err(DataError::File { .. })
        ));
    }
}

#[test]
fn partitions_are_all_rows_and_meet_where_batches_do() {
    let mounted = Mounted::new();
    for (columns, batch_rows) in [(2, 4), (70, 4), (2, 1000)] {
        let name = format!("t{columns}-{batch_rows}");
        let whole = table(&mounted, &name, columns, 1000, batch_rows);
        for count in [1, 2, 3, 7, 250, 1500] {
            let mut found = Vec::new();
            for i in 0..count {
                let part = whole.partition(i, count).unwrap();
                if batch_rows == 4 && count <= 250 {
                    let rows = part.num_rows().unwrap().unwrap();
                    assert!(rows.is_multiple_of(4), "{rows}");
                }
                found.extend(values(&part));
            }
            assert_eq!(found, values(&whole), "{count} parts");
        }
    }
}

#[test]
fn parts_of_arrays_lie_where_their_strides_say() {
    let mounted = Mounted::new();
    let data: Vec<u8> = (0..24).collect();
    for fortran in [false, true] {
        let plan = NpyPlan::new("|u1", fortran, &[4, 3, 2]).unwrap();
        let path = mounted.path(if fortran { "f" } else { "c" });
        publish::array(&path, &plan, &data, Options::default(), &mut |_, _| Ok(())).unwrap();
        let whole = Dataset::open(&path).unwrap();
        let start = whole.array().unwrap().unwrap().start;
        let part = whole.select_rows(Rows::Range(1..3)).unwrap();
        let found = part.array().unwrap().unwrap();
        let stride = if fortran { 1 } else { 6 };
        assert_eq!((found.shape, found.start), (vec![2, 3, 2], start + stride));
        assert_eq!(found.nbytes, 12);
        let one = part.select_rows(Rows::One(1)).unwrap();
        let found = one.array().unwrap().unwrap();
        assert_eq!((found.shape, found.start), (vec![3, 2], start + 2 * stride));
        assert_eq!(one.reference().selection().to_string(), "rows=2");
        let error = one.select_rows(Rows::One(0)).unwrap_err();
        assert_eq!(error.face().python, "Unsupported");
        let error = whole.select_rows(Rows::One(4)).unwrap_err();
        assert!(
            error
                .message()
                .contains("row 4 is out of range, there are 4")
        );
    }
    publish::bytes(
        &mounted.path("b"),
        b"0123456789",
        Options::default(),
        &mut |_, _| Ok(()),
    )
    .unwrap();
    let bytes = Dataset::open(&mounted.path("b")).unwrap();
    let part = bytes.select_rows(Rows::Range(2..8)).unwrap();
    let part = part.select_rows(Rows::Range(1..3)).unwrap();
    assert_eq!(part.range(), 3..5);
    assert_eq!(part.reference().selection().to_string(), "rows=3:5");
    assert!(bytes.select_rows(Rows::Range(2..11)).is_err());
}
