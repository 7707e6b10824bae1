//! Tables and arrays as famfs files.
//!
//! This crate owns the formats: how large a file will be before anything is written, which bytes
//! go where, and what a file's bytes mean once they are mapped. The formats know no volume and no
//! mapping: bytes go out through [`Place`] and come in through [`Peek`] (copied out, for whatever is
//! judged) and [`bytes::Bytes`] (in place, for the values themselves). [`publish`] and [`open`] are
//! where they meet the volume, and [`Ref`] names what was published.
//!
//! Memory is not trusted. What decides where something lies (magic, footer, message headers, NPY
//! header) is copied out first and judged on the private copy.
#![deny(unsafe_code)]

pub mod arrow;
pub mod catalog;
mod error;
mod kind;
pub mod npy;
pub mod open;
mod place;
pub mod publish;
mod reference;
pub mod transaction;
mod unchecked;

pub use error::{DataError, PeekError, PlaceError};
pub use kind::Kind;
pub use open::Dataset;
pub use place::{Peek, Place};
pub use publish::{Options, Published};
pub use reference::{Ref, SCHEME, Selection};
pub use transaction::Transaction;
