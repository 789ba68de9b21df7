//! Building an index from rows in ascending order.

use super::grow::Side;
use super::key::{RowKeys, Target};
use super::leaf::LEAF_ROOM;
use super::scale::set_scale;
use super::{InsertError, MAX_KEY_BYTES, OrderedIndex};
use crate::arena::{Arena, RowHandle};
use crate::budget::Priority;

/// Leaves are filled to this, so that insertions later do not split them at once.
const BULK_ROOM: usize = LEAF_ROOM * 15 / 16;

/// Why rows could not all be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only {appended} rows were appended: {reason}")]
pub struct BulkError {
    /// How many rows were appended, in order.
    pub appended: usize,
    /// What is wrong with the next one; [`InsertError::Duplicate`] names it when it is not larger than the one before.
    pub reason: InsertError,
}

impl OrderedIndex {
    /// Appends rows in ascending order, all larger than what is in the index: the fast way to fill an empty index. A
    /// caller that must not be busy for long appends in slices.
    ///
    /// # Errors
    /// When a row is not larger than the one before, its key is too long, or memory is needed and there is none. The
    /// rows before are in the index then.
    pub fn append(
        &mut self,
        arena: &mut Arena,
        keys: &impl RowKeys,
        rows: &[RowHandle],
        priority: Priority,
    ) -> Result<(), BulkError> {
        let mut appended = 0;
        while appended < rows.len() {
            let result = self.append_to_last_leaf(arena, keys, &rows[appended..], priority);
            appended += result.map_err(|reason| BulkError { appended, reason })?;
        }
        Ok(())
    }

    /// Appends as many of the rows, at least one, as the last leaf takes.
    fn append_to_last_leaf(
        &mut self,
        arena: &mut Arena,
        keys: &impl RowKeys,
        rows: &[RowHandle],
        priority: Priority,
    ) -> Result<usize, InsertError> {
        let Some(&first) = rows.first() else { return Ok(0) };
        if self.is_empty() {
            self.check_row(arena, keys, None, first)?;
            self.root = arena.new_leaf(priority)?;
            self.leaves = 1;
        }
        let mut path = self.descend_to_end(arena, true);
        let last = arena.leaf(path.leaf).rows().last().map(|&row| RowHandle(row));
        let good = self.check_ascending(arena, keys, last, &rows[..rows.len().min(BULK_ROOM)])?;
        if arena.leaf(path.leaf).count() >= BULK_ROOM {
            let count = arena.leaf(path.leaf).count();
            self.split_leaf(arena, keys, &path, count, Side::Row(first.0), priority)?;
            path = self.descend_to_end(arena, true);
        }
        let leaf = arena.leaf_mut(path.leaf);
        let taken = good.min(BULK_ROOM - leaf.count());
        for row in &rows[..taken] {
            leaf.push(0, row.0);
        }
        self.entries += taken as u64;
        set_scale(arena, keys, path.leaf, path.fences(arena));
        Ok(taken)
    }

    /// How many of the rows, at least one, follow `last` and each other in ascending order.
    fn check_ascending(
        &self,
        arena: &Arena,
        keys: &impl RowKeys,
        last: Option<RowHandle>,
        rows: &[RowHandle],
    ) -> Result<usize, InsertError> {
        rows.iter().for_each(|&row| arena.prefetch(row));
        let mut before = last;
        for (place, &row) in rows.iter().enumerate() {
            match self.check_row(arena, keys, before, row) {
                Err(error) if place == 0 => return Err(error),
                Err(_) => return Ok(place),
                Ok(()) => before = Some(row),
            }
        }
        Ok(rows.len())
    }

    fn check_row(
        &self,
        arena: &Arena,
        keys: &impl RowKeys,
        before: Option<RowHandle>,
        row: RowHandle,
    ) -> Result<(), InsertError> {
        keys.with_key(arena, row, |key| {
            if key.len() > MAX_KEY_BYTES {
                return Err(InsertError::KeyTooLong(key.len()));
            }
            let target: Target<'_> = self.target(key, row);
            let is_larger = before.is_none_or(|before| {
                keys.with_key(arena, before, |before_key| {
                    let before_row = if self.is_unique { 0 } else { before.0 };
                    target.compare_entry(before_key, before_row).is_lt()
                })
            });
            if is_larger { Ok(()) } else { Err(InsertError::Duplicate(row)) }
        })
    }
}
