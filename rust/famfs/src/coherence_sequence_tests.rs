//! Any sequence of commits, with crashes between any two operations, equals a model.
//!
//! Where [`super::tests`] tries every moment of one commit, this tries many commits of every kind,
//! with what the simulated memory does drawn at random.

use std::collections::BTreeMap;

use famfs_core::append;
use famfs_core::entry::{DeleteEntry, Entry, FileEntry, MkdirEntry};
use famfs_core::namespace::NodeRef;
use famfs_core::path::RelPath;
use famfs_core::space::Layout;
use famfs_core::units::{ByteLen, FileOff};
use famfs_mem::sim::{Random, SimMemory};
use proptest::prelude::*;

use super::tests::{Host, OWNER, volume};
use super::*;

const NAMES: [&str; 6] = ["a", "b", "d", "d/x", "d/y", "early/file"];
const SIZE: usize = 100;

#[derive(Clone, Copy, Debug)]
enum Op {
    Create(usize),
    Replace(usize),
    Delete(usize),
    Mkdir(usize),
}

/// What a name stands for: a directory, or a file with all its bytes the same.
type Model = BTreeMap<String, Option<u8>>;

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Create(name) | Self::Replace(name) | Self::Delete(name) | Self::Mkdir(name) => {
                NAMES[name]
            }
        }
    }

    /// Does it to the model; whether it may be done.
    fn apply(self, model: &mut Model, version: u8) -> bool {
        let name = self.name();
        let found = model.get(name).copied();
        let parent = name.rsplit_once('/').map(|(parent, _)| parent);
        let has_parent = parent.is_none_or(|parent| model.get(parent) == Some(&None));
        let is_empty = !model
            .keys()
            .any(|other| other.starts_with(&format!("{name}/")));
        let may = match self {
            Self::Create(_) | Self::Mkdir(_) => found.is_none() && has_parent,
            Self::Replace(_) => matches!(found, Some(Some(_))),
            Self::Delete(_) => found.is_some() && is_empty,
        };
        if may {
            match self {
                Self::Create(_) | Self::Replace(_) => model.insert(name.into(), Some(version)),
                Self::Mkdir(_) => model.insert(name.into(), None),
                Self::Delete(_) => model.remove(name),
            };
        }
        may
    }

    /// Its entry, with the data of a file put; `None` where the volume has no room for it.
    fn entry<M: Memory>(self, host: &mut Host<M>, version: u8) -> Result<Option<Entry>, Fault> {
        let path = RelPath::new(self.name().as_bytes()).unwrap();
        let slot = host
            .replay
            .names()
            .lookup(path.as_bytes())
            .map_or(host.replay.next(), |node| node.slot());
        let replace = matches!(self, Self::Replace(_));
        Ok(Some(match self {
            Self::Mkdir(_) => Entry::Mkdir(MkdirEntry { path, owner: OWNER }),
            Self::Delete(_) => Entry::Delete(DeleteEntry { path, slot }),
            Self::Create(_) | Self::Replace(_) => {
                let size = ByteLen(SIZE as u64);
                let space = host.replay.space_mut();
                let Ok(map) = space.allocate(size, Layout::Contiguous) else {
                    return Ok(None);
                };
                let run = map.resolve(FileOff(0)).unwrap();
                host.coherence.put_data(run.offset, &[version; SIZE], 1)?;
                Entry::File(FileEntry {
                    path,
                    size,
                    owner: OWNER,
                    replace,
                    map,
                })
            }
        }))
    }
}

/// What a host finds, read as readers read it.
fn found<M: Memory>(host: &Host<M>) -> Result<Model, String> {
    if let Some(finding) = host.replay.findings().first() {
        return Err(format!("slot {:?}: {}", finding.slot, finding.kind));
    }
    let mut model = Model::new();
    for node in host.replay.names().iter().filter(NodeRef::is_live) {
        let name = String::from_utf8(node.path().to_vec()).unwrap();
        if node.is_dir() {
            model.insert(name, None);
            continue;
        }
        let run = node.map().unwrap().resolve(FileOff(0)).unwrap();
        let mut bytes = [0; SIZE];
        host.coherence
            .read_data(run.offset, &mut bytes)
            .map_err(|fault| fault.to_string())?;
        // What the volume began with has a content of its own.
        let version = if bytes[..10] == *b"0123456789" {
            0
        } else {
            bytes[0]
        };
        if version > 0 && bytes != [version; SIZE] {
            return Err(format!("{name} is torn"));
        }
        model.insert(name, Some(version));
    }
    Ok(model)
}

/// One commit of some of the operations, those that can be done together; the model after it, if it
/// comes to its end.
fn commit(sim: &SimMemory, ops: &[Op], version: u8, before: &Model) -> Result<Model, String> {
    let mut after = before.clone();
    let outcome = (|| {
        let mut host = Host::open(sim.host(0))?;
        if found(&host)? != *before {
            return Err("the writer finds something else".into());
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut touched: Vec<&str> = Vec::new();
        for op in ops {
            // What stands in the log is named by its slot: one change to a name in a commit.
            let mut tried = after.clone();
            if touched.contains(&op.name()) || !op.apply(&mut tried, version) {
                continue;
            }
            let Some(entry) = op.entry(&mut host, version).map_err(|e| e.to_string())? else {
                continue;
            };
            entries.push(entry);
            touched.push(op.name());
            after = tried;
        }
        let batch = append::plan(&host.replay, &entries).map_err(|e| e.to_string())?;
        host.coherence.append(&batch).map_err(|e| e.to_string())
    })();
    if let Err(error) = &outcome
        && !sim.has_crashed(0)
    {
        return Err(format!("{ops:?}: {error}"));
    }
    Ok(after)
}

fn op() -> impl Strategy<Value = Op> {
    (0..4, 0..NAMES.len()).prop_map(|(kind, name)| match kind {
        0 => Op::Create(name),
        1 => Op::Replace(name),
        2 => Op::Delete(name),
        _ => Op::Mkdir(name),
    })
}

/// Some operations, and after how many steps of the memory the host crashes, if it does.
fn step() -> impl Strategy<Value = (Vec<Op>, Option<u64>)> {
    let ops = prop::collection::vec(op(), 1..4);
    (ops, prop::option::of(0_u64..80))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn coherence_of_any_sequence_of_commits_and_crashes(
        steps in prop::collection::vec(step(), 1..9),
        seed in any::<u64>(),
    ) {
        let sim = volume(Box::new(Random::new(seed)));
        let mut model = Model::from([("early".into(), None), ("early/file".into(), Some(0))]);
        for (number, (ops, crash)) in (1..).zip(steps) {
            if let Some(after) = crash {
                sim.set_crash_after(0, sim.ops(0) + after);
            }
            let after = commit(&sim, &ops, number, &model).map_err(TestCaseError::fail)?;
            // A host that crashed in its last fence has told nobody that it was done.
            let done = !sim.has_crashed(0);
            if crash.is_some() && !sim.has_crashed(0) {
                // As late as can be: nothing after the commit is lost.
                sim.crash(0);
            }
            let reader = Host::open(sim.host(1)).map_err(TestCaseError::fail)?;
            let seen = found(&reader).map_err(TestCaseError::fail)?;
            if done {
                prop_assert_eq!(&seen, &after, "what was committed is there");
            } else {
                prop_assert!(seen == model || seen == after, "{:?}: {:?}", ops, seen);
            }
            model = seen;
            if sim.has_crashed(0) {
                sim.restart(0);
            }
        }
    }
}
