use std::collections::BTreeSet;

use super::*;

const AT: RegionOff = RegionOff(128);

fn load<const N: usize>(host: &SimHost, at: RegionOff) -> [u8; N] {
    let mut bytes = [0; N];
    host.load(at, &mut bytes).unwrap();
    bytes
}

fn refresh(host: &SimHost, at: RegionOff, len: u64) {
    host.invalidate(at, len).unwrap();
    host.fence_invalidate();
}

fn publish(host: &SimHost, at: RegionOff, len: u64) {
    host.write_back(at, len).unwrap();
    host.fence_stores();
}

/// Everything that `run` may return, over all decisions.
fn outcomes<T: Ord>(hosts: usize, mut run: impl FnMut(SimMemory) -> T) -> BTreeSet<T> {
    let mut found = BTreeSet::new();
    let explored = Explorer::new(100_000)
        .explore(|oracle| {
            found.insert(run(SimMemory::with_oracle(1024, hosts, oracle)));
            Ok::<_, String>(())
        })
        .unwrap();
    assert!(explored.complete);
    found
}

#[test]
fn an_unflushed_line_is_lost_or_not() {
    let found = outcomes(1, |sim| {
        sim.host(0).store(AT, b"x").unwrap();
        sim.crash(0);
        sim.snapshot()[128]
    });
    assert_eq!(found, BTreeSet::from([0, b'x']));
}

#[test]
fn a_line_that_is_written_back_but_not_fenced_is_lost_or_not() {
    let found = outcomes(1, |sim| {
        sim.host(0).store(AT, b"x").unwrap();
        sim.host(0).write_back(AT, 1).unwrap();
        sim.crash(0);
        sim.snapshot()[128]
    });
    assert_eq!(found, BTreeSet::from([0, b'x']));
}

#[test]
fn a_fence_alone_does_not_write_back() {
    let found = outcomes(1, |sim| {
        sim.host(0).store(AT, b"x").unwrap();
        sim.host(0).fence_stores();
        sim.crash(0);
        sim.snapshot()[128]
    });
    assert_eq!(found, BTreeSet::from([0, b'x']));
}

#[test]
fn a_flushed_and_fenced_line_survives() {
    let found = outcomes(1, |sim| {
        sim.host(0).store(AT, b"x").unwrap();
        publish(&sim.host(0), AT, 1);
        sim.crash(0);
        sim.snapshot()[128]
    });
    assert_eq!(found, BTreeSet::from([b'x']));
}

#[test]
fn lines_are_lost_independently_of_each_other() {
    let found = outcomes(1, |sim| {
        sim.host(0).store(RegionOff(0), &[b'x'; 128]).unwrap();
        sim.crash(0);
        let after = sim.snapshot();
        (after[0], after[64])
    });
    assert_eq!(found.len(), 4);
}

#[test]
fn an_earlier_store_to_a_line_may_be_all_that_lands() {
    let found = outcomes(1, |sim| {
        sim.host(0).store(AT, b"a").unwrap();
        sim.host(0).store(AT, b"b").unwrap();
        sim.crash(0);
        sim.snapshot()[128]
    });
    assert_eq!(found, BTreeSet::from([0, b'a', b'b']));
}

#[test]
fn what_is_flushed_later_does_not_take_the_first_flush_back() {
    let found = outcomes(1, |sim| {
        let host = sim.host(0);
        host.store(AT, b"a").unwrap();
        host.write_back(AT, 1).unwrap();
        host.store(AT, b"b").unwrap();
        host.fence_stores();
        sim.crash(0);
        sim.snapshot()[128]
    });
    assert_eq!(found, BTreeSet::from([b'a', b'b']));
}

#[test]
fn a_reader_may_see_a_store_before_it_is_flushed() {
    let found = outcomes(2, |sim| {
        sim.host(0).store(AT, b"x").unwrap();
        refresh(&sim.host(1), AT, 1);
        load::<1>(&sim.host(1), AT)
    });
    assert_eq!(found, BTreeSet::from([[0], *b"x"]));
}

#[test]
fn a_stale_reader_sees_the_old_bytes_until_it_invalidates_and_fences() {
    for invalidate in [false, true] {
        for fence in [false, true] {
            let found = outcomes(2, |sim| {
                let (writer, reader) = (sim.host(0), sim.host(1));
                load::<1>(&reader, AT);
                writer.store(AT, b"x").unwrap();
                publish(&writer, AT, 1);
                if invalidate {
                    reader.invalidate(AT, 1).unwrap();
                }
                if fence {
                    reader.fence_invalidate();
                }
                load::<1>(&reader, AT)
            });
            let fresh = invalidate && fence;
            let expected = if fresh {
                BTreeSet::from([*b"x"])
            } else {
                BTreeSet::from([[0], *b"x"])
            };
            assert_eq!(found, expected, "invalidate {invalidate}, fence {fence}");
        }
    }
}

#[test]
fn a_line_may_be_stale_that_was_never_read() {
    let found = outcomes(2, |sim| {
        sim.host(0).store(AT, b"x").unwrap();
        publish(&sim.host(0), AT, 1);
        load::<1>(&sim.host(1), AT)
    });
    assert_eq!(found, BTreeSet::from([[0], *b"x"]));
}

#[test]
fn an_invalidation_before_the_store_does_not_help() {
    let found = outcomes(2, |sim| {
        sim.host(1).invalidate(AT, 1).unwrap();
        sim.host(0).store(AT, b"x").unwrap();
        publish(&sim.host(0), AT, 1);
        sim.host(1).fence_invalidate();
        load::<1>(&sim.host(1), AT)
    });
    assert_eq!(found, BTreeSet::from([[0], *b"x"]));
}

#[test]
fn what_was_seen_once_is_not_unseen() {
    let found = outcomes(2, |sim| {
        sim.host(0).store(AT, b"x").unwrap();
        publish(&sim.host(0), AT, 1);
        (load::<1>(&sim.host(1), AT), load::<1>(&sim.host(1), AT))
    });
    assert_eq!(
        found,
        BTreeSet::from([([0], [0]), ([0], *b"x"), (*b"x", *b"x")])
    );
}

#[test]
fn a_host_sees_its_own_stores_at_once() {
    let found = outcomes(2, |sim| {
        let host = sim.host(0);
        host.store(AT, b"x").unwrap();
        host.stream(RegionOff(0), &[7; 64], 1).unwrap();
        (load::<1>(&host, AT), load::<1>(&host, RegionOff(63)))
    });
    assert_eq!(found, BTreeSet::from([(*b"x", [7])]));
}

#[test]
fn a_dirty_stale_line_overwrites_its_neighbour_when_it_is_invalidated() {
    let found = outcomes(2, |sim| {
        let (careless, careful) = (sim.host(0), sim.host(1));
        careless.store(RegionOff(0), b"a").unwrap();
        careful.store(RegionOff(8), b"b").unwrap();
        publish(&careful, RegionOff(8), 1);
        refresh(&careless, RegionOff(0), 16);
        let after = sim.snapshot();
        (after[0], after[8])
    });
    assert!(
        found.contains(&(b'a', 0)),
        "the neighbour's byte is gone: {found:?}"
    );
    assert!(
        found.contains(&(b'a', b'b')),
        "evicted in between: {found:?}"
    );
}

#[test]
fn two_writers_of_one_line_lose_bytes_without_any_crash() {
    let found = outcomes(2, |sim| {
        for (host, at) in [(0, 0), (1, 8)] {
            sim.host(host).store(RegionOff(at), b"x").unwrap();
        }
        for (host, at) in [(0, 0), (1, 8)] {
            publish(&sim.host(host), RegionOff(at), 1);
        }
        let after = sim.snapshot();
        (after[0], after[8])
    });

    // The second line comes last, or was evicted before the first and is clean by then, or was
    // fetched after the first was evicted.
    assert_eq!(found, BTreeSet::from([(0, b'x'), (b'x', 0), (b'x', b'x')]));
}

#[test]
fn streamed_bytes_land_in_any_order_until_they_are_fenced() {
    for fence in [false, true] {
        let found = outcomes(1, |sim| {
            sim.host(0).stream(RegionOff(0), &[1; 128], 2).unwrap();
            if fence {
                sim.host(0).fence_stores();
            }
            sim.crash(0);
            let after = sim.snapshot();
            (after[0], after[64])
        });
        let expected = if fence { 1 } else { 4 };
        assert_eq!(found.len(), expected, "fence {fence}: {found:?}");
        assert!(found.contains(&(1, 1)));
    }
}

#[test]
fn streamed_words_tear_when_asked_to() {
    let found = outcomes(1, |sim| {
        sim.tear_words(true);
        sim.host(0).stream(RegionOff(0), &[1; 64], 1).unwrap();
        sim.crash(0);
        sim.snapshot()[..64].to_vec()
    });
    assert_eq!(found.len(), 256);
}

#[test]
fn a_streamed_line_that_is_streamed_again_keeps_the_newer() {
    let found = outcomes(1, |sim| {
        sim.host(0).stream(RegionOff(0), &[1; 64], 1).unwrap();
        sim.host(0).stream(RegionOff(0), &[2; 64], 1).unwrap();
        let unfenced = sim.clone();
        sim.host(0).fence_stores();
        unfenced.snapshot()[0]
    });
    assert_eq!(found, BTreeSet::from([2]));
}

#[test]
fn edges_of_a_stream_share_lines_as_stores_do() {
    let sim = SimMemory::new(1024, 1);
    let host = sim.host(0);
    host.store(RegionOff(0), &[9; 256]).unwrap();
    host.stream(RegionOff(10), &[1; 150], 1).unwrap();
    host.fence_stores();
    let after = sim.snapshot();
    let mut expected = vec![9; 160];
    expected[10..].fill(1);
    expected.extend([9; 32]);
    assert_eq!(after[..192], expected);
    assert_eq!(after[192..256], [0; 64], "never written back");
}

#[test]
fn words_of_a_store_land_in_order_when_they_may_tear() {
    let run = |tear| {
        outcomes(1, move |sim| {
            sim.tear_words(tear);
            sim.host(0).store(RegionOff(4), &[1; 16]).unwrap();
            sim.crash(0);
            sim.snapshot()[..24].to_vec()
        })
    };
    assert_eq!(run(false).len(), 2);
    let torn = run(true);
    assert_eq!(torn.len(), 4);
    assert!(
        torn.iter()
            .all(|after| after.is_sorted_by(|a, b| a == b || *b == 0 || *a == 0))
    );
}

#[test]
fn a_pair_is_whole_unless_pairs_may_tear() {
    let run = |tear| {
        outcomes(2, move |sim| {
            sim.tear_pairs(tear);
            assert_eq!(sim.host(0).pair_is_atomic(), !tear);
            sim.host(0).store_pair(AT, [1, 2]).unwrap();
            refresh(&sim.host(1), AT, 16);
            sim.host(1).load_pair(AT).unwrap()
        })
    };
    assert_eq!(run(false), BTreeSet::from([[0, 0], [1, 2]]));
    assert_eq!(run(true), BTreeSet::from([[0, 0], [1, 0], [1, 2]]));
}

#[test]
fn a_crash_comes_at_the_operation_it_is_set_to() {
    let sim = SimMemory::new(1024, 2);
    let host = sim.host(0);
    sim.set_crash_after(0, 2);
    host.store(AT, b"x").unwrap();
    host.write_back(AT, 1).unwrap();
    assert!(!sim.has_crashed(0));
    host.fence_stores();
    assert!(sim.has_crashed(0), "a fence is an operation");
    assert_eq!(host.load(AT, &mut [0]), Err(Fault::Crashed));
    assert_eq!(sim.ops(0), 2);
    assert_eq!(sim.snapshot()[128], 0, "lazy hardware lost it");
    sim.host(1).store(AT, b"y").unwrap();
}

#[test]
fn a_host_starts_again_with_cold_caches() {
    let sim = SimMemory::new(1024, 2);
    sim.host(0).store(AT, b"x").unwrap();
    publish(&sim.host(0), AT, 1);
    sim.crash(1);
    sim.restart(1);
    assert_eq!(load(&sim.host(1), AT), *b"x");
}

#[test]
fn what_a_crash_left_does_not_change_afterwards() {
    let found = outcomes(2, |sim| {
        sim.host(0).store(AT, b"x").unwrap();
        sim.crash(0);
        let mut seen = [[0]; 2];
        for seen in &mut seen {
            refresh(&sim.host(1), AT, 1);
            *seen = load::<1>(&sim.host(1), AT);
        }
        seen
    });
    assert_eq!(found, BTreeSet::from([[[0], [0]], [*b"x", *b"x"]]));
}

#[test]
fn eager_hardware_hides_every_mistake() {
    let sim = SimMemory::with_oracle(1024, 2, Box::new(Eager));
    sim.host(0).store(AT, b"x").unwrap();
    assert_eq!(load(&sim.host(1), AT), *b"x");
}

#[test]
fn an_image_is_there_from_the_start() {
    let image: Vec<u8> = (0..200).collect();
    let sim = SimMemory::with_image(&image, 1, Box::new(Lazy));
    assert_eq!(sim.snapshot(), image);
    assert_eq!(load(&sim.host(0), RegionOff(60)), [60, 61, 62, 63, 64]);
}

#[test]
fn bounds_and_counters_are_those_of_memory() {
    let sim = SimMemory::new(1000, 1);
    let host = sim.host(0);
    let outside = |at, len| {
        Err(Fault::OutOfRange {
            at: RegionOff(at),
            len,
            size: 1000,
        })
    };
    assert_eq!(host.store(RegionOff(999), b"xy"), outside(999, 2));
    assert_eq!(
        host.load(RegionOff(u64::MAX), &mut [0]),
        outside(u64::MAX, 1)
    );
    assert_eq!(
        host.load_pair(RegionOff(8)),
        Err(Fault::Misaligned { at: RegionOff(8) })
    );
    host.store(RegionOff(60), &[1; 10]).unwrap();
    assert_eq!(host.write_back(RegionOff(60), 10), Ok(2));
    assert_eq!(host.invalidate(RegionOff(64), 0), Ok(0));
    assert_eq!(host.invalidate(RegionOff(64), 64), Ok(1));
    host.zero(RegionOff(0), 128, 1).unwrap();
    host.fence_stores();
    host.fence_invalidate();
    let expected = Counters {
        lines_written_back: 2,
        lines_invalidated: 1,
        store_fences: 1,
        invalidate_fences: 1,
        bytes_streamed: 128,
        bytes_stored: 10,
    };
    assert_eq!(sim.counters(0), expected);
}

/// A record is written, then a flag that says so. With `flush_first` the record is in memory before
/// the flag is stored; without, it is a protocol that looks right and is wrong.
fn record_then_flag(oracle: Box<dyn Oracle>, flush_first: bool, crash: u64) -> Result<(), String> {
    const RECORD: RegionOff = RegionOff(0);
    const FLAG: RegionOff = RegionOff(128);
    let sim = SimMemory::with_oracle(256, 2, oracle);
    let (writer, reader) = (sim.host(0), sim.host(1));
    sim.set_crash_after(0, crash);
    let write = || -> Result<(), Fault> {
        writer.store(RECORD, &[1; 100])?;
        writer.write_back(RECORD, 100)?;
        if flush_first {
            writer.fence_stores();
        }
        writer.store_pair(FLAG, [1, 1])?;
        writer.write_back(FLAG, 16)?;
        writer.fence_stores();
        Ok(())
    };
    let _ = write();
    refresh(&reader, FLAG, 16);
    if reader.load_pair(FLAG).unwrap() == [1, 1] {
        refresh(&reader, RECORD, 100);
        if load::<100>(&reader, RECORD) != [1; 100] {
            return Err("the flag is set and the record is not there".into());
        }
    }
    Ok(())
}

#[test]
fn coherence_of_a_record_and_its_flag_holds_at_every_crash_and_decision() {
    for crash in 0..8 {
        let explored = Explorer::new(10_000)
            .explore(|oracle| record_then_flag(oracle, true, crash))
            .unwrap();
        assert!(explored.complete, "{explored:?}");
    }
}

#[test]
fn coherence_without_the_fence_is_found_to_be_broken() {
    let found = (0..8).find_map(|crash| {
        let explorer = Explorer::new(10_000);
        explorer
            .explore(|oracle| record_then_flag(oracle, false, crash))
            .err()
    });
    let found = found.expect("some crash shows a flag without its record");
    assert!(!found.picks.is_empty());
}

#[test]
fn coherence_is_broken_for_some_random_seed_too() {
    let broken = |fence| {
        (0..200).filter(move |seed| {
            record_then_flag(Box::new(Random::new(*seed)), fence, seed % 8).is_err()
        })
    };
    assert_eq!(broken(true).count(), 0);
    assert!(broken(false).count() > 0);
}
