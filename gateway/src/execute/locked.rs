//! Rows that a statement locks: found without a lock, locked by their keys, and looked at once more.

use crate::error::Result;
use crate::execute::read::{Rows, Values, Wanted, read_keys};
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
    /// How many of them; no others are locked, but those of keys whose order is not known before.
    pub limit: usize,
    /// How they are locked.
    pub lock: Lock,
}

/// The rows, with their locks, in any order.
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
    let passes = |row: &[Value]| -> Result<bool> {
        match prepared.as_ref().or(filter) {
            Some(filter) => Ok(filter.truth(&environment.with_row(row))? == Some(true)),
            None => Ok(true),
        }
    };
    let mut locked = Locked { rows: Vec::new(), held: transaction.memory().hold() };
    let access = match access {
        BoundAccess::Keys { index: None, keys } => {
            let limit = if order.is_empty() { limit } else { usize::MAX };
            locked.add(&Search { limit, ..*search }, &keys, &passes, transaction).await?;
            return Ok(locked.rows);
        }
        others => others,
    };
    // All of it is checked here once more: of rows that the transaction has written, and that others have changed.
    let condition = filter.and_then(|filter| conditions(filter, table, environment).0);
    let wanted = Wanted { filter: condition, order: search.sorted, ..Wanted::default() };
    let mut rows = Rows::open(client, table, access, wanted, Some(transaction)).await?;
    let as_they_come = order.is_empty() || limit == usize::MAX || search.sorted.is_some() && !rows.is_mixed();
    let mut held = transaction.memory().hold();
    let mut found = Vec::new();
    while locked.rows.len() < limit
        && let Some(chunk) = rows.next().await?
    {
        let mut keys = Vec::new();
        for row in chunk {
            if !passes(&row)? {
                continue;
            }
            let key = key_of(table, &row);
            if as_they_come {
                keys.push(key);
                continue;
            }
            let at = environment.with_row(&row);
            let by = order.iter().map(|(part, _)| part.evaluate(&at)).collect::<Result<Values>>()?;
            held.add(&by)?;
            held.add(&key)?;
            found.push((by, key));
        }
        locked.add(search, &keys, &passes, transaction).await?;
    }
    sort(&mut found, order);
    let keys: Vec<Values> = found.into_iter().map(|(_, key)| key).collect();
    locked.add(search, &keys, &passes, transaction).await?;
    Ok(locked.rows)
}

struct Locked {
    rows: Vec<Values>,
    held: Held,
}

impl Locked {
    /// Locks the rows of these keys and keeps those that pass, until there are enough.
    async fn add(
        &mut self,
        search: &Search<'_>,
        keys: &[Values],
        passes: &impl Fn(&[Value]) -> Result<bool>,
        transaction: &mut OpenTransaction,
    ) -> Result<()> {
        let mut rest = keys;
        while !rest.is_empty() && self.rows.len() < search.limit {
            let (some, others) = rest.split_at(rest.len().min(search.limit - self.rows.len()));
            for row in read_keys(transaction, search.table, some, Some(search.lock)).await? {
                if passes(&row)? {
                    self.held.add(&row)?;
                    self.rows.push(row);
                }
            }
            rest = others;
        }
        Ok(())
    }
}
