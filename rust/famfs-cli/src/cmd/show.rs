//! `show`: what a file holds, and the first of it.

use std::path::Path;

use anyhow::Result;
use famfs_data::Content;
use famfs_data::arrow::ArrowFile;
use famfs_data::npy::Npy;
use famfs_data::preview::{self, Cell};
use famfs_data::safetensors::Safetensors;
use famfs_data::{DataError, Dataset, File, Kind};
use serde::Serialize;
use serde_json::Value;

use crate::args;
use crate::output::{JsonPath, Output, hex, show_host};

/// Columns of a table, and values of an array's item, that people are shown.
const WIDTH: usize = 16;

/// Letters of a value that people are shown.
const LETTERS: usize = 40;

/// Leading bytes that are dumped.
const HEAD: usize = 256;

/// What is the same for all kinds.
#[derive(Debug, Serialize)]
struct Shown<T> {
    #[serde(flatten)]
    path: JsonPath,
    kind: &'static str,
    size: u64,
    slot: u64,
    #[serde(flatten)]
    what: T,
}

#[derive(Debug, Serialize)]
struct Table {
    rows: u64,
    batches: usize,
    columns: Vec<Column>,
    values: Vec<Vec<Value>>,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    nullable: bool,
}

#[derive(Debug, Serialize)]
struct Array {
    dtype: String,
    shape: Vec<u64>,
    fortran_order: bool,
    values: Vec<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Tensors {
    tensors: Vec<Tensor>,
    metadata: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    offset: u64,
    size: u64,
}

#[derive(Debug, Serialize)]
struct Bytes {
    head: String,
}

/// Shows a file.
pub(super) fn run(args: &args::Show, output: &mut Output) -> Result<i32> {
    let about = |error| about(&args.path, error);
    let opened = Dataset::open(&args.path).map_err(about)?;
    let dataset = opened.file();
    let rows = usize::try_from(args.rows).unwrap_or(usize::MAX);
    if dataset.kind() == Kind::Safetensors {
        let file = Safetensors::open(dataset.view()).map_err(about)?;
        return tensors(dataset, &file, args, output);
    }
    match dataset.content().map_err(about)? {
        Content::Table(file) => table(dataset, file, rows, args, output),
        Content::Array(file) => array(dataset, file, rows, args, output),
        _ => bytes(dataset, args, output),
    }
}

/// An error about the path as the user wrote it.
fn about(path: &Path, error: DataError) -> DataError {
    let source = match error {
        DataError::Volume(error) => return DataError::Volume(error.about(path)),
        DataError::File { source, .. } => source,
        error => Box::new(error),
    };
    let path = path.display().to_string();
    DataError::File { path, source }
}

fn shown<T>(dataset: &File, what: T) -> Shown<T> {
    let stat = dataset.stat();
    Shown {
        path: JsonPath::new(&stat.path),
        kind: dataset.kind().name(),
        size: stat.size.0,
        slot: stat.slot.0,
        what,
    }
}

/// The first line: the file, and what it is.
fn title(dataset: &File, args: &args::Show, what: &str, output: &mut Output) -> Result<()> {
    output.line(format_args!(
        "{}: {what}, {} bytes",
        show_host(&args.path),
        dataset.stat().size
    ))
}

fn table(
    dataset: &File,
    file: &ArrowFile,
    rows: usize,
    args: &args::Show,
    output: &mut Output,
) -> Result<i32> {
    let width = if args.json { usize::MAX } else { WIDTH };
    let values = preview::rows(dataset, rows, width).map_err(|e| about(&args.path, e))?;
    let total = file
        .metadata()
        .num_rows()
        .map_err(|e| about(&args.path, e))?;
    let about = |error| about(&args.path, error);
    let fields = file.schema().map_err(about)?.fields();
    let batches = file.metadata().num_batches().map_err(about)?;
    if args.json {
        let columns = fields.iter().map(|field| Column {
            name: field.name().clone(),
            kind: field.data_type().to_string(),
            nullable: field.is_nullable(),
        });
        let is_number: Vec<_> = fields
            .iter()
            .map(|field| field.data_type().is_integer() || field.data_type().is_floating())
            .collect();
        let line = |line: Vec<Cell>| {
            let cells = line.into_iter().zip(&is_number);
            cells
                .map(|(cell, &is_number)| json(cell, is_number))
                .collect()
        };
        output.json(&shown(
            dataset,
            Table {
                rows: total,
                batches,
                columns: columns.collect(),
                values: values.into_iter().map(line).collect(),
            },
        ))?;
        return Ok(0);
    }
    let what = format!("table of {total} rows and {} columns", fields.len());
    title(dataset, args, &what, output)?;
    output.line("")?;
    let schema = fields.iter().map(|field| {
        let nulls = if field.is_nullable() { "" } else { "no nulls" };
        let kind = cut(&field.data_type().to_string());
        vec![cut(field.name()), kind, nulls.to_owned()]
    });
    output.table(&["COLUMN", "TYPE", ""], &[], schema.collect())?;
    if values.is_empty() || fields.is_empty() {
        return Ok(0);
    }
    output.line("")?;
    let head: Vec<_> = fields
        .iter()
        .take(WIDTH)
        .map(|field| cut(field.name()))
        .collect();
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let right: Vec<_> = (0..head.len())
        .filter(|&at| fields[at].data_type().is_numeric())
        .collect();
    let count = values.len() as u64;
    let lines = values.into_iter().map(|line| {
        let cells = line.into_iter();
        cells
            .map(|cell| cell.map_or_else(|| "-".to_owned(), |text| cut(&text)))
            .collect()
    });
    output.table(&head, &right, lines.collect())?;
    rest(total - count.min(total), "rows", output)?;
    rest(
        (fields.len() - head.len()) as u64,
        "columns (--json has them)",
        output,
    )?;
    Ok(0)
}

fn rest(count: u64, what: &str, output: &mut Output) -> Result<()> {
    if count > 0 {
        output.line(format_args!("... and {count} more {what}"))?;
    }
    Ok(())
}

/// A value in JSON: a number where it is one.
fn json(cell: Cell, is_number: bool) -> Value {
    let Some(text) = cell else {
        return Value::Null;
    };
    if is_number && let Ok(number) = serde_json::from_str(&text) {
        return Value::Number(number);
    }
    Value::String(text)
}

/// Text for a terminal: on one line, and not too long.
fn cut(text: &str) -> String {
    let mut letters = text.chars();
    let mut shown = String::new();
    for letter in letters.by_ref().take(LETTERS) {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    if letters.next().is_some() {
        shown.push_str("...");
    }
    shown
}

fn array(
    dataset: &File,
    file: &Npy,
    rows: usize,
    args: &args::Show,
    output: &mut Output,
) -> Result<i32> {
    let values =
        preview::items(dataset.view(), file, rows, WIDTH).map_err(|e| about(&args.path, e))?;
    if args.json {
        output.json(&shown(
            dataset,
            Array {
                dtype: file.descr().to_owned(),
                shape: file.shape().to_vec(),
                fortran_order: file.fortran_order(),
                values,
            },
        ))?;
        return Ok(0);
    }
    let what = format!(
        "array of {} and shape {}{}",
        cut(file.descr()),
        shape(file.shape()),
        if file.fortran_order() {
            ", in Fortran order"
        } else {
            ""
        }
    );
    title(dataset, args, &what, output)?;
    let total = file.shape().first().copied().unwrap_or(1);
    let inner = file.shape().iter().skip(1).copied();
    let per_item = inner.fold(1, u64::saturating_mul);
    let count = values.len() as u64;
    if count > 0 && per_item > 0 {
        output.line("")?;
    }
    for line in values.iter().filter(|line| !line.is_empty()) {
        let mut text: Vec<_> = line.iter().map(|value| cut(value)).collect();
        if per_item > WIDTH as u64 {
            text.push("...".into());
        }
        output.line(text.join("  "))?;
    }
    rest(total - count.min(total), "items", output)?;
    Ok(0)
}

fn shape(axes: &[u64]) -> String {
    let axes: Vec<_> = axes.iter().map(u64::to_string).collect();
    match axes.as_slice() {
        [one] => format!("({one},)"),
        axes => format!("({})", axes.join(", ")),
    }
}

fn tensors(
    dataset: &File,
    file: &Safetensors,
    args: &args::Show,
    output: &mut Output,
) -> Result<i32> {
    let found = file.tensors().iter().map(|tensor| Tensor {
        name: tensor.name.clone(),
        dtype: tensor.dtype.to_string(),
        shape: tensor.shape.clone(),
        offset: tensor.range.start,
        size: tensor.range.end - tensor.range.start,
    });
    let found: Vec<_> = found.collect();
    if args.json {
        let metadata = file.metadata().clone();
        let tensors = found;
        output.json(&shown(dataset, Tensors { tensors, metadata }))?;
        return Ok(0);
    }
    title(dataset, args, &format!("{} tensors", found.len()), output)?;
    for (key, value) in file.metadata() {
        output.line(format_args!("{}: {}", cut(key), cut(value)))?;
    }
    if found.is_empty() {
        return Ok(0);
    }
    output.line("")?;
    let lines = found.into_iter().map(|tensor| {
        let shape = shape(&tensor.shape);
        let (offset, size) = (tensor.offset.to_string(), tensor.size.to_string());
        vec![cut(&tensor.name), tensor.dtype, shape, offset, size]
    });
    let head = ["TENSOR", "TYPE", "SHAPE", "OFFSET", "SIZE"];
    output.table(&head, &[3, 4], lines.collect())?;
    Ok(0)
}

fn bytes(dataset: &File, args: &args::Show, output: &mut Output) -> Result<i32> {
    let size = usize::try_from(dataset.stat().size.0).unwrap_or(usize::MAX);
    let mut head = vec![0; size.min(HEAD)];
    let read = dataset.read(0, &mut head);
    read.map_err(|e| about(&args.path, e))?;
    if args.json {
        let head = hex(&head);
        output.json(&shown(dataset, Bytes { head }))?;
        return Ok(0);
    }
    title(dataset, args, dataset.kind().name(), output)?;
    if !head.is_empty() {
        output.line("")?;
    }
    for line in preview::dump(&head) {
        output.line(line)?;
    }
    rest((size - head.len()) as u64, "bytes", output)?;
    Ok(0)
}
