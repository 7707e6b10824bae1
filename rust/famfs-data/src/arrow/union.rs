//! The values of one dictionary over several batches.
//!
//! Owns which values the file's dictionary has, in which order, and where each batch's values are in
//! it: the longest dictionary, if the others are its beginnings, else their union in order of first
//! appearance. Values are added at the cost of what is added, however many there are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt64Array, new_empty_array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::take::take;

use crate::error::DataError;

/// Where an index of one of the caller's batches leads in the file's dictionary.
#[derive(Clone, Debug)]
pub(super) enum KeyMap {
    Same,
    Table(Arc<[usize]>),
}

/// The values that a dictionary has so far.
#[derive(Debug)]
pub(super) enum Values {
    /// Each dictionary so far is a beginning of this one.
    Longest(ArrayRef),
    /// They differ.
    Union(Union),
}

impl Values {
    /// The values of all `parts`, which follow those of `before`, and where those of each part are.
    ///
    /// # Errors
    /// Where arrow can't compare or join them.
    pub(super) fn of(
        before: Option<Self>,
        parts: &[&ArrayRef],
    ) -> Result<(Option<Self>, Vec<KeyMap>), DataError> {
        let mut union = match before {
            Some(Self::Union(union)) => union,
            Some(Self::Longest(first)) => {
                let all = std::iter::once(&first).chain(parts.iter().copied());
                if let Some(found) = longest(all) {
                    return Ok(same(found.clone(), parts));
                }
                Union::of(&first)?
            }
            None => {
                let Some(first) = parts.first() else {
                    return Ok((None, Vec::new()));
                };
                if let Some(found) = longest(parts.iter().copied()) {
                    return Ok(same(found.clone(), parts));
                }
                Union::new(first.data_type())?
            }
        };
        let maps = parts.iter().map(|part| union.add(part));
        let maps = maps.collect::<Result<_, _>>()?;
        Ok((Some(Self::Union(union)), maps))
    }

    /// Whether dictionaries differ that it is of.
    pub(super) fn is_union(&self) -> bool {
        matches!(self, Self::Union(_))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Longest(values) => values.len(),
            Self::Union(union) => union.len,
        }
    }

    /// All of them, in one array.
    ///
    /// # Errors
    /// Where they are more than one array holds.
    pub(super) fn array(&self) -> Result<ArrayRef, DataError> {
        match self {
            Self::Longest(values) => Ok(values.clone()),
            Self::Union(union) => union.array(),
        }
    }
}

fn same(found: ArrayRef, parts: &[&ArrayRef]) -> (Option<Values>, Vec<KeyMap>) {
    let maps = parts.iter().map(|_| KeyMap::Same).collect();
    (Some(Values::Longest(found)), maps)
}

/// The longest of the arrays, if all others are its beginnings.
fn longest<'a>(arrays: impl Iterator<Item = &'a ArrayRef> + Clone) -> Option<&'a ArrayRef> {
    let longest = arrays.clone().max_by_key(Array::len)?;
    let begins = |array: &ArrayRef| {
        array.to_data().ptr_eq(&longest.to_data())
            || longest.slice(0, array.len()).as_ref() == array.as_ref()
    };
    arrays.into_iter().all(begins).then_some(longest)
}

/// Distinct values, in order of first appearance.
#[derive(Debug)]
pub(super) struct Union {
    data_type: DataType,
    /// What makes values comparable; None where arrow can't: then a value may be there twice.
    converter: Option<RowConverter>,
    places: HashMap<Box<[u8]>, usize>,
    parts: Vec<ArrayRef>,
    len: usize,
    /// What was added last: many batches share one dictionary.
    last: Option<(ArrayRef, KeyMap)>,
}

impl Union {
    fn new(data_type: &DataType) -> Result<Self, DataError> {
        let sort = vec![SortField::new(data_type.clone())];
        let converter = if RowConverter::supports_fields(&sort) {
            Some(RowConverter::new(sort).map_err(DataError::refused)?)
        } else {
            None
        };
        Ok(Self {
            data_type: data_type.clone(),
            converter,
            places: HashMap::new(),
            parts: Vec::new(),
            len: 0,
            last: None,
        })
    }

    /// Of one array, all of whose values stay where they are, also those that are there twice.
    fn of(first: &ArrayRef) -> Result<Self, DataError> {
        let mut union = Self::new(first.data_type())?;
        if let Some(rows) = union.rows(first)? {
            for (place, row) in rows.iter().enumerate() {
                let key = row.data().into();
                union.places.entry(key).or_insert(place);
            }
        }
        union.parts.push(first.clone());
        union.len = first.len();
        Ok(union)
    }

    fn rows(&self, values: &ArrayRef) -> Result<Option<arrow_row::Rows>, DataError> {
        let Some(converter) = &self.converter else {
            return Ok(None);
        };
        let rows = converter.convert_columns(std::slice::from_ref(values));
        rows.map(Some).map_err(DataError::refused)
    }

    /// Adds the values that it doesn't have yet, and tells where each is.
    fn add(&mut self, values: &ArrayRef) -> Result<KeyMap, DataError> {
        if let Some((last, map)) = &self.last
            && last.to_data().ptr_eq(&values.to_data())
        {
            return Ok(map.clone());
        }
        let mut new: Vec<u64> = Vec::new();
        let places: Arc<[usize]> = if let Some(rows) = self.rows(values)? {
            let mut places = Vec::with_capacity(values.len());
            for (i, row) in (0..).zip(rows.iter()) {
                let place = if let Some(place) = self.places.get(row.data()) {
                    *place
                } else {
                    let place = self.len + new.len();
                    self.places.insert(row.data().into(), place);
                    new.push(i);
                    place
                };
                places.push(place);
            }
            places.into()
        } else {
            new.extend(0..values.len() as u64);
            (self.len..self.len + values.len()).collect()
        };
        self.len += new.len();
        if new.len() == values.len() {
            self.parts.push(values.clone());
        } else if !new.is_empty() {
            let part = take(values, &UInt64Array::from(new), None);
            self.parts.push(part.map_err(DataError::refused)?);
        }
        let stay = places.iter().enumerate().all(|(i, place)| i == *place);
        let map = if stay {
            KeyMap::Same
        } else {
            KeyMap::Table(places)
        };
        self.last = Some((values.clone(), map.clone()));
        Ok(map)
    }

    fn array(&self) -> Result<ArrayRef, DataError> {
        match &self.parts[..] {
            [] => Ok(new_empty_array(&self.data_type)),
            [one] => Ok(one.clone()),
            parts => {
                let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
                concat(&parts).map_err(DataError::refused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::{Int32Array, StringArray};

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn places(map: &KeyMap) -> Option<&[usize]> {
        match map {
            KeyMap::Same => None,
            KeyMap::Table(table) => Some(table),
        }
    }

    #[test]
    fn beginnings_of_the_longest_are_in_it() {
        let (short, long) = (texts(&["a", "b"]), texts(&["a", "b", "c"]));
        let (values, maps) = Values::of(None, &[&short, &long]).unwrap();
        let values = values.unwrap();
        assert!(values.array().unwrap().to_data().ptr_eq(&long.to_data()));
        assert!(maps.iter().all(|map| places(map).is_none()));
        let longer = texts(&["a", "b", "c", "d"]);
        let (values, _) = Values::of(Some(values), &[&longer, &short]).unwrap();
        assert_eq!(values.unwrap().len(), 4);
    }

    #[test]
    fn a_union_grows_by_what_is_new_and_keeps_what_it_has() {
        let twice = texts(&["a", "b", "a"]);
        let (values, _) = Values::of(None, &[&twice]).unwrap();
        let (values, maps) = Values::of(values, &[&texts(&["c", "a"])]).unwrap();
        assert_eq!(places(&maps[0]), Some(&[3, 0][..]));
        let again = texts(&["d", "c", "b"]);
        let (values, maps) = Values::of(values, &[&again, &again]).unwrap();
        let values = values.unwrap();
        assert_eq!(places(&maps[0]), Some(&[4, 3, 1][..]));
        assert_eq!(places(&maps[0]), places(&maps[1]));
        let all = values.array().unwrap();
        let all: Vec<_> = all.as_string::<i32>().iter().flatten().collect();
        assert_eq!(all, ["a", "b", "a", "c", "d"]);
        assert!(values.is_union() && values.len() == 5);
    }

    #[test]
    fn adding_costs_what_is_added() {
        // A hundred windows of a thousand values each: what was there before is not looked at again.
        let part = |window: i32| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(
                window * 1000..(window + 1) * 1000,
            ))
        };
        let (mut values, _) = Values::of(None, &[&part(0)]).unwrap();
        for window in 1..100 {
            values = Values::of(values, &[&part(window)]).unwrap().0;
            let Some(Values::Union(union)) = &values else {
                panic!("they differ");
            };
            assert_eq!(union.parts.len(), 1 + usize::try_from(window).unwrap());
        }
        assert_eq!(values.unwrap().array().unwrap().len(), 100_000);
    }

    #[test]
    fn nulls_and_nothing_are_values_too() {
        let some: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let other: ArrayRef = Arc::new(StringArray::from(vec![None, Some("b")]));
        let none = texts(&[]);
        let (values, maps) = Values::of(None, &[&some, &none, &other]).unwrap();
        assert_eq!(places(&maps[2]), Some(&[1, 2][..]));
        assert_eq!(values.unwrap().len(), 3);
        assert!(Values::of(None, &[]).unwrap().0.is_none());
    }
}
