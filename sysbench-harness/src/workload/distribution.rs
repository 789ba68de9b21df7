//! How keys are drawn.

use super::mix64;
use anyhow::{Context, bail, ensure};
use rand::Rng;
use std::fmt;
use std::str::FromStr;

/// Which keys are asked for how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Every key equally often.
    Uniform,
    /// Zipf's law: the key of rank `r` has a share proportional to `r^-theta`; ranks are scattered over the keys.
    Zipfian {
        /// The exponent, above 0 and below 1.
        theta: f64,
    },
    /// Always the same key.
    Hot,
}

impl FromStr for Distribution {
    type Err = anyhow::Error;

    /// Reads `uniform`, `zipfian` (theta 0.99), `zipfian=0.7` or `hot`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, parameter) = match text.split_once('=') {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (text, None),
        };
        match (name, parameter) {
            ("uniform", None) => Ok(Self::Uniform),
            ("hot", None) => Ok(Self::Hot),
            ("zipfian", None) => Ok(Self::Zipfian { theta: 0.99 }),
            ("zipfian", Some(theta)) => {
                let theta: f64 = theta.parse().with_context(|| format!("`{theta}` is not a number"))?;
                ensure!(
                    theta > 0.0 && theta < 1.0,
                    "the exponent of zipfian lies between 0 and 1, not {theta}"
                );
                Ok(Self::Zipfian { theta })
            }
            _ => bail!("unknown distribution `{text}`; known are uniform, zipfian, zipfian=EXPONENT and hot"),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => formatter.write_str("uniform"),
            Self::Zipfian { theta } => write!(formatter, "zipfian={theta}"),
            Self::Hot => formatter.write_str("hot"),
        }
    }
}

/// Draws keys of `0..rows`. Made once per run (the zipfian constants take a pass over all ranks), then copied.
#[derive(Debug, Clone, Copy)]
pub struct KeyChooser {
    rows: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Uniform,
    Zipfian(Zipfian),
    Hot,
}

/// Constants of the rejection-free generator of Gray et al., "Quickly Generating Billion-Record Synthetic
/// Databases" (SIGMOD 1994), as YCSB uses it.
#[derive(Debug, Clone, Copy)]
struct Zipfian {
    alpha: f64,
    zeta: f64,
    eta: f64,
    second: f64,
}

impl KeyChooser {
    /// A chooser among `rows` keys; `rows` is at least 1.
    #[must_use]
    pub fn new(distribution: Distribution, rows: u64) -> Self {
        let kind = match distribution {
            Distribution::Uniform => Kind::Uniform,
            Distribution::Hot => Kind::Hot,
            Distribution::Zipfian { theta } => {
                let zeta: f64 = (1..=rows).map(|rank| (rank as f64).powf(-theta)).sum();
                let zeta_two = 1.0 + 0.5_f64.powf(theta);
                let eta = (1.0 - (2.0 / rows as f64).powf(1.0 - theta)) / (1.0 - zeta_two / zeta);
                Kind::Zipfian(Zipfian { alpha: 1.0 / (1.0 - theta), zeta, eta, second: zeta_two })
            }
        };
        Self { rows, kind }
    }

    /// The next key.
    pub fn next_key(&self, random: &mut impl Rng) -> u64 {
        match &self.kind {
            Kind::Uniform => random.random_range(0..self.rows),
            Kind::Hot => 0,
            Kind::Zipfian(constants) => mix64(constants.rank(self.rows, random.random::<f64>())) % self.rows,
        }
    }
}

impl Zipfian {
    /// The rank (0 is the most frequent) for a uniform number in `0..1`.
    fn rank(&self, rows: u64, uniform: f64) -> u64 {
        let scaled = uniform * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < self.second {
            return 1.min(rows - 1);
        }
        let rank = rows as f64 * (self.eta * uniform - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(rows - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn counts(distribution: Distribution, rows: u64, draws: u32) -> Vec<u32> {
        let chooser = KeyChooser::new(distribution, rows);
        let mut random = SmallRng::seed_from_u64(1);
        let mut counts = vec![0; rows as usize];
        for _ in 0..draws {
            counts[chooser.next_key(&mut random) as usize] += 1;
        }
        counts
    }

    #[test]
    fn uniform_reaches_every_key_about_equally() {
        let counts = counts(Distribution::Uniform, 100, 100_000);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipfian_follows_its_law_for_the_first_ranks() {
        let theta = 0.99;
        let rows = 1000;
        let draws = 200_000;
        let mut counts = counts(Distribution::Zipfian { theta }, rows, draws);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let zeta: f64 = (1..=rows).map(|rank| (rank as f64).powf(-theta)).sum();
        let expected = f64::from(draws) / zeta;
        // Scattering lets ranks share a key, so the most frequent key may be somewhat above its own share.
        assert!((0.9..1.3).contains(&(f64::from(counts[0]) / expected)), "{} {expected}", counts[0]);
    }

    #[test]
    fn hot_is_one_key_and_one_row_is_enough() {
        assert_eq!(counts(Distribution::Hot, 10, 1000)[0], 1000);
        for distribution in [Distribution::Uniform, Distribution::Zipfian { theta: 0.99 }, Distribution::Hot]
        {
            assert_eq!(counts(distribution, 1, 100), [100]);
        }
    }

    #[test]
    fn text_round_trip() {
        for text in ["uniform", "zipfian=0.7", "hot"] {
            assert_eq!(text.parse::<Distribution>().unwrap().to_string(), text);
        }
        for text in ["zipfian=1", "zipfian=x", "hot=3", "normal", ""] {
            assert!(text.parse::<Distribution>().is_err(), "{text}");
        }
    }
}
