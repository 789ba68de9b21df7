//! Everything that can happen at a moment of virtual time.

use crate::network::ConnectionNumber;
use crate::trace::ProcessNumber;

/// An event of the run. Those that name a life are dropped when the process has died since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection reaches the process that accepts it.
    Accept {
        /// The connection.
        connection: ConnectionNumber,
    },
    /// The process that asked for a connection hears of it.
    Connected {
        /// The connection.
        connection: ConnectionNumber,
    },
    /// The process that asked for a connection hears that there is none.
    ConnectFailed {
        /// The process.
        process: ProcessNumber,
        /// Its life.
        life: u32,
        /// Token of the request.
        token: u64,
    },
    /// The next frame of a flow arrives.
    Deliver {
        /// The connection.
        connection: ConnectionNumber,
        /// The receiving end.
        end: usize,
    },
    /// An end hears that its connection is gone.
    Closed {
        /// The connection.
        connection: ConnectionNumber,
        /// The end.
        end: usize,
        /// Whether the other side closed it.
        by_peer: bool,
    },
    /// The oldest write under way on the disk of the process is durable.
    Persisted {
        /// The process.
        process: ProcessNumber,
        /// Its life.
        life: u32,
    },
    /// The process ends its burst.
    Flush {
        /// The process.
        process: ProcessNumber,
        /// Its life.
        life: u32,
    },
    /// Timers of the process.
    Tick {
        /// The process.
        process: ProcessNumber,
        /// Its life.
        life: u32,
    },
    /// The process asked for its timers at this time.
    Wake {
        /// The process.
        process: ProcessNumber,
        /// Its life.
        life: u32,
    },
    /// A paused process goes on.
    Resume {
        /// The process.
        process: ProcessNumber,
        /// Its life.
        life: u32,
    },
    /// A slice of a slow process is over.
    Slice {
        /// The process.
        process: ProcessNumber,
        /// Its life.
        life: u32,
    },
    /// A killed process is started again.
    Restart {
        /// The process.
        process: ProcessNumber,
    },
    /// The next fault of a kind is due.
    Fault {
        /// Index in the fault plan.
        kind: usize,
    },
}
