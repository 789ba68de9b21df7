//! What sysbench is told to do, and what is asked of it.

use crate::report::Asked;
use serde::{Deserialize, Serialize};

/// Keys of the IN list.
pub(super) const LIST_KEYS: u32 = 100;

/// A workload of sysbench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum SysbenchWorkload {
    /// A row by its key.
    OltpPointSelect,
    /// Transactions of ten rows by key and four ranges of 100 rows: plain, sum, sorted, distinct.
    OltpReadOnly,
    /// 100 rows by their keys.
    InList,
    /// The same transactions as read only, with two updates, a deletion and an insertion.
    OltpReadWrite,
    /// An increment of an indexed column.
    OltpUpdateIndex,
    /// A new value for a column without an index.
    OltpUpdateNonIndex,
    /// Insertion of a row with a number of AUTO_INCREMENT.
    OltpInsert,
    /// Deletion of a row by its key, which may be gone.
    OltpDelete,
}

impl SysbenchWorkload {
    /// All, in the order in which they run: those that change how many rows there are come last.
    pub const ALL: [Self; 8] = [
        Self::OltpPointSelect,
        Self::OltpReadOnly,
        Self::InList,
        Self::OltpReadWrite,
        Self::OltpUpdateIndex,
        Self::OltpUpdateNonIndex,
        Self::OltpInsert,
        Self::OltpDelete,
    ];

    /// What tables call it: the script of sysbench, where it is one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OltpPointSelect => "oltp_point_select",
            Self::OltpReadOnly => "oltp_read_only",
            Self::InList => "in_list of 100 keys",
            Self::OltpReadWrite => "oltp_read_write",
            Self::OltpUpdateIndex => "oltp_update_index",
            Self::OltpUpdateNonIndex => "oltp_update_non_index",
            Self::OltpInsert => "oltp_insert",
            Self::OltpDelete => "oltp_delete",
        }
    }

    /// Whether it commits changes.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::OltpPointSelect | Self::OltpReadOnly | Self::InList => false,
            Self::OltpReadWrite
            | Self::OltpUpdateIndex
            | Self::OltpUpdateNonIndex
            | Self::OltpInsert
            | Self::OltpDelete => true,
        }
    }

    /// The least multiple of a single MariaDB's rate that is asked for.
    pub(super) fn asked_of_single(self, threads: u32) -> Asked {
        Asked::AtLeast(match (threads, self) {
            (..=4, _) => 0.6,
            (_, Self::OltpReadOnly) => 0.8,
            (_, Self::InList) => 2.0,
            (_, _) => 1.0,
        })
    }

    /// The least multiple of a semi-synchronous pair's rate that is asked for.
    pub(super) fn asked_of_pair(self) -> Asked {
        Asked::AtLeast(1.5)
    }
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum SqlTarget {
    /// A management node, two data nodes with two replicas, a gateway.
    Duet,
    /// A MariaDB server.
    Mariadb,
    /// Two MariaDB servers, the second one a semi-synchronous replica. Only writes.
    SemiSync,
}

impl SqlTarget {
    /// All, in the order in which they are asked.
    pub const ALL: [Self; 3] = [Self::Duet, Self::Mariadb, Self::SemiSync];

    /// What tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Duet => "duet",
            Self::Mariadb => "mariadb",
            Self::SemiSync => "mariadb semi-sync pair",
        }
    }

    /// Whether it is asked for this: reads of a pair are those of its first server.
    pub(super) fn takes(self, workload: SysbenchWorkload) -> bool {
        self != Self::SemiSync || workload.writes()
    }
}
