//! What a target is asked, when a run asks for more than one thing.

use crate::driver::Plan;
use crate::workload::Distribution;

/// A distribution of keys and a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    /// How keys are drawn.
    pub keys: Distribution,
    /// Whether this is an open loop of whole batches at half the rate of the closed loop before it.
    pub half_load: bool,
}

impl Variant {
    /// How it is driven after a closed loop that did `rate` operations per second.
    pub(super) fn plan(self, base: &Plan, rate: f64) -> Plan {
        match self.half_load {
            true => Plan { rate: Some(rate / 2.0), whole_batches: true, ..base.clone() },
            false => base.clone(),
        }
    }

    /// What a table calls it; `None` where all of a run is alike.
    pub(super) fn label(self, all: &[Variant]) -> Option<String> {
        let several_keys = all.iter().any(|other| other.keys != self.keys);
        let keys = several_keys.then(|| format!("{} keys", self.keys));
        let load = self.half_load.then(|| "half load".to_owned());
        let words: Vec<String> = keys.into_iter().chain(load).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_only_what_differs() {
        let uniform = Variant { keys: Distribution::Uniform, half_load: false };
        let half = Variant { half_load: true, ..uniform };
        let hot = Variant { keys: Distribution::Hot, ..uniform };
        assert_eq!(uniform.label(&[uniform]), None);
        assert_eq!(uniform.label(&[uniform, half]), None);
        assert_eq!(half.label(&[uniform, half]).as_deref(), Some("half load"));
        assert_eq!(hot.label(&[uniform, hot]).as_deref(), Some("hot keys"));
        assert_eq!(half.label(&[half, hot]).as_deref(), Some("uniform keys, half load"));
    }
}
