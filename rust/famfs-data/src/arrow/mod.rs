//! Arrow tables as Arrow IPC files.
//!
//! [`ArrowPlan`] lays a table out and writes it, [`ArrowStream`] one whose batches come one after the
//! other; [`ArrowFile`] opens one in place. The files are
//! standard: nothing here needs the other half.

mod batch;
mod blank;
mod body;
mod build;
pub(crate) mod check;
mod dictionary;
mod encode;
mod group;
mod index;
mod layout;
mod limit;
mod message;
mod metadata;
mod nullable;
mod open;
mod parse;
mod schema;
mod settle;
mod stream;
mod union;
mod variants;
mod views;
mod writer;

pub use blank::{Blank, Column, Filled, Room, Values};
pub use layout::{ArrowPlan, PlanOptions, Span};
pub use metadata::ArrowMetadata;
pub use open::ArrowFile;
pub use settle::settled;
pub use stream::{ArrowStream, LaidOut};
