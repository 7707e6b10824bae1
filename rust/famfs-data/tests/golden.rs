//! Arrow's own integration streams: each survives being written and opened.
#![allow(missing_docs, reason = "a test")]

mod common;

use famfs_data::arrow::PlanOptions;

#[test]
fn every_stream_survives() {
    for (name, schema, batches) in common::streams() {
        let options = PlanOptions::default();
        let file = common::round_trip(&name, &schema, &batches, &options);
        let opened = common::open(&common::aligned(&file)).unwrap();
        assert!(
            opened.metadata().num_batches().unwrap() <= 1,
            "{name}: a column is one array"
        );
        if let Ok(folder) = std::env::var("FAMFS_WRITE_GOLDEN") {
            std::fs::write(format!("{folder}/{name}.arrow"), &file).unwrap();
        }
    }
}

#[test]
fn every_stream_survives_in_partitions() {
    for (name, schema, batches) in common::streams() {
        for rows in [1, 3, 7, 1000] {
            let options = PlanOptions {
                batch_rows: Some(rows),
                ..PlanOptions::default()
            };
            common::round_trip(&name, &schema, &batches, &options);
        }
    }
}

#[test]
fn every_stream_survives_sliced() {
    for (name, schema, batches) in common::streams() {
        let slices: Vec<_> = batches
            .iter()
            .filter(|batch| batch.num_rows() > 2)
            .map(|batch| batch.slice(1, batch.num_rows() - 2))
            .collect();
        let options = PlanOptions::default();
        common::round_trip(&name, &schema, &slices, &options);
    }
}

#[test]
fn buffers_start_where_asked() {
    for (name, schema, batches) in common::streams() {
        let options = PlanOptions {
            alignment: 4096,
            ..PlanOptions::default()
        };
        let file = common::round_trip(&name, &schema, &batches, &options);
        assert!(file.starts_with(b"ARROW1\0\0\xff\xff\xff\xff"), "{name}");
    }
}

#[test]
fn large_buffers_start_on_pages_and_others_cost_nothing() {
    let mut found = 0;
    for (name, schema, batches) in common::streams() {
        let of = |pages_from| PlanOptions {
            pages_from,
            ..PlanOptions::default()
        };
        // As if every buffer of 1,000 bytes were large.
        let file = common::round_trip(&name, &schema, &batches, &of(1000));
        let dense = common::write(&schema, &batches, &of(u64::MAX));
        let bytes = common::aligned(&file);
        let opened = common::open(&bytes).unwrap();
        let start = bytes.as_ptr().addr();
        for batch in 0..opened.metadata().num_batches().unwrap() {
            for column in opened.batch(batch).unwrap().columns() {
                for buffer in column
                    .to_data()
                    .buffers()
                    .iter()
                    .filter(|b| b.len() >= 1000)
                {
                    assert_eq!((buffer.as_ptr().addr() - start) % 4096, 0, "{name}");
                    found += 1;
                }
            }
        }
        let plain = common::write(&schema, &batches, &PlanOptions::default());
        assert_eq!(plain.len(), dense.len(), "{name} has no buffer of 256 KiB");
    }
    assert!(found > 10, "{found} large buffers");
}
