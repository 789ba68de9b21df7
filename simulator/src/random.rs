//! Random numbers of one run: independent ChaCha streams of one seed, integers only, so that a run is the same
//! on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream of random numbers is for. Drawing from one never changes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Sizes of the cluster and which faults are on.
    Plan,
    /// Delays and losses of links.
    Network,
    /// Times and victims of faults.
    Faults,
    /// Delays of a process between a burst and its flush.
    Scheduling,
    /// Identities and seeds of processes.
    Identity,
    /// Which faults `--faults` switches on.
    Choice,
    /// What happens at crash points.
    CrashPoints,
    /// What client number `.0` does.
    Client(u32),
}

impl Purpose {
    fn stream(self) -> u64 {
        match self {
            Purpose::Plan => 1,
            Purpose::Network => 2,
            Purpose::Faults => 3,
            Purpose::Scheduling => 4,
            Purpose::Identity => 5,
            Purpose::Choice => 6,
            Purpose::CrashPoints => 7,
            Purpose::Client(number) => 1000 + u64::from(number),
        }
    }
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    inner: ChaCha8Rng,
}

impl Random {
    /// The stream of `seed` for `purpose`.
    pub fn new(seed: u64, purpose: Purpose) -> Random {
        let mut inner = ChaCha8Rng::seed_from_u64(seed);
        inner.set_stream(purpose.stream());
        Random { inner }
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.inner.next_u64()
    }

    /// A number below `bound`, which must not be 0 (multiply-shift; the bias is below 2⁻³² for small bounds).
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no element");
        ((u128::from(self.inner.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `per_million` of a million cases.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }

    /// A waiting time around `mean`: uniform up to twice the mean, one time in 16 up to eight times of it.
    pub fn around(&mut self, mean: u64) -> u64 {
        let bound = if self.below(16) == 0 { mean * 8 } else { mean * 2 };
        self.below(bound + 1)
    }

    /// One of `choices`.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Sixteen random bytes.
    pub fn identity(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.inner.fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |purpose| {
            let mut random = Random::new(7, purpose);
            (0..8).map(|_| random.bits()).collect::<Vec<_>>()
        };
        assert_eq!(draw(Purpose::Plan), draw(Purpose::Plan));
        assert_ne!(draw(Purpose::Plan), draw(Purpose::Network));
        assert_ne!(draw(Purpose::Client(1)), draw(Purpose::Client(2)));
    }

    #[test]
    fn bounds_hold() {
        let mut random = Random::new(1, Purpose::Plan);
        for bound in 1..200 {
            assert!(random.below(bound) < bound);
            let value = random.between(bound, bound + 3);
            assert!((bound..=bound + 3).contains(&value));
        }
    }
}
