//! The rows that are scanned, and what the right answers are: every column follows from the key.

use crate::workload::mix64;
use anyhow::{Context, Result, ensure};
use duet_client::{ColumnType, Row, TableDefinition, Value};
use std::collections::HashMap;

/// Groups of the case with few of them.
pub(super) const FEW_GROUPS: u64 = 10;
/// One in so many rows passes the selective filter.
pub(super) const SELECTED_ONE_IN: u64 = 100;
/// Bytes of the column that nobody asks for.
const PADDING_BYTES: u32 = 73;

/// What the rows of one group come to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) rows: u64,
    pub(super) amount: Option<i128>,
    pub(super) price: i128,
}

/// The rows of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) count: u64,
    pub(super) groups: u64,
}

impl Rows {
    pub(super) fn definition() -> Result<TableDefinition> {
        let builder = TableDefinition::builder("bench", "scan")
            .required("id", ColumnType::BigIntUnsigned)
            .required("few", ColumnType::Int)
            .required("many", ColumnType::Int)
            .nullable("amount", ColumnType::BigInt)
            .required("price", ColumnType::Decimal { precision: 12, scale: 2 })
            .required("percent", ColumnType::Int)
            .required("padding", ColumnType::Binary { bytes: PADDING_BYTES });
        builder.primary_key(["id"]).build().context("the table's definition")
    }

    pub(super) fn few(self, key: u64) -> u64 {
        mix64(key) % FEW_GROUPS
    }

    pub(super) fn many(self, key: u64) -> u64 {
        mix64(key ^ 0x5ca7) % self.groups
    }

    /// One in 16 rows has none.
    pub(super) fn amount(self, key: u64) -> Option<i64> {
        let random = mix64(key ^ 0xa307);
        (!random.is_multiple_of(16)).then_some((random % 2_000_001) as i64 - 1_000_000)
    }

    fn price(self, key: u64) -> i128 {
        i128::from(mix64(key ^ 0x3141) % 1_000_000)
    }

    pub(super) fn percent(self, key: u64) -> u64 {
        mix64(key ^ 0x9e77) % SELECTED_ONE_IN
    }

    /// The values of a row.
    pub(super) fn row(self, key: u64) -> Vec<Value> {
        vec![
            Value::UInt(key),
            Value::Int(self.few(key) as i64),
            Value::Int(self.many(key) as i64),
            self.amount(key).map_or(Value::Null, Value::Int),
            Value::Decimal { unscaled: self.price(key), scale: 2 },
            Value::Int(self.percent(key) as i64),
            Value::Bytes(vec![key as u8; PADDING_BYTES as usize]),
        ]
    }

    /// Whether these are the bytes of the row's last column.
    pub(super) fn is_padding(key: u64, bytes: &[u8]) -> bool {
        bytes == [key as u8; PADDING_BYTES as usize]
    }

    /// What every group comes to, computed here.
    pub(super) fn totals(self, group_of: impl Fn(u64) -> Option<u64>) -> HashMap<u64, Total> {
        let mut totals: HashMap<u64, Total> = HashMap::new();
        for key in 0..self.count {
            let Some(group) = group_of(key) else { continue };
            let total = totals.entry(group).or_default();
            total.rows += 1;
            if let Some(amount) = self.amount(key) {
                total.amount = Some(total.amount.unwrap_or(0) + i128::from(amount));
            }
            total.price += self.price(key);
        }
        totals
    }
}

/// Checks the answer: rows of a group column (if grouped), the count, and the sums of amount and price.
pub(super) fn check(rows: &[Row], column: Option<&str>, totals: &HashMap<u64, Total>) -> Result<()> {
    ensure!(rows.len() == totals.len(), "{} groups came, {} are right", rows.len(), totals.len());
    for row in rows {
        let group = match column {
            Some(column) => u64::try_from(row.get::<i64>(column)?).context("a group is negative")?,
            None => 0,
        };
        let total = totals.get(&group).with_context(|| format!("there is no group {group}"))?;
        let sum = |name: &str| match row.value(name) {
            Some(Value::Decimal { unscaled, .. }) => Ok(Some(*unscaled)),
            Some(Value::Null) => Ok(None),
            other => anyhow::bail!("{name} of group {group} is {other:?}"),
        };
        let found = Total {
            rows: row.get::<u64>("count(*)")?,
            amount: sum("sum(amount)")?,
            price: sum("sum(price)")?.unwrap_or(0),
        };
        ensure!(found == *total, "group {group} came to {found:?}, {total:?} is right");
    }
    Ok(())
}
