//! Where an array's items lie: its first one, the steps along its axes, and those of a part of it.

use std::ops::Range;

use crate::npy::Npy;
use crate::selection::Rows;

/// How an array, or a part of one, lies in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayLayout {
    /// The type of its items, as an NPY header has it.
    pub descr: String,
    /// Bytes of an item.
    pub item_size: u64,
    /// The lengths of its axes.
    pub shape: Vec<u64>,
    /// Bytes between neighbours along each axis.
    pub strides: Vec<u64>,
    /// Where its first item lies in the file.
    pub start: u64,
    /// Bytes of its items.
    pub nbytes: u64,
}

impl ArrayLayout {
    /// An array whose items lie next to each other; its header was judged.
    pub(crate) fn new(
        descr: &str,
        item_size: u64,
        shape: &[u64],
        fortran: bool,
        place: Range<u64>,
    ) -> Self {
        Self {
            descr: descr.to_owned(),
            item_size,
            shape: shape.to_vec(),
            strides: strides(item_size, shape, fortran),
            start: place.start,
            nbytes: place.end - place.start,
        }
    }

    /// How all of an array lies in its file.
    #[must_use]
    pub fn of(array: &Npy) -> Self {
        let place = array.data_at()..array.data_at() + array.nbytes();
        let (descr, shape) = (array.descr(), array.shape());
        Self::new(
            descr,
            array.item_size(),
            shape,
            array.fortran_order(),
            place,
        )
    }

    /// Whether its items lie next to each other, in C or in Fortran order.
    #[must_use]
    pub fn is_contiguous(&self, fortran: bool) -> bool {
        let expected = strides(self.item_size, &self.shape, fortran);
        let mut along = self.shape.iter().zip(self.strides.iter().zip(expected));
        self.shape.contains(&0)
            || along.all(|(axis, (found, expected))| *axis == 1 || *found == expected)
    }

    /// Those items along the first axis; of no axes, none can be chosen.
    #[must_use]
    pub fn select(mut self, rows: &Rows) -> Option<Self> {
        let (first, stride) = (*self.shape.first()?, *self.strides.first()?);
        let of_one = self.nbytes.checked_div(first).unwrap_or(0);
        let (start, len) = match rows {
            Rows::Range(rows) => {
                self.shape[0] = rows.end - rows.start;
                (rows.start, self.shape[0])
            }
            Rows::One(row) => {
                self.shape.remove(0);
                self.strides.remove(0);
                (*row, 1)
            }
        };
        self.nbytes = of_one * len;
        if self.nbytes > 0 {
            self.start += start * stride;
        }
        Some(self)
    }
}

/// Bytes between neighbours along each axis of an array whose items lie next to each other.
fn strides(item_size: u64, shape: &[u64], fortran: bool) -> Vec<u64> {
    let mut strides = vec![0; shape.len()];
    let mut step = item_size;
    let mut set = |axis: usize| {
        strides[axis] = step;
        // The header was judged: the product fits, zeros taken for ones.
        step = step.saturating_mul(shape[axis].max(1));
    };
    if fortran {
        (0..shape.len()).for_each(&mut set);
    } else {
        (0..shape.len()).rev().for_each(&mut set);
    }
    strides
}
