//! Datasets through a volume: published, opened, named by references.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use famfs_data::arrow::{ArrowPlan, PlanOptions};
use famfs_data::npy::NpyPlan;
use famfs_data::{DataError, Dataset, Kind, Options, Ref, Rows, Selection, publish};

mod volumes;
use volumes::Mounted;

fn batch(rows: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let texts = (0..rows).map(|i| (i % 3 != 0).then(|| format!("row {i}")));
    let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
    RecordBatch::try_from_iter([("numbers", numbers), ("texts", texts)]).unwrap()
}

fn put_table(path: &Path, batch: &RecordBatch, options: Options) -> Result<Ref, DataError> {
    let batches = std::slice::from_ref(batch);
    let plan = ArrowPlan::new(&batch.schema(), batches, &PlanOptions::default())?;
    Ok(publish::table(path, &plan, options, &mut |_, _| Ok(()))?.reference)
}

#[test]
fn a_table_comes_back_in_place_whatever_its_size() {
    let mounted = Mounted::new();
    // The largest is written by several threads, in more than one window.
    for rows in [0, 1, 1000, 2_000_000] {
        let path = mounted.path(&format!("t{rows}"));
        let expected = batch(rows);
        let reference = put_table(&path, &expected, Options::default()).unwrap();
        let dataset = Dataset::open_ref(&reference).unwrap();
        assert_eq!(dataset.kind(), Kind::Table);
        assert_eq!(dataset.num_rows().unwrap(), Some(rows.unsigned_abs()));
        if rows > 0 {
            let found = dataset.file().batch(0).unwrap();
            assert_eq!(found, expected);
            let address = found.column(0).to_data().buffers()[0].as_ptr() as usize;
            let view = dataset.file().view();
            assert!((view.address()..view.address() + view.len()).contains(&address));
        }
        dataset.file().verify().unwrap();
    }
}

#[test]
fn arrays_and_bytes_come_back() {
    let mounted = Mounted::new();
    let data: Vec<u8> = (0..20_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let plan = NpyPlan::new("|u1", false, &[4, 5_000_000]).unwrap();
    let mut told = Vec::new();
    let array = publish::array(
        &mounted.path("array"),
        &plan,
        &data,
        Options::default(),
        &mut |at, total| {
            told.push((at, total));
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(told.last(), Some(&(plan.size(), plan.size())));
    let dataset = Dataset::open_ref(&array.reference).unwrap();
    assert_eq!(dataset.kind(), Kind::Array);
    assert!(dataset.file().view()[plan.header().len()..] == data);
    for data in [&b""[..], b"hello", &data] {
        let options = Options {
            overwrite: true,
            ..Options::default()
        };
        publish::bytes(&mounted.path("bytes"), data, options, &mut |_, _| Ok(())).unwrap();
        let dataset = Dataset::open(&mounted.path("bytes")).unwrap();
        assert!(dataset.file().view()[..] == *data);
        assert_eq!(dataset.kind(), Kind::Bytes);
    }
}

#[test]
fn who_is_told_of_progress_can_stop_it() {
    let mounted = Mounted::new();
    let stop = &mut |_, _| Err(DataError::Stopped);
    let data = vec![1; 1 << 20];
    let error = publish::bytes(&mounted.path("x"), &data, Options::default(), stop).unwrap_err();
    assert_eq!(error.face().python, "FamfsError");
    assert!(Dataset::open(&mounted.path("x")).is_err());
}

#[test]
fn errors_name_the_path_and_their_class() {
    let mounted = Mounted::new();
    let put = |name: &str, data: &[u8]| {
        let path = mounted.path(name);
        publish::bytes(&path, data, Options::default(), &mut |_, _| Ok(()))
    };
    put("x", b"ARROW1\0\0not an arrow file").unwrap();
    let reference = put("y", b"bytes").unwrap().reference;
    let part = reference.select(Selection {
        rows: Some(Rows::Range(0..6)),
        columns: None,
    });
    for (result, class, part) in [
        (put("x", b"again").map(drop), "AlreadyExists", "x"),
        (put("no/x", b"").map(drop), "NotFound", "no/x"),
        (put("y/x", b"").map(drop), "InvalidPath", "y/x"),
        (
            Dataset::open(&mounted.path("x")).map(drop),
            "Corrupt",
            "famfs cat",
        ),
        (Dataset::open(&mounted.path("z")).map(drop), "NotFound", "z"),
        (
            Dataset::open(&mounted.path("")).map(drop),
            "InvalidPath",
            "mnt",
        ),
        (
            Dataset::open_ref(&part).map(drop),
            "FamfsError",
            "row 6 is out of range, there are 5",
        ),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.face().python, class, "{error}");
        assert!(error.message().contains(part), "{}", error.message());
    }
}
