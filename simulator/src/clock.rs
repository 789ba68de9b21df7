//! Clocks of servers: time since the boot of their machines, which began at different times and runs at slightly different rates.
//!
//! The protocol allows rates that differ by 1 % between any two data nodes and compares no readings of different clocks, so both
//! hold for every plan. Clocks of data nodes never jump (what a stopped machine sees is a pause, which the simulator has); those of
//! management nodes may, for no lease uses them.

use crate::queue::Time;
use crate::random::Random;

/// Parts of a million by which two clocks may differ in rate, with a margin for rounding.
const LARGEST_DIFFERENCE: i64 = 9_800;
/// Longest time since boot when a run begins: thirty days.
const LONGEST_UP: Time = 30 * 24 * 3_600 * crate::queue::SECOND;

/// The clock of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootClock {
    /// Its reading when the run begins.
    ahead: Time,
    /// Parts of a million by which it is fast.
    rate: i64,
}

impl BootClock {
    /// The clocks of `count` servers: either all are a little wrong, or one of them as much as is allowed.
    pub fn draw(random: &mut Random, count: usize) -> Vec<BootClock> {
        let wrong = random.chance(500_000).then(|| random.below(count as u64) as usize);
        let rate = |random: &mut Random, index: usize| {
            let most = match wrong {
                Some(one) if one == index => LARGEST_DIFFERENCE,
                Some(_) => 0,
                None => LARGEST_DIFFERENCE / 2,
            };
            // The ends are where the allowance is used up.
            if random.chance(500_000) {
                *random.pick(&[-most, most])
            } else {
                random.below(2 * most as u64 + 1) as i64 - most
            }
        };
        (0..count)
            .map(|index| BootClock { ahead: random.below(LONGEST_UP), rate: rate(random, index) })
            .collect()
    }

    /// What it shows.
    pub fn read(&self, now: Time) -> Time {
        let now = i128::from(now);
        self.ahead + (now + now * i128::from(self.rate) / 1_000_000) as Time
    }

    /// When it shows this, rounded up; the end of time for the end of time.
    pub fn when(&self, reading: Time) -> Time {
        if reading == Time::MAX {
            return Time::MAX;
        }
        let since = i128::from(reading) - i128::from(self.ahead);
        let divisor = 1_000_000 + i128::from(self.rate);
        let time = (since * 1_000_000 + divisor - 1).div_euclid(divisor);
        time.clamp(0, i128::from(Time::MAX)) as Time
    }

    /// It jumps ahead.
    pub fn jump(&mut self, by: Time) {
        self.ahead += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::SECOND;
    use crate::random::Purpose;

    #[test]
    fn clocks_differ_by_less_than_one_per_cent_and_can_be_turned_round() {
        for seed in 0..200 {
            let clocks = BootClock::draw(&mut Random::new(seed, Purpose::Choice), 5);
            let ran: Vec<u64> = clocks.iter().map(|clock| clock.read(100 * SECOND) - clock.read(0)).collect();
            let (slowest, fastest) = (ran.iter().min().expect("five"), ran.iter().max().expect("five"));
            assert!(*fastest as f64 / *slowest as f64 <= 1.01, "{ran:?}");
            for clock in clocks {
                for now in [0, 1, 999_999_999, 77 * SECOND] {
                    assert!(clock.when(clock.read(now)).abs_diff(now) <= 2);
                }
            }
        }
        assert_eq!(BootClock::default().read(5), 5);
        assert_eq!(BootClock::default().when(Time::MAX), Time::MAX);
    }
}
