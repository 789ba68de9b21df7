//! Ordered indexes that are built while their table is in use (PROTOCOL.md §2 "Schema", counterexample 35).
//!
//! Each replica builds the index of its own rows, and by itself: entries say which row, and that is each replica's own
//! business. From the moment at which an index is known, writes maintain it as they maintain every index. At that same
//! moment the images that are on their way, which were prepared without it, are entered: so none of them can be committed
//! without an entry, whenever that is, and the building need not wait for anybody. What is left are the committed rows that
//! nobody touches; they are entered in bounded slices in the order of a full scan, which meets every row that exists
//! throughout. Until its slice has come a row may lack its entry, so a row that is changed or removed may have none to take
//! out.
//!
//! An index for which the memory does not suffice is given up at once, and stays empty until it is dropped.

use crate::ldm::fragment::{Fragment, row_state};
use crate::ldm::lock::LockTable;
use crate::ldm::prepared::PreparedTransactions;
use crate::ldm::stored::StoredTable;
use crate::ldm::{Context, LocalDataManager};
use crate::map::{ClusterMap, LocalTable};
use duet_memory::{Arena, OrderedIndex, RowHandle};
use duet_protocol::schema::IndexState;

/// Planted bug of the simulator's tests: what was prepared before the index is not entered.
const FORGOTTEN_IMAGES_BUG: u32 = 20;

/// Rows entered in one turn: less than two milliseconds.
const BUILD_ROWS_PER_TURN: usize = 1_000;
/// Leaves of an index freed in one turn.
const CLEAR_LEAVES_PER_TURN: usize = 100;

/// How far the building of an index has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Building {
    /// What is on its way has to be entered.
    New,
    /// Rows are entered; the next slice begins here.
    At(u64),
    /// There was no memory for it.
    GivenUp,
}

impl LocalDataManager {
    /// Begins to build indexes that the state which was just installed brought, and gives up those that it took away.
    pub fn begin_builds(&mut self, map: &ClusterMap, planted_bug: u32) {
        let (arena, locks, prepared) = (&mut self.arena, &self.locks, &self.prepared);
        for fragment in self.fragments.iter_mut().flatten() {
            for slot in 0..fragment.tables.len() {
                let Some(Some(table)) = map.tables.get(slot) else { continue };
                let known = |id| table.index(id).is_some();
                for index in fragment.tables[slot].ordered.extract_if(.., |index| !known(index.id)) {
                    self.clearing_indexes.push(index.into_tree());
                }
                if !fragment.tables[slot].ordered.iter().any(|index| index.building == Some(Building::New)) {
                    continue;
                }
                let images = match planted_bug == FORGOTTEN_IMAGES_BUG {
                    true => Vec::new(),
                    false => images_under_way(arena, fragment, slot, locks, prepared),
                };
                let given_up = fragment.tables[slot].begin_builds(arena, table, &images);
                self.clearing_indexes.extend(given_up);
            }
        }
        self.building = self.has_unbuilt_index();
        let of_table = |table: &LocalTable| {
            table.ordered.iter().filter(|index| index.state == IndexState::WriteOnly).count() as u64
        };
        let write_only: u64 = map.tables.iter().flatten().map(of_table).sum();
        self.write_only = write_only * self.fragments.iter().flatten().count() as u64;
    }

    /// Indexes of fragments that are being built, those included that wait for others to be built; and the thousandths of
    /// them that are done. A cursor is a part of the space of hashes.
    pub(super) fn build_progress(&self) -> (u64, u64) {
        if self.write_only == 0 && self.entering.is_empty() {
            return (0, 0);
        }
        let thousandths = |cursor: u64| ((u128::from(cursor) * 1_000) >> 64) as u64;
        let tables = self.fragments.iter().flatten().flat_map(|fragment| &fragment.tables);
        let ordered = tables.flat_map(|table| &table.ordered);
        let left = ordered.map(|index| match index.building {
            None => 0,
            Some(Building::At(cursor)) => 1_000 - thousandths(cursor),
            Some(Building::New | Building::GivenUp) => 1_000,
        });
        let (entering, entered) = self.entering_progress(thousandths);
        let ordered = (1_000 * self.write_only).saturating_sub(left.sum());
        (self.write_only + entering, ordered + entered)
    }

    /// Whether an index is being built, or was given up.
    pub fn is_building(&self) -> bool {
        self.building || self.is_entering()
    }

    fn has_unbuilt_index(&self) -> bool {
        let mut tables = self.fragments.iter().flatten().flat_map(|fragment| &fragment.tables);
        tables.any(|table| table.ordered.iter().any(|index| index.building.is_some()))
    }

    /// Indexes of fragments that were given up.
    pub(super) fn failed_indexes(&self) -> u64 {
        if !self.building {
            return 0;
        }
        let tables = self.fragments.iter().flatten().flat_map(|fragment| &fragment.tables);
        let indexes = tables.flat_map(|table| &table.ordered);
        indexes.filter(|index| index.building == Some(Building::GivenUp)).count() as u64
    }

    /// Enters the rows of the next slice; frees what was given up.
    pub(super) fn build_slice(&mut self, context: &Context<'_>) {
        if let Some(tree) = self.clearing_indexes.last_mut()
            && tree.clear_step(&mut self.arena, CLEAR_LEAVES_PER_TURN)
        {
            self.clearing_indexes.pop();
        }
        if !self.building {
            return;
        }
        let mut left = BUILD_ROWS_PER_TURN;
        for fragment in self.fragments.iter_mut().flatten() {
            for (slot, stored) in fragment.tables.iter_mut().enumerate() {
                let Some(Some(table)) = context.map.tables.get(slot) else { continue };
                if left == 0 {
                    return;
                }
                let (rows, given_up) = stored.build_slice(&mut self.arena, table, left);
                left = left.saturating_sub(rows);
                self.clearing_indexes.extend(given_up);
            }
        }
        self.building = self.has_unbuilt_index();
    }
}

/// The images that are on their way in a fragment and not rows yet, each with the committed row that it is to replace.
fn images_under_way(
    arena: &Arena,
    fragment: &Fragment,
    slot: usize,
    locks: &LockTable,
    prepared: &PreparedTransactions,
) -> Vec<(Option<RowHandle>, RowHandle)> {
    let present = |row: RowHandle| Some(row).filter(|row| !row.is_null());
    let one_pass =
        fragment.pending.iter().filter(|pending| pending.table == slot && !pending.image.is_null());
    let one_pass = one_pass.map(|pending| (present(pending.row), pending.image));
    let changed = locks
        .images(fragment.partition, slot)
        .map(|(row, image)| (Some(row).filter(|row| arena.row(*row).state() == row_state::HELD), image));
    let at_backup = prepared.images(fragment.partition, slot);
    let at_backup = at_backup.map(|(row, image)| (present(row), image));
    one_pass.chain(changed).chain(at_backup).collect()
}

impl StoredTable {
    /// Enters images that are on their way into the new indexes. The nodes of those for which there is no memory.
    fn begin_builds(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        images: &[(Option<RowHandle>, RowHandle)],
    ) -> Vec<OrderedIndex> {
        let mut given_up = Vec::new();
        for index in self.ordered.iter_mut().filter(|index| index.building == Some(Building::New)) {
            index.building = Some(Building::At(0));
            for (row, image) in images {
                let differs = row.is_none_or(|row| !index.is_same(arena, table, row, *image));
                if differs && index.insert(arena, table, *image).is_err() {
                    given_up.push(index.give_up());
                    break;
                }
            }
        }
        given_up
    }

    /// Enters the next rows into indexes that are being built. How many, and the nodes of those for which there is no
    /// memory.
    fn build_slice(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        rows: usize,
    ) -> (usize, Vec<OrderedIndex>) {
        let (mut entered, mut given_up, mut found) = (0, Vec::new(), Vec::new());
        for index in &mut self.ordered {
            let mut failed = false;
            while let Some(Building::At(cursor)) = index.building
                && entered < rows
                && !failed
            {
                found.clear();
                let next = self.rows.scan_step(arena, cursor, |row| found.push(row));
                for row in &found {
                    // What is not visible is the image of an insert, which was entered when it came, or a lock.
                    if row_state::is_visible(arena.row(*row).state()) {
                        failed |= index.insert(arena, table, *row).is_err();
                    }
                }
                // Only now: a row of this slice may be entered already.
                index.building = next.map(Building::At);
                entered += found.len() + 1;
            }
            if failed {
                given_up.push(index.give_up());
            }
        }
        (entered, given_up)
    }
}
