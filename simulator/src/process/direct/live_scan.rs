//! What a scan while traffic runs asks for, and what it has found so far.

use super::live_range::LiveRange;
use crate::history::{Found, Register, ScanRecord, Violation};
use crate::queue::Time;
use crate::random::Random;
use crate::workload::{Content, KeyBound, RegisterTable};
use duet_protocol::scan_program::{
    Aggregate, Comparison, Filter, Function, Merger, ScanProgram, encode_program,
};
use duet_protocol::value::Value;
use std::collections::BTreeSet;

/// A scan of all rows, of those within bounds, or of their number.
#[derive(Debug)]
pub struct LiveScan {
    began: Time,
    bound: Option<KeyBound>,
    least_counter: Option<i64>,
    /// Section of the request.
    pub program: Vec<u8>,
    /// The range that is read, if the rows come in the order of an index.
    pub range: Option<LiveRange>,
    keys: BTreeSet<u64>,
    merger: Option<Merger>,
}

impl LiveScan {
    /// A scan of a table, drawn at random.
    ///
    /// # Panics
    /// Never: the programs fit the tables.
    pub fn draw(random: &mut Random, table: &RegisterTable, keys: u64, now: Time) -> LiveScan {
        let bound = random.chance(600_000).then(|| table.bound(random.below(keys.max(1))));
        let counts = random.chance(350_000);
        let least_counter = (!counts && random.chance(300_000)).then(|| random.below(6) as i64);
        let counter = table.counter_column();
        let indexes = table.indexes();
        let range = random.chance(500_000).then(|| match random.below(2 + indexes.len() as u64) {
            number @ 0..2 => {
                // A range within a bound needs no condition, but may have it too.
                let within = bound.as_ref().filter(|_| number == 0);
                LiveRange::of_primary_key(random, table, within)
            }
            number => {
                let (index, columns) = &indexes[number as usize - 2];
                LiveRange::of_index(random, table, (*index, columns), least_counter)
            }
        });
        let mut conditions: Vec<Filter<u16>> = bound.iter().map(KeyBound::filter).collect();
        conditions.extend(least_counter.map(|least| Filter::Compare {
            column: counter,
            comparison: Comparison::GreaterOrEqual,
            value: Value::Int(least),
        }));
        let of = |function, column| Aggregate { function, column };
        let program = ScanProgram {
            filter: (!conditions.is_empty()).then_some(Filter::And(conditions)),
            columns: Vec::new(),
            aggregates: counts.then(|| {
                vec![
                    of(Function::Count, None),
                    of(Function::Sum, Some(counter)),
                    of(Function::Minimum, Some(counter)),
                ]
            }),
        };
        let mut bytes = Vec::new();
        if !program.is_plain() {
            encode_program(table.layout(), &program, &mut bytes).expect("the program fits");
        }
        let merger = counts.then(|| Merger::new(table.layout(), &program, 1).expect("the program fits"));
        LiveScan { began: now, bound, least_counter, program: bytes, range, keys: BTreeSet::new(), merger }
    }

    /// Whether the pages have aggregates instead of rows.
    pub fn counts(&self) -> bool {
        self.merger.is_some()
    }

    /// A page with aggregates.
    pub fn add(&mut self, group: &[u8], values: &[u8]) -> Result<(), Violation> {
        match &mut self.merger {
            Some(merger) => {
                merger.add(group, values).map_err(|error| Violation::new("scans add up", error.to_string()))
            }
            None => Ok(()),
        }
    }

    /// A row of a page.
    pub fn see(&mut self, register: Register, content: &Content) -> Result<(), Violation> {
        let outside = self.bound.is_some_and(|bound| !bound.contains(content.key))
            || self.least_counter.is_some_and(|least| content.counter < least);
        if outside {
            return Err(Violation::new(
                "only rows that pass a filter come",
                format!("{register}: {content:?}"),
            ));
        }
        // A row that moves in its index may be met again, as what it has become.
        if !self.keys.insert(content.key) && !self.moves() {
            return Err(Violation::new("a scan returns each row once", format!("{register}")));
        }
        Ok(())
    }

    fn moves(&self) -> bool {
        self.range.as_ref().is_some_and(LiveRange::moves)
    }

    /// The end of the table was reached.
    pub fn finish(self, table: u32, now: Time) -> Option<ScanRecord> {
        let moves = self.moves();
        let found = match self.merger {
            // Rows that move may be counted twice.
            Some(_) if moves => return None,
            Some(merger) => {
                let row = merger.finish().ok()?.pop()?;
                let Some(Value::UInt(count)) = row.first() else { return None };
                Found::Count(*count)
            }
            // Which rows pass a condition on the counter changes all the time.
            None if self.least_counter.is_some() => return None,
            None => Found::Keys(self.keys),
        };
        Some(ScanRecord { table, bound: self.bound, began: self.began, ended: now, moves, found })
    }
}
