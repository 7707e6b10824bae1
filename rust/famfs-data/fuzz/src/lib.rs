//! What the fuzzer of files' contents is made of: what it does to a file, and how it changes one.

pub mod mutate;
#[path = "../../tests/common/tables.rs"]
pub mod tables;
pub mod walk;
