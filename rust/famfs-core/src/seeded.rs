//! Seeded content: the bytes that `creat --randomize` writes and `verify` expects.
//!
//! Owns the generator. splitmix64 of the 32-bit seed gives the two words of state of
//! xoroshiro128+ with the constants 55, 14 and 36 of its 2016 version (Blackman and Vigna); each
//! output gives its low 32 bits, little endian. Content is compatible with the reference's.

/// The bytes of one seed, from the start of a file on.
///
/// ```
/// let mut bytes = [0; 4];
/// famfs_core::seeded::Seeded::new(1).fill(&mut bytes);
/// assert_eq!(bytes, [0x28, 0x49, 0x91, 0xee]);
/// ```
#[derive(Clone, Debug)]
pub struct Seeded {
    state: [u64; 2],
}

impl Seeded {
    /// The content of `seed`. By convention seed 0 means that a file's content is left alone.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let mut state = u64::from(seed);
        let mut splitmix = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self {
            state: [splitmix(), splitmix()],
        }
    }

    fn next(&mut self) -> [u8; 4] {
        let [s0, s1] = self.state;
        let [b0, b1, b2, b3, ..] = s0.wrapping_add(s1).to_le_bytes();
        let s1 = s1 ^ s0;
        self.state = [s0.rotate_left(55) ^ s1 ^ (s1 << 14), s1.rotate_left(36)];
        [b0, b1, b2, b3]
    }

    /// Writes the next bytes. A file may be written in pieces if all but the last are multiples of
    /// four bytes long.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let (words, tail) = bytes.as_chunks_mut::<4>();
        for word in words {
            *word = self.next();
        }
        if !tail.is_empty() {
            let word = self.next();
            tail.copy_from_slice(&word[..tail.len()]);
        }
    }
}
