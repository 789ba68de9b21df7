//! A small deterministic random source for jitter and request identities.

/// xorshift64* (Marsaglia 2003, Vigna 2016): short, and good enough for jitter.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        // One step of splitmix64, so that neighbouring seeds differ in all bits.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Random { state: (mixed ^ (mixed >> 31)) | 1 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Between half of `value` and `value`.
    pub(crate) fn jitter(&mut self, value: u64) -> u64 {
        value / 2 + self.next() % (value / 2 + 1)
    }

    /// Exponential back-off from `first` to `last`, jittered.
    pub(crate) fn backoff(&mut self, first: u64, last: u64, tries: u32) -> u64 {
        let wait = first.saturating_mul(1 << tries.min(20)).min(last);
        self.jitter(wait)
    }

    /// A random identity that is not all zero.
    pub(crate) fn identity(&mut self, process: &[u8; 16]) -> [u8; 16] {
        let mut identity = *process;
        let (first, second) = (self.next() | 1, self.next());
        for (index, byte) in identity.iter_mut().enumerate() {
            let word = if index < 8 { first } else { second };
            *byte ^= (word >> (8 * (index % 8))) as u8;
        }
        if identity == [0; 16] { [1; 16] } else { identity }
    }
}
