//! The one place where arrow's own full validation is switched off.
//!
//! Arrow's validation reads all values of every array, strings included: opening a table would
//! cost as much as reading it. What is checked instead, in [`crate::arrow::check`], before anything
//! comes here and when a column is first handed out:
//! * the number of buffers and children is the type's, children are of the types it names and long
//!   enough;
//! * every buffer lies inside the file, is aligned for its type and long enough for the values;
//! * the validity bitmap has a bit for each value, and as many nulls as the file says (counted);
//! * offsets begin at 0 or more, never fall and end inside the values; list views, string views,
//!   union type ids and offsets, run ends and the dictionary indices of valid rows are in range.
//!
//! What is not checked unless the caller asks for it (`ArrowFile::verify`) is that strings are
//! UTF-8. Nothing in this crate looks at a string as `str`. Whoever hands columns on to code that
//! does, in Rust, verifies first; consumers of the C data interface take strings as bytes.
//!
//! The checks hold as long as the bytes stay: the file is committed, and committed files are never
//! rewritten. That promise is the mapping's, made where the mapping is made.
#![expect(
    unsafe_code,
    reason = "validation is switched off here, after checks of our own"
)]

use crate::arrow::check::{Checked, Parts};
use arrow_data::{ArrayData, ArrayDataBuilder};

/// Makes an array of parts that were checked.
pub(crate) fn array(parts: Checked) -> ArrayData {
    let Parts {
        data_type,
        len,
        nulls,
        buffers,
        children,
    } = parts.into_parts();
    let builder = ArrayDataBuilder::new(data_type)
        .len(len)
        .nulls(nulls)
        .buffers(buffers)
        .child_data(children);
    // SAFETY: only `Parts::check` makes a `Checked`; what it has checked is listed above.
    unsafe { builder.build_unchecked() }
}
