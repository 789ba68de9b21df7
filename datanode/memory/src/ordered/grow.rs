//! Making room in a full leaf: by moving entries to a neighbour, or by splitting.

use super::OrderedIndex;
use super::inner::{INNER_ROOM, Inner};
use super::key::{RowKeys, Target, common_prefix};
use super::leaf::LEAF_ROOM;
use super::path::{MAX_HEIGHT, Path, Step};
use super::scale::{heads_for, improve_scale};
use crate::arena::{Arena, RowHandle};
use crate::budget::{OutOfMemory, Priority};

/// A neighbour with more entries than this is as good as full.
const NEIGHBOUR_ROOM: usize = LEAF_ROOM * 13 / 16;
// Both have room when entries were moved.
const _: () = assert!(NEIGHBOUR_ROOM + 2 <= LEAF_ROOM);
/// Bytes of a separator that are copied at once.
const COPY_BYTES: usize = 128;

/// One side of a new separator.
#[derive(Clone, Copy)]
pub(super) enum Side<'key> {
    Row(u32),
    New(Target<'key>),
}

impl Side<'_> {
    #[inline]
    fn with<R>(self, arena: &Arena, keys: &impl RowKeys, read: impl FnOnce(&[u8], u32) -> R) -> R {
        match self {
            Self::Row(row) => keys.with_key(arena, RowHandle(row), |key| read(key, row)),
            // The target of a new entry is the handle of its row, or zero.
            Self::New(Target { key, row }) => read(key, row as u32),
        }
    }
}

/// Inner nodes for the splits above a leaf and a new root.
struct ReservedInners {
    words: [u32; MAX_HEIGHT + 1],
    count: usize,
}

impl OrderedIndex {
    /// Makes room in the full leaf at the end of `path` for `target`, which would be its entry `index`. Afterwards
    /// the leaf that `target` belongs to, perhaps another one, has room.
    ///
    /// # Errors
    /// When there is no memory; nothing is changed then.
    pub(super) fn make_room(
        &mut self,
        arena: &mut Arena,
        keys: &impl RowKeys,
        path: &Path,
        index: usize,
        target: Target<'_>,
        priority: Priority,
    ) -> Result<(), OutOfMemory> {
        let count = arena.leaf(path.leaf).count();
        if path.is_last && index == count {
            return self.split_leaf(arena, keys, path, count, Side::New(target), priority);
        }
        if path.is_first && index == 0 {
            return self.split_leaf(arena, keys, path, 0, Side::New(target), priority);
        }
        if self.move_to_neighbour(arena, keys, path, priority)? {
            return Ok(());
        }
        self.split_leaf(arena, keys, path, count / 2, Side::New(target), priority)
    }

    /// Splits a leaf: the entries from `at` on go to a new one. `new` is the entry beside which an empty leaf is made
    /// when `at` is the first or the last place.
    pub(super) fn split_leaf(
        &mut self,
        arena: &mut Arena,
        keys: &impl RowKeys,
        path: &Path,
        at: usize,
        new: Side<'_>,
        priority: Priority,
    ) -> Result<(), OutOfMemory> {
        let inners = self.reserve_inners(arena, path, priority)?;
        let right = match arena.new_leaf(priority) {
            Ok(right) => right,
            Err(error) => return Err(inners.give_back(arena, error)),
        };
        let rows = arena.leaf(path.leaf).rows();
        let before = at.checked_sub(1).map_or(new, |last| Side::Row(rows[last]));
        let after = rows.get(at).map_or(new, |&first| Side::Row(first));
        let separator = match self.new_separator(arena, keys, before, after, priority) {
            Ok(separator) => separator,
            Err(error) => {
                arena.free_slot(right);
                return Err(inners.give_back(arena, error));
            }
        };
        let mut fences = path.fences(arena);
        let mut whole = *arena.leaf(path.leaf);
        *arena.leaf_mut(right) = whole;
        arena.leaf_mut(right).remove(0, at);
        whole.remove(at, whole.count());
        *arena.leaf_mut(path.leaf) = whole;
        self.leaves += 1;
        let high = fences.high.replace(separator);
        improve_scale(arena, keys, path.leaf, fences);
        (fences.low, fences.high) = (Some(separator), high);
        improve_scale(arena, keys, right, fences);
        self.link(arena, path, separator, right, inners);
        Ok(())
    }

    /// Takes the inner nodes that the splits above a full leaf need.
    fn reserve_inners(
        &self,
        arena: &mut Arena,
        path: &Path,
        priority: Priority,
    ) -> Result<ReservedInners, OutOfMemory> {
        let full = path.steps().iter().rev().take_while(|step| arena.inner(step.node).count() == INNER_ROOM);
        let full = full.count();
        let needs_root = full == path.steps().len();
        if needs_root && self.height == MAX_HEIGHT {
            return Err(OutOfMemory::ArenaFull);
        }
        let mut inners = ReservedInners { words: [0; MAX_HEIGHT + 1], count: 0 };
        for _ in 0..full + usize::from(needs_root) {
            match arena.new_inner(priority) {
                Ok(word) => {
                    inners.words[inners.count] = word;
                    inners.count += 1;
                }
                Err(error) => return Err(inners.give_back(arena, error)),
            }
        }
        Ok(inners)
    }

    /// Puts a separator and the node behind it beside the leaf of `path`, and splits the full nodes above.
    fn link(
        &mut self,
        arena: &mut Arena,
        path: &Path,
        separator: u32,
        child: u32,
        mut reserved: ReservedInners,
    ) {
        self.inners += reserved.count as u64;
        let (mut separator, mut child) = (separator, child);
        for &Step { node, index } in path.steps().iter().rev() {
            let mut inner = *arena.inner(node);
            let (index, count) = (index as usize, inner.count());
            if count < INNER_ROOM {
                inner.insert(arena, index, separator, child);
                arena.set_inner(node, &inner);
                return;
            }
            // At the ends of the tree, where more will come, nodes are left full.
            let middle = match count {
                _ if path.is_last => count - 1,
                _ if path.is_first => 0,
                _ => count / 2,
            };
            let (up, mut right) = inner.split(arena, middle);
            if index <= middle {
                inner.insert(arena, index, separator, child);
            } else {
                right.insert(arena, index - middle - 1, separator, child);
            }
            let word = reserved.take();
            arena.set_inner(node, &inner);
            arena.set_inner(word, &right);
            (separator, child) = (up, word);
        }
        let mut root = Inner::with_child(self.root);
        root.insert(arena, 0, separator, child);
        self.root = reserved.take();
        self.height += 1;
        arena.set_inner(self.root, &root);
    }

    /// Moves entries of a full leaf to the leaf after or before it, if that one has room and the same parent. Returns
    /// whether that was so.
    fn move_to_neighbour(
        &mut self,
        arena: &mut Arena,
        keys: &impl RowKeys,
        path: &Path,
        priority: Priority,
    ) -> Result<bool, OutOfMemory> {
        let Some(&Step { node, index }) = path.steps().last() else { return Ok(false) };
        let index = index as usize;
        let children = arena.inner(node).children();
        let has_room = |index: usize| {
            children.get(index).is_some_and(|&leaf| arena.leaf(leaf).count() <= NEIGHBOUR_ROOM)
        };
        let to_right = has_room(index + 1);
        let to_left = !to_right && index > 0 && has_room(index - 1);
        if !to_right && !to_left {
            return Ok(false);
        }
        let neighbour = path.beside(arena, if to_right { index + 1 } else { index - 1 });
        let rows = arena.leaf(path.leaf).rows();
        let moved = (rows.len() - arena.leaf(neighbour.leaf).count()).div_ceil(2);
        let at = if to_right { rows.len() - moved } else { moved };
        let (before, after) = (Side::Row(rows[at - 1]), Side::Row(rows[at]));
        let separator = self.new_separator(arena, keys, before, after, priority)?;
        let mut inner = *arena.inner(node);
        let old = inner.replace(arena, if to_right { index } else { index - 1 }, separator);
        arena.set_inner(node, &inner);
        self.free_separator(arena, old);
        move_entries(arena, keys, path.leaf, &neighbour, moved, to_right);
        Ok(true)
    }

    /// Makes the shortest separator of two entries.
    fn new_separator(
        &mut self,
        arena: &mut Arena,
        keys: &impl RowKeys,
        before: Side<'_>,
        after: Side<'_>,
        priority: Priority,
    ) -> Result<u32, OutOfMemory> {
        let (length, row) = before.with(arena, keys, |before, _| {
            after.with(arena, keys, |after, row| {
                let shared = common_prefix(before, after);
                if shared < after.len() { (shared + 1, 0) } else { (after.len(), row) }
            })
        });
        let before_bytes = arena.allocated_bytes();
        let word = arena.new_separator(row, length as u16, priority)?;
        self.separator_bytes += arena.allocated_bytes() - before_bytes;
        // Piece by piece through the stack, because the key may lie in the arena.
        let mut piece = [0; COPY_BYTES];
        for start in (0..length).step_by(COPY_BYTES) {
            let piece = &mut piece[..COPY_BYTES.min(length - start)];
            after.with(arena, keys, |after, _| piece.copy_from_slice(&after[start..start + piece.len()]));
            arena.write_separator(word, start, piece);
        }
        Ok(word)
    }

    pub(super) fn free_separator(&mut self, arena: &mut Arena, word: u32) {
        self.separator_bytes -= arena.free_separator(word);
    }
}

impl ReservedInners {
    fn take(&mut self) -> u32 {
        self.count -= 1;
        self.words[self.count]
    }

    fn give_back(mut self, arena: &mut Arena, error: OutOfMemory) -> OutOfMemory {
        while self.count > 0 {
            let word = self.take();
            arena.free_slot(word);
        }
        error
    }
}

/// Moves the last `moved` entries of a leaf to the front of the one after it (`to_right`), or its first ones to the
/// end of the one before it, which `neighbour` leads to. The separators must have been changed already.
pub(super) fn move_entries(
    arena: &mut Arena,
    keys: &impl RowKeys,
    from: u32,
    neighbour: &Path,
    moved: usize,
    to_right: bool,
) {
    let to = neighbour.leaf;
    let (source, mut target) = (*arena.leaf(from), *arena.leaf(to));
    let start = if to_right { source.count() - moved } else { 0 };
    let (rows, mut heads) = (&source.rows()[start..start + moved], [0; LEAF_ROOM]);
    if target.count() == 0 {
        target.set_scale(source.scale());
    }
    if target.scale() == source.scale() {
        heads[..moved].copy_from_slice(&source.heads()[start..start + moved]);
    } else {
        let new = heads_for(arena, keys, rows, target.scale());
        heads.iter_mut().zip(new).for_each(|(head, new)| *head = new);
    }
    if to_right {
        target.open_front(moved);
        target.rows_mut()[..moved].copy_from_slice(rows);
        target.heads_mut()[..moved].copy_from_slice(&heads[..moved]);
    } else {
        rows.iter().zip(heads).for_each(|(&row, head)| target.push(head, row));
    }
    *arena.leaf_mut(to) = target;
    arena.leaf_mut(from).remove(start, start + moved);
    let fences = neighbour.fences(arena);
    improve_scale(arena, keys, to, fences);
}
