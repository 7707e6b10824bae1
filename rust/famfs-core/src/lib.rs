//! The famfs metadata log.
