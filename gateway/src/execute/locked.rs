//! Rows that a statement locks: found without a lock, locked by their keys, and looked at once more.

use crate::error::Result;
use crate::execute::read::{Rows, Values, Wanted, read_each};
use crate::execute::select::sort;
use crate::execute::transaction::{OpenTransaction, key_of};
use crate::expression::{Environment, Expression};
use crate::memory::Held;
use crate::plan::BoundAccess;
use crate::plan::pushdown::conditions;
use duet_client::{Client, Lock, Table, Value};

/// Which rows are wanted.
pub struct Search<'a> {
    /// Their table.
    pub table: &'a Table,
    /// What is true of them, as far as the way to them does not say so.
    pub filter: Option<&'a Expression>,
    /// Which of them are wanted first, each part downwards or not.
    pub order: &'a [(Expression, bool)],
    /// Whether the index that they are found by has this order, and is read backwards for it.
    pub sorted: Option<bool>,
    /// How many of them. No others are locked, but those of keys whose order is not known before, and those that have changed before they
    /// were locked.
    pub limit: usize,
    /// How they are locked.
    pub lock: Lock,
}

/// The rows, with their locks, in any order; with some behind the limit where others have changed their place meanwhile.
///
/// # Errors
/// Those of expressions and of the cluster.
pub async fn find_locked(
    client: &Client,
    search: &Search<'_>,
    access: BoundAccess,
    environment: &Environment<'_>,
    transaction: &mut OpenTransaction,
) -> Result<Vec<Values>> {
    let Search { table, filter, order, limit, .. } = *search;
    let prepared = filter.and_then(|filter| filter.prepared(environment));
    // The place in the order of a row that passes, where it matters.
    let by_order = !order.is_empty() && limit != usize::MAX;
    let look = |row: &[Value]| -> Result<Option<Values>> {
        let at = environment.with_row(row);
        if let Some(filter) = prepared.as_ref().or(filter)
            && filter.truth(&at)? != Some(true)
        {
            return Ok(None);
        }
        let parts = order.iter().filter(|_| by_order);
        parts.map(|(part, _)| part.evaluate(&at)).collect::<Result<Values>>().map(Some)
    };
    let mut locked = Locked { rows: Vec::new(), counted: 0, held: transaction.memory().hold() };
    let access = match access {
        BoundAccess::Keys { index: None, keys } => {
            let limit = if order.is_empty() { limit } else { usize::MAX };
            let found = keys.into_iter().map(|key| (Values::new(), key)).collect();
            locked.add(&Search { limit, ..*search }, found, &look, transaction).await?;
            return Ok(locked.rows);
        }
        others => others,
    };
    // All of it is checked here once more: of rows that the transaction has written, and that others have changed.
    let condition = filter.and_then(|filter| conditions(filter, table, environment).0);
    let wanted = Wanted { filter: condition, order: search.sorted, ..Wanted::default() };
    let mut rows = Rows::open(client, table, access, wanted, Some(transaction)).await?;
    let as_they_come = !by_order || search.sorted.is_some() && !rows.is_mixed();
    let mut held = transaction.memory().hold();
    let mut found: Vec<(Values, Values)> = Vec::new();
    while locked.counted < limit
        && let Some(chunk) = rows.next().await?
    {
        for row in chunk {
            if let Some(place) = look(&row)? {
                let key = key_of(table, &row);
                held.add(&place)?;
                held.add(&key)?;
                found.push((place, key));
            }
        }
        if as_they_come {
            locked.add(search, std::mem::take(&mut found), &look, transaction).await?;
            held = transaction.memory().hold();
        }
    }
    sort(&mut found, order);
    locked.add(search, found, &look, transaction).await?;
    Ok(locked.rows)
}

struct Locked {
    rows: Vec<Values>,
    /// Those whose place in the order is as they were found: one that has moved may come behind others that are not locked yet.
    counted: usize,
    held: Held,
}

impl Locked {
    /// Locks the rows of these places and keys and keeps those that pass, until there are enough.
    async fn add(
        &mut self,
        search: &Search<'_>,
        found: Vec<(Values, Values)>,
        look: &impl Fn(&[Value]) -> Result<Option<Values>>,
        transaction: &mut OpenTransaction,
    ) -> Result<()> {
        let (places, keys): (Vec<Values>, Vec<Values>) = found.into_iter().unzip();
        let mut from = 0;
        while from < keys.len() && self.counted < search.limit {
            let some = from..keys.len().min(from.saturating_add(search.limit - self.counted));
            from = some.end;
            let rows = read_each(transaction, search.table, &keys[some.clone()], Some(search.lock)).await?;
            for (before, row) in places[some].iter().zip(rows) {
                let Some(row) = row else { continue };
                if let Some(place) = look(&row)? {
                    self.counted += usize::from(*before == place);
                    self.held.add(&row)?;
                    self.rows.push(row);
                }
            }
        }
        Ok(())
    }
}
