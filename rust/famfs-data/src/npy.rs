//! NPY.
