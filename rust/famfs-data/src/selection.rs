//! Selections: which rows and columns of a dataset are meant, and their text.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Rows of a table, items along an array's first axis, or bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// Those of a range.
    Range(Range<u64>),
    /// One item of an array, whose first axis goes.
    One(u64),
}

/// Columns of a table, by their indices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Columns {
    /// A table of these, in this order.
    Ranges(Vec<Range<u64>>),
    /// One by itself, which is no table.
    One(u64),
}

/// A part of a dataset: rows, columns, or both; everything by default.
///
/// Its text is that of a reference's query: `rows=5:10&cols=0:3,7`. A number alone means one item,
/// `rows=5`, or one column that is no table, `cols=7`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// The rows.
    pub rows: Option<Rows>,
    /// The columns.
    pub columns: Option<Columns>,
}

impl Selection {
    /// Whether it is everything.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.rows.is_none() && self.columns.is_none()
    }
}

impl Columns {
    /// A table of the given columns, neighbours in one range.
    #[must_use]
    pub fn table(indices: impl IntoIterator<Item = u64>) -> Self {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for index in indices {
            match ranges.last_mut() {
                Some(last) if last.end == index => last.end = index.saturating_add(1),
                _ => ranges.push(index..index.saturating_add(1)),
            }
        }
        Self::Ranges(ranges)
    }

    /// Their indices in the file, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let (one, ranges) = match self {
            Self::One(index) => (Some(*index), [].as_slice()),
            Self::Ranges(ranges) => (None, ranges.as_slice()),
        };
        one.into_iter().chain(ranges.iter().cloned().flatten())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Ranges(ranges) => ranges
                .iter()
                .fold(0, |sum, range| sum.saturating_add(range.end - range.start)),
        }
    }

    /// The index in the file of column `i` of these.
    #[must_use]
    pub fn nth(&self, i: u64) -> Option<u64> {
        self.iter().nth(usize::try_from(i).ok()?)
    }

    /// The first index that a file of `count` columns hasn't.
    #[must_use]
    pub fn outside(&self, count: u64) -> Option<u64> {
        match self {
            Self::One(index) => (*index >= count).then_some(*index),
            Self::Ranges(ranges) => {
                let past = ranges.iter().find(|range| range.end > count)?;
                Some(past.start.max(count))
            }
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rows {
            None => {}
            Some(Rows::One(row)) => write!(f, "rows={row}")?,
            Some(Rows::Range(rows)) => write!(f, "rows={}:{}", rows.start, rows.end)?,
        }
        let Some(columns) = &self.columns else {
            return Ok(());
        };
        if self.rows.is_some() {
            f.write_str("&")?;
        }
        f.write_str("cols=")?;
        let ranges = match columns {
            Columns::One(index) => return write!(f, "{index}"),
            Columns::Ranges(ranges) => ranges,
        };
        // A number by itself would be no table.
        let alone = ranges.len() == 1;
        for (i, range) in ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if range.start.checked_add(1) == Some(range.end) && !alone {
                write!(f, "{comma}{}", range.start)?;
            } else {
                write!(f, "{comma}{}:{}", range.start, range.end)?;
            }
        }
        Ok(())
    }
}

impl FromStr for Selection {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let mut selection = Self::default();
        for field in text.split('&') {
            match field.split_once('=') {
                Some(("rows", value)) if selection.rows.is_none() => {
                    let rows = number(value).map(Rows::One);
                    let rows = rows.or_else(|| range(value).map(Rows::Range));
                    selection.rows = Some(rows.ok_or("rows are a:b with a <= b, or one number")?);
                }
                Some(("cols", "")) if selection.columns.is_none() => {
                    selection.columns = Some(Columns::Ranges(Vec::new()));
                }
                Some(("cols", value)) if selection.columns.is_none() => {
                    let parse = |part: &str| match number(part) {
                        Some(one) => Some(one..one.checked_add(1)?),
                        None => range(part),
                    };
                    let columns = match number(value) {
                        Some(one) => Some(Columns::One(one)),
                        None => value
                            .split(',')
                            .map(parse)
                            .collect::<Option<_>>()
                            .map(Columns::Ranges),
                    };
                    let columns = columns.ok_or("columns are indices and ranges a:b")?;
                    selection.columns = Some(columns);
                }
                _ => return Err("rows=a:b and cols=... may follow the ?"),
            }
        }
        Ok(selection)
    }
}

/// A number of digits alone: `parse` would take a sign.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    text.parse().ok()
}

fn range(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once(':')?;
    let (start, end) = (number(start)?, number(end)?);
    (start <= end).then_some(start..end)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any selection that a text can say.
    pub(crate) fn any_selection() -> impl Strategy<Value = Selection> {
        let ordered = |(a, b): (u64, u64)| a.min(b)..a.max(b);
        let range = any::<(u64, u64)>().prop_map(ordered);
        let rows = prop_oneof![
            range.clone().prop_map(Rows::Range),
            any::<u64>().prop_map(Rows::One)
        ];
        let columns = prop_oneof![
            proptest::collection::vec(range, 0..4).prop_map(Columns::Ranges),
            any::<u64>().prop_map(Columns::One)
        ];
        (proptest::option::of(rows), proptest::option::of(columns))
            .prop_map(|(rows, columns)| Selection { rows, columns })
    }

    #[test]
    fn columns_are_counted_through_their_ranges() {
        let columns = Columns::table([4, 5, 6, 1, 9]);
        assert_eq!(columns, Columns::Ranges(vec![4..7, 1..2, 9..10]));
        let found: Vec<_> = (0..=columns.count()).map(|i| columns.nth(i)).collect();
        assert_eq!(found, [Some(4), Some(5), Some(6), Some(1), Some(9), None]);
        assert_eq!(columns.outside(10), None);
        assert_eq!(columns.outside(9), Some(9));
        assert_eq!(columns.outside(3), Some(4));
    }

    #[test]
    fn one_column_and_a_table_of_one_differ() {
        let text = |columns| {
            let rows = None;
            let columns = Some(columns);
            Selection { rows, columns }.to_string()
        };
        assert_eq!(text(Columns::One(3)), "cols=3");
        assert_eq!(text(Columns::table([3])), "cols=3:4");
        assert_eq!(text(Columns::table([3, 5])), "cols=3,5");
    }
}
