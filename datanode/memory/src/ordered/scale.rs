//! Keeping the heads of leaves right.
//!
//! Two things always hold: the prefix of a leaf's scale is not longer than what all keys between the separators around
//! the leaf share (at the ends of the tree: between the separator and the outermost row), and every head is the one
//! that the scale gives for its row's key.

use super::key::{RowKeys, common_prefix};
use super::leaf::Scale;
use super::path::{Fences, Path};
use crate::arena::{Arena, RowHandle};

/// Inserts an entry into a leaf with room.
pub(super) fn insert_into_leaf(
    arena: &mut Arena,
    keys: &impl RowKeys,
    path: &Path,
    index: usize,
    key: &[u8],
    row: RowHandle,
) {
    let leaf = arena.leaf(path.leaf);
    let (scale, rows) = (leaf.scale(), leaf.rows());
    let outermost = match index {
        _ if path.is_last && index == rows.len() => rows.last(),
        0 if path.is_first => rows.first(),
        _ => None,
    };
    let fits = rows.is_empty()
        || outermost.is_none_or(|&other| {
            let shared = keys.with_key(arena, RowHandle(other), |other| common_prefix(other, key));
            shared >= usize::from(scale.prefix) && scale.covers(key)
        });
    let fits = fits && !rows.is_empty();
    let head = if fits { scale.head(key) } else { 0 };
    arena.leaf_mut(path.leaf).insert(index, head, row.0);
    if !fits {
        set_scale(arena, keys, path.leaf, path.fences(arena));
    }
}

/// Gives a leaf the finest scale and computes all heads.
pub(super) fn set_scale(arena: &mut Arena, keys: &impl RowKeys, word: u32, fences: Fences) {
    if let Some(scale) = finest_scale(arena, keys, word, fences) {
        rescale(arena, keys, word, scale);
    }
}

/// Scales a leaf anew if its heads do not tell its keys apart and a finer scale is possible, or if its prefix is longer
/// than what the separators, which have changed, allow.
pub(super) fn improve_scale(arena: &mut Arena, keys: &impl RowKeys, word: u32, fences: Fences) {
    let leaf = arena.leaf(word);
    let old = leaf.scale();
    let is_coarse = leaf.is_coarse();
    if !is_coarse && is_prefix_shared(arena, keys, word, fences) {
        return;
    }
    let Some(new) = finest_scale(arena, keys, word, fences) else { return };
    if new.prefix < old.prefix || (is_coarse && new.is_finer_than(old)) {
        rescale(arena, keys, word, new);
    }
}

/// Whether the prefix of a leaf's scale is short enough for the separators.
pub(super) fn is_prefix_shared(arena: &Arena, keys: &impl RowKeys, word: u32, fences: Fences) -> bool {
    let prefix = usize::from(arena.leaf(word).scale().prefix);
    prefix == 0
        || with_bounds(arena, keys, word, fences, |low, high| common_prefix(low, high) >= prefix)
            .unwrap_or(true)
}

/// The heads that entries of one leaf have in another, in order.
pub(super) fn heads_for<'rows>(
    arena: &'rows Arena,
    keys: &'rows impl RowKeys,
    rows: &'rows [u32],
    scale: Scale,
) -> impl Iterator<Item = u16> + 'rows {
    rows.iter().for_each(|&row| arena.prefetch(RowHandle(row)));
    rows.iter().map(move |&row| keys.with_key(arena, RowHandle(row), |key| scale.head(key)))
}

fn rescale(arena: &mut Arena, keys: &impl RowKeys, word: u32, scale: Scale) {
    let mut leaf = *arena.leaf(word);
    leaf.set_scale(scale);
    let rows = arena.leaf(word).rows();
    for (head, new) in leaf.heads_mut().iter_mut().zip(heads_for(arena, keys, rows, scale)) {
        *head = new;
    }
    *arena.leaf_mut(word) = leaf;
}

fn finest_scale(arena: &Arena, keys: &impl RowKeys, word: u32, fences: Fences) -> Option<Scale> {
    let (open_low, open_high) = (fences.low.is_none(), fences.high.is_none());
    with_bounds(arena, keys, word, fences, |low, high| Scale::between(low, high, open_low, open_high))
}

/// Calls `read` with two keys between which all keys of the leaf lie. None if the leaf is empty.
fn with_bounds<R>(
    arena: &Arena,
    keys: &impl RowKeys,
    word: u32,
    fences: Fences,
    read: impl FnOnce(&[u8], &[u8]) -> R,
) -> Option<R> {
    let rows = arena.leaf(word).rows();
    let (&first, &last) = (rows.first()?, rows.last()?);
    Some(with_bound(arena, keys, fences.low, first, |low| {
        with_bound(arena, keys, fences.high, last, |high| read(low, high))
    }))
}

#[inline]
fn with_bound<R>(
    arena: &Arena,
    keys: &impl RowKeys,
    fence: Option<u32>,
    row: u32,
    read: impl FnOnce(&[u8]) -> R,
) -> R {
    match fence {
        Some(separator) => read(arena.separator(separator).key),
        None => keys.with_key(arena, RowHandle(row), read),
    }
}
