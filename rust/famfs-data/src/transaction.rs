//! A transaction over paths: files that appear together, wherever they are filled.
//!
//! Owns which volume a transaction is on, and the text that other processes take part by. What is
//! all or none, and who holds what, is [`famfs::Transaction`]'s.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use famfs::core::path::RelPath;
use famfs::{Error, Volume, mounts};
use uuid::Uuid;

use crate::error::DataError;
use crate::reference::Ref;

/// What a token's text begins with.
const SCHEME: &str = "famfs-transaction";

/// Files that appear together. Clones are the same transaction; threads may share it.
#[derive(Clone, Debug)]
pub struct Transaction {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    /// The first file says on which volume.
    Unbound,
    Bound(Arc<famfs::Transaction>),
    Ended,
}

/// What another process takes part by.
struct Token {
    volume: Uuid,
    transaction: Uuid,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}:{}:{}", self.volume, self.transaction)
    }
}

impl Token {
    fn read(text: &str) -> Option<Self> {
        let (volume, transaction) = text
            .strip_prefix(SCHEME)?
            .strip_prefix(':')?
            .split_once(':')?;
        Some(Self {
            volume: volume.parse().ok()?,
            transaction: transaction.parse().ok()?,
        })
    }
}

impl Transaction {
    /// Begins a transaction: on the volume that `place` lies in, or on that of its first file.
    ///
    /// # Errors
    /// Those of [`Volume::transaction`].
    pub fn begin(place: Option<&Path>) -> Result<Self, DataError> {
        let transaction = Self::new(State::Unbound);
        if let Some(place) = place {
            transaction.on(&mounts::resolve(place)?.volume()?)?;
        }
        Ok(transaction)
    }

    /// Takes part in a transaction of another process, by its token.
    ///
    /// # Errors
    /// [`Error::Usage`] where the text is no token; those of [`Volume::join`].
    pub fn join(token: &str) -> Result<Self, DataError> {
        let read = Token::read(token).ok_or_else(|| {
            Error::Usage(format!(
                "{token:?} is not a transaction's token: hand over what `transaction.token` gives"
            ))
        })?;
        let (_, volume) = mounts::find(read.volume)?;
        let joined = volume.join(read.transaction)?;
        Ok(Self::new(State::Bound(Arc::new(joined))))
    }

    fn new(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transaction on `volume`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it is on another; [`Error::Usage`] where it has ended.
    pub(crate) fn on(&self, volume: &Volume) -> Result<Arc<famfs::Transaction>, DataError> {
        let mut state = self.state();
        match &*state {
            State::Unbound => {
                let bound = Arc::new(volume.transaction()?);
                *state = State::Bound(Arc::clone(&bound));
                Ok(bound)
            }
            State::Bound(bound) if bound.volume().uuid() == volume.uuid() => Ok(Arc::clone(bound)),
            State::Bound(bound) => Err(Error::Unsupported {
                what: volume.path().display().to_string(),
                why: format!(
                    "the transaction is on another volume ({}), and one commit is in one log: use \
                     a transaction for each volume",
                    bound.volume().path().display()
                ),
            }
            .into()),
            State::Ended => Err(ended()),
        }
    }

    /// The text that other processes of this host take part by.
    ///
    /// # Errors
    /// [`Error::Usage`] where it isn't known yet which volume it is on; those of
    /// [`famfs::Transaction::token`].
    pub fn token(&self) -> Result<String, DataError> {
        let bound = match &*self.state() {
            State::Bound(bound) => Some(Arc::clone(bound)),
            State::Unbound => None,
            State::Ended => return Err(ended()),
        };
        let bound = match bound {
            Some(bound) => bound,
            None => self.on(&only_volume()?)?,
        };
        let token = Token {
            volume: bound.volume().uuid(),
            transaction: bound.token()?,
        };
        Ok(token.to_string())
    }

    /// Publishes all files, or none; their references come back. For who takes part by a token:
    /// leaves them to the owner's commit.
    ///
    /// # Errors
    /// Those of [`famfs::Transaction::commit`].
    pub fn commit(&self) -> Result<Vec<Ref>, DataError> {
        self.commit_told(None)
    }

    /// As [`Self::commit`], where the files are those of these paths and no others.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a path in another volume; those of
    /// [`famfs::Transaction::commit_only`] and [`mounts::resolve`].
    pub fn commit_only(&self, told: &[PathBuf]) -> Result<Vec<Ref>, DataError> {
        let name = |path: &PathBuf| {
            let resolved = mounts::resolve(path)?;
            self.on(&resolved.volume()?)?;
            Ok(resolved.name()?)
        };
        let told: Vec<_> = told.iter().map(name).collect::<Result<_, DataError>>()?;
        self.commit_told(Some(&told))
    }

    fn commit_told(&self, told: Option<&[RelPath]>) -> Result<Vec<Ref>, DataError> {
        let bound = {
            let mut state = self.state();
            match &*state {
                State::Bound(bound) => Arc::clone(bound),
                State::Unbound => {
                    *state = State::Ended;
                    return Ok(Vec::new());
                }
                State::Ended => return Err(ended()),
            }
        };
        let volume = bound.volume().uuid();
        let committed = match told {
            Some(told) => bound.commit_only(told)?,
            None => bound.commit()?,
        };
        *self.state() = State::Ended;
        Ok(committed
            .into_iter()
            .map(|(path, slot)| Ref::new(volume, path, slot))
            .collect())
    }

    /// Gives up what was not committed.
    pub fn abandon(&self) {
        let state = std::mem::replace(&mut *self.state(), State::Ended);
        if let State::Bound(bound) = state {
            // A thread may be filling a file of it still, which finds that it has ended.
            bound.abandon();
        }
    }
}

fn ended() -> DataError {
    Error::Usage("the transaction has ended: begin a new one".into()).into()
}

/// The volume that is meant where none was named: the one that is mounted.
fn only_volume() -> Result<Volume, DataError> {
    let mounts = mounts::list()?;
    match &mounts[..] {
        [] => Err(Error::NotMounted {
            path: "a transaction".into(),
        }
        .into()),
        [one] => Ok(one.volume()?),
        several => Err(Error::Usage(format!(
            "{} volumes are mounted: say where the transaction is before its token is asked for, \
             for example famfs.transaction({:?}), or publish its first file",
            several.len(),
            several[0].mountpoint.display().to_string(),
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_nothing_else_is() {
        let token = Token {
            volume: Uuid::from_u128(1),
            transaction: Uuid::from_u128(2),
        };
        let text = token.to_string();
        let read = Token::read(&text).unwrap();
        assert_eq!(
            (read.volume, read.transaction),
            (token.volume, token.transaction)
        );
        for wrong in [
            "",
            "famfs-transaction",
            &text[1..],
            &text[..60],
            "famfs://x",
        ] {
            assert!(Token::read(wrong).is_none(), "{wrong}");
        }
    }
}
