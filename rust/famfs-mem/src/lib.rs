//! Device memory for famfs.
