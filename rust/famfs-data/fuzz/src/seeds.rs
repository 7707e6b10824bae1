//! Files to begin with, written by the crate's own writers: `seeds STREAMS HOSTILE SEEDS`.
//!
//! Small ones, for speed: a few rows of each stream, and of each type that a table can have, with an
//! index and without, whole and in several batches, with a checksum and without.

use std::fs;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::SchemaRef;
use famfs_data::arrow::{ArrowPlan, PlanOptions};
use famfs_data::npy::NpyPlan;
use famfs_data::safetensors::{SafetensorsPlan, TensorSpec};
use famfs_data_fuzz::tables;

const LONGEST: usize = 1 << 15;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    let [streams, hostile, seeds] = folders.as_slice() else {
        return Err("seeds STREAMS HOSTILE SEEDS".into());
    };
    let seeds = Path::new(seeds);
    fs::create_dir_all(seeds)?;
    for entry in fs::read_dir(streams)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "stream")
        {
            let reader = StreamReader::try_new(fs::File::open(&path)?, None)?;
            let schema = reader.schema();
            let few = |batch: RecordBatch| batch.slice(0, batch.num_rows().min(7));
            let batches = reader.map(|batch| batch.map(few));
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            table(
                seeds,
                &name,
                &schema,
                &batches.collect::<Result<Vec<_>, _>>()?,
            )?;
        }
    }
    for (i, data_type) in tables::types().into_iter().enumerate() {
        let (schema, batches) = tables::table(&mut tables::Rng(i as u64), &[data_type], &[7, 4]);
        table(seeds, &format!("type-{i}"), &schema, &batches)?;
    }
    let (schema, batches) = tables::table(&mut tables::Rng(1), &tables::types(), &[9]);
    table(seeds, "all-types", &schema, &batches)?;
    for entry in fs::read_dir(hostile)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        save(seeds, &name, &fs::read(&path)?)?;
    }
    arrays(seeds)?;
    tensors(seeds)
}

/// Keeps what is not longer than the fuzzer's inputs: it would be cut.
fn save(seeds: &Path, name: &str, file: &[u8]) -> Result<(), Failure> {
    if file.len() <= LONGEST {
        fs::write(seeds.join(name), file)?;
    }
    Ok(())
}

fn table(
    seeds: &Path,
    name: &str,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<(), Failure> {
    for (kind, options) in [
        ("whole", PlanOptions::default()),
        (
            "indexed",
            PlanOptions {
                index_from: 0,
                batch_rows: Some(3),
                checksum: true,
                ..PlanOptions::default()
            },
        ),
    ] {
        let plan = ArrowPlan::new(schema, batches, &options)?;
        let mut file = Vec::new();
        plan.write(&mut file)?;
        save(seeds, &format!("{name}-{kind}"), &file)?;
    }
    // As arrow's own writer has it: by another order of things, and what we never write.
    let mut file = FileWriter::try_new(Vec::new(), schema)?;
    let whole = batches
        .iter()
        .take(1)
        .try_for_each(|batch| file.write(batch));
    if whole.and_then(|()| file.finish()).is_ok() {
        save(seeds, &format!("{name}-arrow"), &file.into_inner()?)?;
    }
    Ok(())
}

fn arrays(seeds: &Path) -> Result<(), Failure> {
    for (i, (descr, shape)) in [
        ("<f8", &[2_u64, 3][..]),
        ("|b1", &[8]),
        (">c16", &[]),
        ("<U3", &[4]),
        ("<M8[ns]", &[1, 0, 2]),
        (
            "[('a', '<i4'), ('b', [('x', '|S2', (2, 2)), ('y', '>u2')])]",
            &[3],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let plan = NpyPlan::new(descr, i % 2 == 1, shape)?;
        let mut file = Vec::new();
        let data = vec![7; usize::try_from(plan.nbytes())?];
        plan.write(&data, &mut file)?;
        save(seeds, &format!("array-{i}"), &file)?;
        let mut trailer = b"FAMFSCRC".to_vec();
        trailer.extend(crc32fast::hash(&file).to_le_bytes());
        trailer.extend([0; 4]);
        file.extend(trailer);
        save(seeds, &format!("array-{i}-checksum"), &file)?;
    }
    Ok(())
}

fn tensors(seeds: &Path) -> Result<(), Failure> {
    let specs = [
        TensorSpec::new("a".into(), "F32", vec![4, 4])?,
        TensorSpec::new("b".into(), "BF16", vec![3])?,
        TensorSpec::new("c".into(), "U8", vec![])?,
    ];
    let plan = SafetensorsPlan::new(&specs)?;
    let mut file = plan.header().to_vec();
    file.resize(usize::try_from(plan.size())?, 7);
    save(seeds, "tensors", &file)
}
