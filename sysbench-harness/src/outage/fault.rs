//! What strikes a cluster, and what is asked of the outage that follows.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What strikes a cluster of two data nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Fault {
    /// A data node is killed (SIGKILL).
    Kill,
    /// A data node stops (SIGSTOP), and goes on (SIGCONT) after it was removed.
    Stop,
    /// A data node and the leading management node are killed in the same instant.
    KillWithLeader,
    /// Every packet from and to a data node is dropped.
    Cut,
    /// Every packet between the two data nodes is dropped; both reach everybody else.
    CutBetween,
    /// What one data node sends to the other one is dropped, in one direction only.
    OneWayCut,
    /// Packets from and to a data node are dropped at random.
    Loss,
    /// Every packet between the two data nodes is answered by a reset of its connection; with `--link-close-is-proof off`.
    Reject,
    /// Everything to and from both data nodes comes late, by a time that varies.
    Delay,
    /// Other processes keep all CPUs busy.
    Busy,
}

impl Fault {
    /// All but [`Fault::Busy`], which takes minutes.
    pub const SHORT: [Self; 9] = [
        Self::Kill,
        Self::Stop,
        Self::KillWithLeader,
        Self::Cut,
        Self::CutBetween,
        Self::OneWayCut,
        Self::Loss,
        Self::Reject,
        Self::Delay,
    ];

    /// As it is written on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::KillWithLeader => "kill-with-leader",
            Self::Cut => "cut",
            Self::CutBetween => "cut-between",
            Self::OneWayCut => "one-way-cut",
            Self::Loss => "loss",
            Self::Reject => "reject",
            Self::Delay => "delay",
            Self::Busy => "busy",
        }
    }

    /// Whether packets are dropped, which needs network namespaces.
    #[must_use]
    pub fn needs_network(self) -> bool {
        match self {
            Self::Cut | Self::CutBetween | Self::OneWayCut | Self::Loss | Self::Reject => true,
            Self::Kill | Self::Stop | Self::KillWithLeader | Self::Delay | Self::Busy => false,
        }
    }

    /// Whether one of the data nodes must be removed from the view; the others last for a time, and whether a node is removed is
    /// only counted.
    #[must_use]
    pub fn removes(self) -> bool {
        match self {
            Self::Kill
            | Self::Stop
            | Self::KillWithLeader
            | Self::Cut
            | Self::CutBetween
            | Self::OneWayCut
            | Self::Reject => true,
            Self::Loss | Self::Delay | Self::Busy => false,
        }
    }

    /// What is asked of the 99th percentile of outages, in milliseconds.
    #[must_use]
    pub fn asked_p99_ms(self) -> Option<f64> {
        match self {
            Self::Kill => Some(100.0),
            Self::Stop | Self::Cut | Self::CutBetween | Self::OneWayCut | Self::KillWithLeader => {
                Some(1_000.0)
            }
            Self::Loss | Self::Reject | Self::Delay | Self::Busy => None,
        }
    }
}
