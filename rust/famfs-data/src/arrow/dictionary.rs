//! One dictionary per field for the whole file.
//!
//! A file can't replace a dictionary on the way, so the dictionaries that a field has over all
//! batches become one. Indices are moved only where that moved the values.
//!
//! Of a table that is written while its batches come, a dictionary only grows: what was written with
//! it stays true. It goes into the file behind the batches then, which the format allows.

use super::encode::Chunk;
use super::union::{KeyMap, Values};
use crate::error::DataError;
use arrow_array::cast::AsArray;
use arrow_array::{AnyDictionaryArray, Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};

/// The dictionary of one field. Its place in the list is its id in the file.
#[derive(Debug)]
pub(super) struct Dictionary {
    pub(super) value_type: DataType,
    pub(super) tree: Tree,
    /// None in a table without batches. What is nested in them has one source, themselves.
    pub(super) values: Option<Values>,
    /// By source batch.
    pub(super) maps: Vec<KeyMap>,
}

/// Which fields below a field have dictionaries; shaped as the field is.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) dictionary: Option<usize>,
    children: Vec<Tree>,
}

impl Tree {
    /// The tree of child `i`: fields without a dictionary below them share one empty tree.
    pub(super) fn child(&self, i: usize) -> &Tree {
        const NONE: &Tree = &Tree {
            dictionary: None,
            children: Vec::new(),
        };
        self.children.get(i).unwrap_or(NONE)
    }

    fn is_empty(&self) -> bool {
        self.dictionary.is_none() && self.children.is_empty()
    }
}

/// Finds the dictionaries of all batches: for each field which it has, and all of them by id.
///
/// `earlier` are those of batches that were written before these, which go on in them: their values
/// are taken.
pub(super) fn of_batches(
    schema: &Schema,
    batches: &[RecordBatch],
    earlier: &mut [Dictionary],
) -> Result<(Vec<Tree>, Vec<Dictionary>), DataError> {
    let mut found = Vec::new();
    let mut trees = Vec::with_capacity(schema.fields().len());
    for (i, field) in schema.fields().iter().enumerate() {
        let chunk = |(source, batch): (usize, &RecordBatch)| Chunk {
            array: batch.column(i).clone(),
            source,
        };
        let chunks: Vec<_> = batches.iter().enumerate().map(chunk).collect();
        trees.push(collect(field, &chunks, earlier, &mut found)?);
    }
    Ok((trees, found))
}

/// Finds the dictionaries of `field`, whose data is `chunks`, one for each source batch.
///
/// Ids are given from the innermost out, as arrow's schema encoder does.
fn collect(
    field: &Field,
    chunks: &[Chunk],
    earlier: &mut [Dictionary],
    found: &mut Vec<Dictionary>,
) -> Result<Tree, DataError> {
    if !has_dictionary(field.data_type()) {
        return Ok(Tree::default());
    }
    if let DataType::Dictionary(key_type, value_type) = field.data_type() {
        if matches!(**value_type, DataType::Dictionary(_, _)) {
            return Err(DataError::unsupported(
                format!("a dictionary of dictionaries in field {}", field.name()),
                "the format has no place for the inner one",
            ));
        }
        let id = found.len() + dictionaries_in(value_type);
        let before = earlier.get_mut(id).and_then(|before| before.values.take());
        let (values, maps) = unify(field, key_type, before, chunks)?;
        // What is nested in the values is written with all of them, at once.
        let tree = if has_dictionary(value_type) {
            let inner = Field::new(field.name(), value_type.as_ref().clone(), true);
            let array = values.as_ref().map(Values::array).transpose()?;
            let chunk = array.map(|array| Chunk { array, source: 0 });
            collect(&inner, chunk.as_slice(), &mut [], found)?
        } else {
            Tree::default()
        };
        found.push(Dictionary {
            value_type: value_type.as_ref().clone(),
            tree,
            values,
            maps,
        });
        return Ok(Tree {
            dictionary: Some(found.len() - 1),
            children: Vec::new(),
        });
    }
    let mut children = Vec::new();
    for (i, child) in child_fields(field.data_type()).into_iter().enumerate() {
        let parts = chunks.iter().map(|chunk| {
            let array = child_array(&chunk.array, i);
            Chunk {
                array,
                source: chunk.source,
            }
        });
        children.push(collect(child, &parts.collect::<Vec<_>>(), earlier, found)?);
    }
    if children.iter().all(Tree::is_empty) {
        children.clear();
    }
    Ok(Tree {
        dictionary: None,
        children,
    })
}

fn child_fields(data_type: &DataType) -> Vec<&Field> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field],
        DataType::Struct(fields) => fields.iter().map(AsRef::as_ref).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.as_ref()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends, values],
        _ => Vec::new(),
    }
}

fn has_dictionary(data_type: &DataType) -> bool {
    dictionaries_in(data_type) > 0
}

/// How many dictionaries a type has, those of their values included.
fn dictionaries_in(data_type: &DataType) -> usize {
    if let DataType::Dictionary(_, values) = data_type {
        return 1 + dictionaries_in(values);
    }
    let children = child_fields(data_type).into_iter();
    children
        .map(|child| dictionaries_in(child.data_type()))
        .sum()
}

/// Child `i`, whole: slices of the parent don't show in it.
fn child_array(array: &ArrayRef, i: usize) -> ArrayRef {
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().values().clone(),
        DataType::LargeList(_) => array.as_list::<i64>().values().clone(),
        DataType::ListView(_) => array.as_list_view::<i32>().values().clone(),
        DataType::LargeListView(_) => array.as_list_view::<i64>().values().clone(),
        DataType::FixedSizeList(_, _) => array.as_fixed_size_list().values().clone(),
        DataType::Map(_, _) => std::sync::Arc::new(array.as_map().entries().clone()),
        DataType::Struct(_) => array.as_struct().column(i).clone(),
        DataType::Union(fields, _) => match fields.iter().nth(i) {
            Some((id, _)) => array.as_union().child(id).clone(),
            None => array.clone(),
        },
        _ => match array.to_data().child_data().get(i) {
            Some(child) => arrow_array::make_array(child.clone()),
            None => array.clone(),
        },
    }
}

fn unify(
    field: &Field,
    key_type: &DataType,
    before: Option<Values>,
    chunks: &[Chunk],
) -> Result<(Option<Values>, Vec<KeyMap>), DataError> {
    let of_chunks = chunks.iter().map(|chunk| chunk.array.as_any_dictionary());
    let parts: Vec<&ArrayRef> = of_chunks.map(AnyDictionaryArray::values).collect();
    let (values, maps) = Values::of(before, &parts)?;
    let Some(found) = values.as_ref().filter(|values| values.is_union()) else {
        return Ok((values, maps));
    };
    if field.dict_is_ordered() == Some(true) {
        return Err(DataError::unsupported(
            format!(
                "an ordered dictionary that differs between batches (field {})",
                field.name()
            ),
            "give all batches the same dictionary",
        ));
    }
    if found.len() as u64 > key_limit(key_type) {
        return Err(DataError::DictionaryTooLarge {
            field: field.name().clone(),
            values: found.len(),
            index_type: key_type.to_string(),
        });
    }
    Ok((values, maps))
}

/// How many values an index type can tell apart.
fn key_limit(key_type: &DataType) -> u64 {
    match key_type {
        DataType::Int8 => 1 << 7,
        DataType::UInt8 => 1 << 8,
        DataType::Int16 => 1 << 15,
        DataType::UInt16 => 1 << 16,
        DataType::Int32 => 1 << 31,
        DataType::UInt32 => 1 << 32,
        _ => u64::MAX,
    }
}
