//! Secondary indexes and the order of the primary key, as users define them and as the dictionary knows them.

use rkyv::{Archive, Deserialize, Serialize};

/// Most secondary indexes of a table.
pub const MAX_INDEXES: usize = 32;
/// Most columns of a secondary index.
pub const MAX_INDEX_COLUMNS: usize = 16;
/// Number of the ordered index on the primary key in signals; no secondary index has it.
pub const PRIMARY_KEY_INDEX: u32 = 0;
/// Name of the ordered index on the primary key; no secondary index has it in any case of letters.
pub const PRIMARY_KEY_INDEX_NAME: &str = "primary";

/// What an index is for.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// Rows in the order of its columns: a B+tree beside the rows of every fragment.
    Ordered,
    /// At most one row with the same values, unless one of them is NULL: entries in a hidden table.
    Unique,
}

/// A secondary index as its user defines it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct IndexDefinition {
    /// Name, unique in its table without regard to ASCII case.
    pub name: String,
    /// What it is for.
    pub kind: IndexKind,
    /// Indexes of its columns, in the order in which they are compared; each once.
    pub columns: Vec<u16>,
}

/// How the primary key can be used.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrimaryKeyOrder {
    /// By whole keys and by ranges of keys: beside the hash index there is an ordered one.
    #[default]
    Ordered,
    /// By whole keys only; takes some ten bytes per row less.
    HashOnly,
}

/// Where a secondary index is in its life.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// A unique one before writes maintain it, or when they have ceased to: its hidden table is there, and that is all.
    Announced,
    /// Writes maintain it, while the rows from before are still being entered; scans and look-ups are refused.
    WriteOnly,
    /// Complete: open for scans and look-ups.
    Public,
    /// Being dropped; scans and look-ups are refused, though writes still maintain it.
    Dropping,
}

/// What the dictionary knows of a secondary index beside its definition.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableIndex {
    /// Identity, never reused in a cluster and never [`PRIMARY_KEY_INDEX`].
    pub id: u32,
    /// Where it is in its life.
    pub state: IndexState,
    /// The table that holds the entries of a unique index.
    pub hidden_table: Option<u32>,
}
