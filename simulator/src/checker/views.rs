//! Views in true time: a number means one view, whoever has applied it, and who leads the management nodes knows every view that was
//! ever committed.

use crate::history::Violation;
use duet_protocol::record::View;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// The views that management nodes have applied, by number.
#[derive(Debug, Default)]
pub struct ViewChecker {
    seen: BTreeMap<u64, (u64, u32)>,
}

impl ViewChecker {
    /// Management node `node` has applied this view.
    ///
    /// # Errors
    /// When another one has applied another view of this number.
    pub fn applied(&mut self, node: u32, view: &View) -> Result<(), Violation> {
        if view.number == 0 {
            return Ok(());
        }
        let text = format!("{view:?}");
        let hash = xxh3_64(text.as_bytes());
        let (known, by) = *self.seen.entry(view.number).or_insert((hash, node));
        if known == hash {
            return Ok(());
        }
        let detail =
            format!("management nodes {by} and {node} differ in view {}: {node} has {text}", view.number);
        Err(Violation::new("a view is decided once", detail))
    }

    /// Management node `node` leads in the highest term and has applied all that earlier leaders have committed, up to view `number`.
    ///
    /// # Errors
    /// When a later view was applied by anybody before.
    pub fn leads(&self, node: u32, number: u64) -> Result<(), Violation> {
        match self.seen.last_key_value() {
            Some((newest, (_, by))) if *newest > number => {
                let detail =
                    format!("management node {node} leads with view {number}, {by} has applied {newest}");
                Err(Violation::new("who leads knows every view", detail))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_view_of_a_number_and_a_forgetful_leader_are_found() {
        let view = |number, partitions: usize| View {
            number,
            partitions: vec![Default::default(); partitions],
            ..View::default()
        };
        let mut checker = ViewChecker::default();
        assert_eq!(checker.applied(1, &view(0, 7)), Ok(()));
        assert_eq!(checker.applied(1, &view(1, 2)), Ok(()));
        assert_eq!(checker.applied(2, &view(1, 2)), Ok(()));
        assert!(checker.applied(3, &view(1, 3)).is_err());
        assert_eq!(checker.applied(1, &view(2, 2)), Ok(()));
        assert_eq!(checker.leads(1, 2), Ok(()));
        assert!(checker.leads(2, 1).is_err());
    }
}
