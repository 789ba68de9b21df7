//! Mailboxes between the threads of the pipeline, and the bells that wake their sleepers.
//!
//! A mailbox is a bounded ring with one sender and one receiver: messages arrive in the order they were pushed, none
//! is lost, and a full ring says so instead of growing. Nothing here blocks; whoever finds a mailbox empty (or full)
//! and has nothing else to do sleeps by the protocol of [`Bell`].
//!
//! ```
//! let (mut sender, mut receiver) = duet_runtime::mailbox::<u64>(4);
//! sender.push(1).expect("there is room for four");
//! assert_eq!(receiver.pop(), None, "not published yet");
//! sender.publish();
//! assert_eq!(receiver.pop(), Some(1));
//! ```
//!
//! Built with `--cfg loom`, the atomics are those of loom and the module `loom_models` tries every order of events
//! that two threads allow.

mod bell;
#[cfg(all(test, loom))]
mod loom_models;
mod receiver;
mod ring;
mod sender;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;

pub use bell::{Asleep, Bell, LoopBell};
pub use receiver::MailboxReceiver;
pub use ring::mailbox;
pub use sender::MailboxSender;
