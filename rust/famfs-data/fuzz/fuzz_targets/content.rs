//! Arbitrary bytes as a published file: an error or data that can be used, never a panic, and no
//! byte read that is not the file's.
//!
//! The input is the file. It stands in an allocation of its exact size, so that the address
//! sanitizer sees what reads past it.
#![no_main]

use bytes::Bytes;
use famfs_data_fuzz::{mutate, walk};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|input: &[u8]| walk::file(&Bytes::from(Box::<[u8]>::from(input))));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::mutate(data, size, seed, |data| fuzzer_mutate(data, size, max_size))
});
