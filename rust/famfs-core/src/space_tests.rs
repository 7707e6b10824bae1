use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const MIB: u64 = 1 << 20;
const DATA: u64 = 10 * MIB;

fn space(size: u64) -> Space {
    Space::new(ByteLen(size), DATA)
}

fn extents(map: &Map) -> Vec<(u64, u64)> {
    map.extents()
        .iter()
        .map(|e| (e.offset.0, e.len.0))
        .collect()
}

#[test]
fn files_follow_each_other() {
    let mut space = space(64 * MIB);
    let mut one = |size| extents(&space.allocate(ByteLen(size), Layout::Contiguous).unwrap());
    assert_eq!(one(1), [(DATA, 2 * MIB)]);
    assert_eq!(one(3 * MIB), [(12 * MIB, 4 * MIB)]);
    assert_eq!(one(0), []);
    assert_eq!(one(2 * MIB), [(16 * MIB, 2 * MIB)]);
}

#[test]
fn what_is_no_longer_held_is_found_again() {
    let mut space = space(16 * MIB);
    let all = space
        .allocate(ByteLen(6 * MIB), Layout::Contiguous)
        .unwrap();
    let full = space.allocate(ByteLen(1), Layout::Contiguous).unwrap_err();
    assert_eq!(
        full,
        SpaceError::Full {
            wanted: 2 * MIB,
            free: 0,
            largest: 0
        }
    );
    space.hold([]);
    assert_eq!(
        space
            .allocate(ByteLen(6 * MIB), Layout::Contiguous)
            .unwrap(),
        all
    );
    for extent in all.extents().iter() {
        space.take(extent);
    }
    space.hold([]);
    assert!(space.allocate(ByteLen(1), Layout::Contiguous).is_err());
    assert_eq!(space.allocated(), ByteLen(16 * MIB));
}

#[test]
fn what_was_given_up_leaves_no_gap() {
    let mut space = space(1 << 30);
    let first = space.allocate(ByteLen(1), Layout::Contiguous).unwrap();
    let kept: Vec<Extent> = first.extents().to_vec();
    let gone = |space: &mut Space, size| {
        space.hold(&kept);
        extents(&space.allocate(ByteLen(size), Layout::Contiguous).unwrap())
    };
    // Sizes of less and of more than a word of the bitmap.
    for units in [1, 63, 64, 65, 200, 3] {
        assert_eq!(gone(&mut space, units * 2 * MIB)[0].0, DATA + 2 * MIB);
    }
    // What another still holds behind it is not passed back over.
    let other = Extent::primary(DATA + 600 * MIB, 2 * MIB);
    space.hold(kept.iter().chain([&other]));
    space.take(&other);
    space.hold(&kept);
    let found = space.allocate(ByteLen(1), Layout::Contiguous).unwrap();
    assert_eq!(extents(&found)[0].0, DATA + 602 * MIB);
}

#[test]
fn an_odd_end_of_the_device_is_not_handed_out() {
    let mut space = space(13 * MIB);
    assert_eq!(space.capacity(), ByteLen(12 * MIB));
    space
        .allocate(ByteLen(2 * MIB), Layout::Contiguous)
        .unwrap();
    assert!(space.allocate(ByteLen(1), Layout::Contiguous).is_err());
    assert!(
        space
            .allocate(ByteLen(u64::MAX), Layout::Contiguous)
            .is_err()
    );
}

#[test]
fn strips_lie_in_different_buckets() {
    let size = 1 << 30;
    let mut space = space(size);
    let layout = Layout::Interleaved {
        strips: 4,
        buckets: 8,
        chunk_size: ByteLen(2 * MIB),
    };
    for _ in 0..7 {
        let map = space.allocate(ByteLen(33 * MIB), layout).unwrap();
        let mut buckets: Vec<_> = map
            .extents()
            .iter()
            .map(|e| (e.offset.0 / (size / 8), e.len.0))
            .collect();
        buckets.sort_unstable();
        buckets.dedup_by_key(|b| b.0);
        assert_eq!(buckets.len(), 4);
        assert!(
            buckets.iter().all(|b| b.1 == 10 * MIB),
            "17 chunks over 4 strips"
        );
        assert!(map.capacity() >= 33 * MIB);
    }
    let small = space.allocate(ByteLen(2 * MIB - 1), layout).unwrap();
    assert!(matches!(small, Map::Simple(_)), "smaller than a chunk");
}

#[test]
fn impossible_interleaving_is_refused() {
    let mut space = space(1 << 30);
    let mut ask = |strips, buckets, chunk_size| {
        let layout = Layout::Interleaved {
            strips,
            buckets,
            chunk_size: ByteLen(chunk_size),
        };
        space.allocate(ByteLen(64 * MIB), layout).unwrap_err()
    };
    for (strips, buckets, chunk) in [
        (0, 8, 2 * MIB),
        (17, 32, 2 * MIB),
        (4, 3, 2 * MIB),
        (4, 65, 2 * MIB),
        (4, 8, 3 * MIB),
        (4, 8, MIB),
        (4, 8, 6 * MIB),
    ] {
        let error = ask(strips, buckets, chunk);
        assert!(
            matches!(error, SpaceError::Interleave { .. }),
            "{strips} {buckets} {chunk}"
        );
    }
    // Buckets of 16 MiB have no room for strips of 32 MiB.
    assert!(matches!(
        ask(2, 64, 2 * MIB),
        SpaceError::NoBuckets { found: 0, .. }
    ));
}

#[derive(Clone, Debug)]
enum Step {
    One(u64),
    Strips {
        strips: usize,
        buckets: u64,
        size: u64,
    },
    Commit(usize),
    Forget(usize),
    Extend(usize, u64, u64),
    Cut(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..20 * MIB).prop_map(Step::One),
        (1usize..6, 1u64..9, 1..40 * MIB).prop_map(|(strips, more, size)| Step::Strips {
            strips,
            buckets: strips as u64 + more,
            size
        }),
        any::<usize>().prop_map(Step::Commit),
        any::<usize>().prop_map(Step::Forget),
        (any::<usize>(), 1..20 * MIB, 1..80 * MIB)
            .prop_map(|(at, need, want)| Step::Extend(at, need, want)),
        (any::<usize>(), 0..20 * MIB).prop_map(|(at, size)| Step::Cut(at, size)),
    ]
}

#[test]
fn a_file_grows_in_place_and_then_in_pieces_of_its_own() {
    let mut space = space(64 * MIB);
    let grown = space
        .extend(&Map::empty(), ByteLen(1), ByteLen(4 * MIB))
        .unwrap();
    let also = space.extend(&grown, ByteLen(1), ByteLen(1)).unwrap();
    assert_eq!(also.extents().len(), 1, "it goes on where it ended");
    assert_eq!(also.allocated().0, 6 * MIB);
    // Somebody else is next to it now.
    space
        .allocate(ByteLen(2 * MIB), Layout::Contiguous)
        .unwrap();
    let apart = space.extend(&also, ByteLen(1), ByteLen(2 * MIB)).unwrap();
    assert_eq!(apart.extents().len(), 2);
    assert_eq!(apart.cut(ByteLen(6 * MIB)), also);
    assert_eq!(apart.cut(ByteLen(0)), Map::empty());
    // No more is left than is needed: it takes what there is.
    let free = space.free();
    let all = space.extend(&apart, ByteLen(1), ByteLen(u64::MAX)).unwrap();
    assert_eq!(all.allocated().0, apart.allocated().0 + free.0);
    assert!(matches!(
        space.extend(&all, ByteLen(1), ByteLen(1)),
        Err(SpaceError::Full { free: 0, .. })
    ));
}

#[test]
fn a_file_has_sixteen_pieces_at_most() {
    let mut space = space(600 * MIB);
    let mut map = Map::empty();
    for pieces in 1..=16 {
        map = space.extend(&map, ByteLen(1), ByteLen(1)).unwrap();
        assert_eq!(map.extents().len(), pieces);
        space.allocate(ByteLen(1), Layout::Contiguous).unwrap();
    }
    let refused = space.extend(&map, ByteLen(3 * MIB), ByteLen(3 * MIB));
    assert_eq!(refused, Err(SpaceError::Pieces { wanted: 3 * MIB }));
}

proptest! {
    /// Nothing is handed out twice or past the end, whatever is committed or forgotten between.
    #[test]
    fn no_unit_is_handed_out_twice(size in 12 * MIB..600 * MIB, steps in prop::collection::vec(step(), 1..80)) {
        let mut space = space(size);
        let mut held: Vec<Map> = Vec::new();
        let mut taken: Vec<Map> = Vec::new();
        for step in steps {
            let (bytes, layout) = match step {
                Step::One(bytes) => (bytes, Layout::Contiguous),
                Step::Strips { strips, buckets, size } => {
                    (size, Layout::Interleaved { strips, buckets, chunk_size: ByteLen(2 * MIB) })
                }
                Step::Commit(at) if !held.is_empty() => {
                    let map = held.swap_remove(at % held.len());
                    map.extents().iter().for_each(|e| space.take(e));
                    taken.push(map);
                    continue;
                }
                Step::Forget(at) if !held.is_empty() => {
                    held.swap_remove(at % held.len());
                    space.hold(held.iter().flat_map(|map| map.extents().iter()));
                    continue;
                }
                Step::Extend(at, need, want) if !held.is_empty() => {
                    let at = at % held.len();
                    let (before, map) = (space.free().0, held[at]);
                    if let Ok(grown) = space.extend(&map, ByteLen(need), ByteLen(want)) {
                        let more = grown.allocated().0 - map.allocated().0;
                        prop_assert!(more >= need, "{more} of {need}");
                        prop_assert_eq!(space.free().0, before - more);
                        prop_assert_eq!(grown.cut(map.allocated()), map, "what was there stays where it is");
                        held[at] = grown;
                        let mut all: Vec<_> = held.iter().chain(&taken).flat_map(|map| map.extents().to_vec()).collect();
                        all.sort_by_key(|e| e.offset.0);
                        prop_assert!(all.iter().all(|e| e.offset.0 >= DATA && e.end().unwrap() <= size));
                        prop_assert!(all.windows(2).all(|two| two[0].end().unwrap() <= two[1].offset.0));
                    } else {
                        prop_assert_eq!(space.free().0, before, "a failure holds nothing");
                    }
                    continue;
                }
                Step::Cut(at, size) if !held.is_empty() => {
                    let at = at % held.len();
                    let (before, map) = (space.free().0, held[at]);
                    held[at] = map.cut(ByteLen(size));
                    prop_assert!(held[at].capacity() >= size.min(map.capacity()));
                    space.hold(held.iter().flat_map(|map| map.extents().iter()));
                    prop_assert_eq!(space.free().0, before + map.allocated().0 - held[at].allocated().0);
                    continue;
                }
                Step::Commit(_) | Step::Forget(_) | Step::Extend(..) | Step::Cut(..) => continue,
            };
            let before = space.free();
            if let Ok(map) = space.allocate(ByteLen(bytes), layout) {
                    prop_assert!(map.capacity() >= bytes);
                    for e in map.extents().iter() {
                        prop_assert!(e.offset.0 >= DATA && e.end().unwrap() <= size);
                        for other in held.iter().chain(&taken).flat_map(|map| map.extents().iter()) {
                            prop_assert!(e.end().unwrap() <= other.offset.0 || other.end().unwrap() <= e.offset.0);
                        }
                    }
                    prop_assert_eq!(space.free().0, before.0 - map.allocated().0);
                    held.push(map);
            } else {
                prop_assert_eq!(space.free(), before, "a failure holds nothing");
            }
        }
    }
}
