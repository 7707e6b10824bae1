//! Publishing tensors: each borrowed from where it is, all of them one file.

use std::path::PathBuf;

use famfs_data::publish::Draft;
use famfs_data::safetensors::{SafetensorsPlan, TensorSpec};
use famfs_data::{DataError, Kind};
use pyo3::prelude::*;

use crate::errors::{Failure, Result};
use crate::publish::{Done, Lent, Watcher, done, options, within};
use crate::transaction::Transaction;

/// Publishes tensors as a safetensors file.
///
/// `tensors` are names, the format's types and shapes; `parts` has for each of them what gives its
/// bytes in order, buffer by buffer. One is taken after the other, in the order of the file.
#[pyfunction]
#[pyo3(signature = (path, tensors, parts, *, overwrite=false, mode=None, progress=None, transaction=None))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn publish_tensors(
    py: Python<'_>,
    path: PathBuf,
    tensors: Vec<(String, String, Vec<u64>)>,
    parts: &Bound<'_, PyAny>,
    overwrite: bool,
    mode: Option<u32>,
    progress: Option<Py<PyAny>>,
    transaction: Option<&Bound<'_, Transaction>>,
) -> Result<Done> {
    let specs = tensors
        .into_iter()
        .map(|(name, dtype, shape)| TensorSpec::new(name, &dtype, shape))
        .collect::<Result<Vec<_>, _>>()?;
    let plan = SafetensorsPlan::new(&specs)?;
    let options = options(overwrite, mode, false);
    let mut watcher = Watcher::new(progress);
    let within = within(transaction);
    let draft = py.detach(|| {
        let draft = Draft::begin_in(within.as_ref(), &path, plan.size(), options)?;
        draft.put(0, plan.header(), &mut |_, _| Ok(()))?;
        Ok::<_, DataError>(draft)
    });
    let draft = draft.map_err(Failure::about(&path))?;
    let header = plan.header().len() as u64;
    let mut put = Ok(());
    'all: for (index, range) in plan.places() {
        let mut at = range.start;
        for part in parts.get_item(*index)?.try_iter()? {
            let lent = Lent::of(&part?)?;
            let len = lent.bytes().len() as u64;
            if len > range.end - at {
                return Err(changed(range.end - range.start));
            }
            put =
                py.detach(|| draft.put(at, lent.bytes(), &mut |at, total| watcher.tell(at, total)));
            if put.is_err() {
                break 'all;
            }
            at += len;
        }
        if at != range.end {
            return Err(changed(range.end - range.start));
        }
    }
    if put.is_ok() {
        // Tensors of nothing have no parts.
        put = watcher.finish(plan.size());
    }
    let ended = put.and_then(|()| py.detach(|| draft.end()));
    let reference = watcher.end(&path, ended)?;
    let counted = (plan.size() - header, header);
    Ok(done(reference, Kind::Safetensors, plan.size(), counted))
}

fn changed(expected: u64) -> Failure {
    Failure::unsupported(format!(
        "a tensor that no longer has its {expected} bytes: it was resized meanwhile; publish it when \
         nobody does"
    ))
}
