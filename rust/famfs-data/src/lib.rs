//! Tables and arrays as famfs files.
//!
//! This crate owns the formats: how large a file will be before anything is written, which bytes
//! go where, and what a file's bytes mean once they are mapped. The formats know no volume and no
//! mapping: bytes go out through [`Place`] and come in through [`Peek`] (copied out, for whatever is
//! judged) and [`bytes::Bytes`] (in place, for the values themselves). [`publish`] and [`mod@file`]
//! are where they meet the volume, [`Dataset`] is a file or a part of one, and [`Ref`] names it.
//!
//! Memory is not trusted. What decides where something lies (magic, footer, message headers, NPY
//! header) is copied out first and judged on the private copy.
#![deny(unsafe_code)]

mod array_layout;
pub mod arrow;
pub mod catalog;
mod checksum;
mod content;
mod dataset;
mod error;
pub mod file;
mod fill;
mod kind;
pub mod npy;
mod place;
pub mod preview;
pub mod publish;
mod reference;
pub mod safetensors;
mod selection;
pub mod stream;
pub mod take;
pub mod transaction;
mod unchecked;

pub use array_layout::ArrayLayout;
pub use content::Content;
pub use dataset::{Dataset, Part};
pub use error::{DataError, PeekError, PlaceError};
pub use file::File;
pub use kind::Kind;
pub use place::{Peek, Place};
pub use publish::{Options, Published};
pub use reference::{Ref, SCHEME};
pub use selection::{Columns, Rows, Selection};
pub use transaction::Transaction;
