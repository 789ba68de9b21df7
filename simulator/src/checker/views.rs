//! Views in true time: a number means one view, whoever has applied it, and who leads the management nodes knows every view that was
//! ever committed.

use crate::history::Violation;
use duet_protocol::record::View;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// A view as it was applied first.
#[derive(Clone, Copy, Debug)]
struct First {
    hash: u64,
    node: u32,
    term: u64,
}

/// The views that management nodes have applied, by number.
#[derive(Debug, Default)]
pub struct ViewChecker {
    seen: BTreeMap<u64, First>,
}

impl ViewChecker {
    /// Management node `node` has applied this view in Raft term `term`.
    ///
    /// # Errors
    /// When another one has applied another view of this number.
    pub fn applied(&mut self, node: u32, term: u64, view: &View) -> Result<(), Violation> {
        if view.number == 0 {
            return Ok(());
        }
        let text = format!("{view:?}");
        let hash = xxh3_64(text.as_bytes());
        let first = *self.seen.entry(view.number).or_insert(First { hash, node, term });
        if first.hash == hash {
            return Ok(());
        }
        let detail = format!(
            "management nodes {} and {node} differ in view {}: {node} has {text}",
            first.node, view.number
        );
        Err(Violation::new("a view is decided once", detail))
    }

    /// Management node `node` leads in Raft term `term` and has applied all that earlier terms have committed, up to view `number`.
    ///
    /// # Errors
    /// When a later view was applied by anybody in an earlier term.
    pub fn leads(&self, node: u32, term: u64, number: u64) -> Result<(), Violation> {
        let mut later = self.seen.range(number + 1..);
        match later.find(|(_, first)| first.term < term) {
            Some((newer, first)) => {
                let detail = format!(
                    "management node {node} leads in term {term} with view {number}, {} has applied {newer} in term {}",
                    first.node, first.term
                );
                Err(Violation::new("who leads knows every view", detail))
            }
            None => Ok(()),
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
        assert_eq!(checker.applied(1, 4, &view(0, 7)), Ok(()));
        assert_eq!(checker.applied(1, 4, &view(1, 2)), Ok(()));
        assert_eq!(checker.applied(2, 4, &view(1, 2)), Ok(()));
        assert!(checker.applied(3, 4, &view(1, 3)).is_err());
        assert_eq!(checker.applied(1, 4, &view(2, 2)), Ok(()));
        assert_eq!(checker.leads(1, 5, 2), Ok(()));
        assert!(checker.leads(2, 5, 1).is_err());
        assert_eq!(checker.leads(2, 4, 1), Ok(()), "its own disk may be late");
    }
}
