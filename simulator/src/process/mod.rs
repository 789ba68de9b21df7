//! The processes of a run: each wraps the core of a role and obeys its commands with the means of the run.

mod append;
mod application;
mod bank;
mod client;
mod columns;
mod core_client;
mod data_node;
mod direct;
mod expiring;
mod management;
mod members;

pub use append::AppendClient;
pub use bank::BankClient;
pub use client::{Change, Client, Mode};
pub use columns::ColumnClient;
pub use core_client::CoreClient;
pub use data_node::DataNode;
pub use direct::DirectClient;
pub use expiring::ExpiringClient;
pub use management::Management;
pub use members::MemberClient;

use crate::history::Violation;
use crate::network::Link;
use crate::queue::Time;
use duet_protocol::error::ErrorCode;

/// What a process asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Open a connection; the answer carries the token.
    Connect {
        /// `host:port`.
        address: String,
        /// To be repeated in the answer.
        token: u64,
    },
    /// Send what was handed out, then close.
    Close {
        /// The link.
        link: Link,
    },
    /// Make bytes durable, then say so.
    Persist {
        /// To be repeated in the answer.
        number: u64,
        /// Whether they replace all that was written.
        replace: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// End the process with an error.
    Stop {
        /// For people.
        reason: String,
    },
    /// End the process, which was told to leave.
    End {
        /// Whether it is to start again at once.
        restarts: bool,
        /// For people.
        reason: String,
    },
}

/// What the world does with a process, in the manner of a driver of sockets.
pub trait Core {
    /// Somebody connected.
    fn accepted(&mut self, now: Time, link: Link);
    /// A wanted connection is open.
    fn connected(&mut self, now: Time, link: Link, token: u64);
    /// A wanted connection could not be opened.
    fn connect_failed(&mut self, now: Time, token: u64);
    /// A link is gone.
    fn closed(&mut self, now: Time, link: Link, by_peer: bool);
    /// Largest frame to accept from the link now.
    fn frame_limit(&self, link: Link) -> usize;
    /// A whole frame arrived.
    fn frame(&mut self, now: Time, link: Link, bytes: &[u8]);
    /// The link's bytes cannot be a frame.
    fn damaged(&mut self, now: Time, link: Link, code: ErrorCode);
    /// Bytes sent that the system has not accepted yet.
    fn set_backlog(&mut self, link: Link, bytes: usize);
    /// Whether to hand in frames of the link now.
    fn wants_input(&self, link: Link) -> bool;
    /// Timers.
    fn tick(&mut self, now: Time);
    /// When `tick` is wanted earlier than its period; `Time::MAX` for not at all.
    fn next_wake(&self) -> Time {
        Time::MAX
    }
    /// Bytes are durable.
    fn persisted(&mut self, _now: Time, _number: u64) {}
    /// A check of the process's own that failed.
    fn violation(&mut self) -> Option<Violation> {
        None
    }
    /// Ends a burst: hands out bytes and orders.
    fn flush(&mut self, now: Time, send: &mut dyn FnMut(Link, &[u8]), orders: &mut Vec<Order>);
}

/// A process of the run.
pub enum Process {
    /// A data node.
    DataNode(Box<DataNode>),
    /// A management node.
    Management(Box<Management>),
    /// A client that runs the client's core.
    Client(Box<CoreClient>),
    /// A client that moves money in transactions.
    Bank(Box<BankClient>),
    /// A client that appends to lists in transactions.
    Append(Box<AppendClient>),
    /// A client that moves unique values between rows.
    Members(Box<MemberClient>),
    /// A client of rows with a time to live.
    Expiring(Box<ExpiringClient>),
    /// A client of a table that gets columns.
    Columns(Box<ColumnClient>),
    /// A client that speaks the protocol itself.
    Direct(Box<DirectClient>),
}

impl Process {
    /// The process as its driver sees it.
    pub fn core(&mut self) -> &mut dyn Core {
        match self {
            Process::DataNode(node) => node.as_mut(),
            Process::Management(node) => node.as_mut(),
            Process::Client(client) => client.as_mut(),
            Process::Bank(client) => client.as_mut(),
            Process::Append(client) => client.as_mut(),
            Process::Members(client) => client.as_mut(),
            Process::Expiring(client) => client.as_mut(),
            Process::Columns(client) => client.as_mut(),
            Process::Direct(client) => client.as_mut(),
        }
    }

    /// The process as a client, if it is one.
    pub fn client(&self) -> Option<&dyn Client> {
        match self {
            Process::Client(client) => Some(client.as_ref()),
            Process::Bank(client) => Some(client.as_ref()),
            Process::Append(client) => Some(client.as_ref()),
            Process::Members(client) => Some(client.as_ref()),
            Process::Expiring(client) => Some(client.as_ref()),
            Process::Columns(client) => Some(client.as_ref()),
            Process::Direct(client) => Some(client.as_ref()),
            Process::DataNode(_) | Process::Management(_) => None,
        }
    }

    /// The process as a client, if it is one.
    pub fn client_mut(&mut self) -> Option<&mut dyn Client> {
        match self {
            Process::Client(client) => Some(client.as_mut()),
            Process::Bank(client) => Some(client.as_mut()),
            Process::Append(client) => Some(client.as_mut()),
            Process::Members(client) => Some(client.as_mut()),
            Process::Expiring(client) => Some(client.as_mut()),
            Process::Columns(client) => Some(client.as_mut()),
            Process::Direct(client) => Some(client.as_mut()),
            Process::DataNode(_) | Process::Management(_) => None,
        }
    }
}
