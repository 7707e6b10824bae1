//! Transactions: one for who commits, and for who takes part.

use std::path::PathBuf;

use famfs_data::transaction;
use pyo3::prelude::*;

use crate::errors::{Failure, Result};
use crate::reference::Ref;

/// Files that appear together.
#[pyclass(frozen, module = "famfs._native")]
pub(crate) struct Transaction {
    pub(crate) inner: transaction::Transaction,
}

#[pymethods]
impl Transaction {
    /// Begins one, or takes part in one by its token.
    #[new]
    #[pyo3(signature = (*, place=None, token=None))]
    fn new(py: Python<'_>, place: Option<PathBuf>, token: Option<String>) -> Result<Self> {
        let inner = py.detach(|| match token {
            Some(token) => transaction::Transaction::join(&token),
            None => transaction::Transaction::begin(place.as_deref()),
        });
        let place = place.unwrap_or_default();
        let inner = if place.as_os_str().is_empty() {
            inner?
        } else {
            inner.map_err(Failure::about(&place))?
        };
        Ok(Self { inner })
    }

    /// What other processes take part by.
    #[getter]
    fn token(&self, py: Python<'_>) -> Result<String> {
        Ok(py.detach(|| self.inner.token())?)
    }

    /// Publishes all of it, or leaves it to who commits: if it is the files of `told` and no others,
    /// where that is given.
    #[pyo3(signature = (told=None))]
    fn commit(&self, py: Python<'_>, told: Option<Vec<PathBuf>>) -> Result<Vec<Ref>> {
        let references = py.detach(|| match told {
            Some(told) => self.inner.commit_only(&told),
            None => self.inner.commit(),
        })?;
        Ok(references.into_iter().map(|inner| Ref { inner }).collect())
    }

    /// Gives up what was not committed.
    fn abandon(&self, py: Python<'_>) {
        py.detach(|| self.inner.abandon());
    }
}
