//! Observations without a lease: what a burst wants to tell of rows is taken back before it leaves (PROTOCOL.md §2,
//! counterexample 7).
//!
//! Commits need no lease, so only answers that depend on what the rows were are replaced. Frames of lanes are left alone:
//! whoever gets them refuses the frames of an instance that was removed.

use crate::interface::LinkId;
use crate::outbox::Outbox;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::signal::{Sections, SignalType, SignalView};

/// Answers that may be observations.
const ANSWERS: u64 = SignalType::ReadReply.bit()
    | SignalType::WriteReply.bit()
    | SignalType::ScanReply.bit()
    | SignalType::ErrorReply.bit()
    | SignalType::OperateReply.bit();

/// Whether an answer tells what a row was.
fn is_observation(signal: &SignalView<'_>) -> bool {
    match signal.signal_type() {
        SignalType::ReadReply | SignalType::ScanReply | SignalType::OperateReply => true,
        // What is refused for good is refused by what the node knows of rows and tables.
        SignalType::ErrorReply => signal.body::<ErrorReply>().is_some_and(|body| body.retryable.get() == 0),
        SignalType::WriteReply => signal.body::<WriteReply>().is_some_and(|body| body.code.get() != 0),
        _ => false,
    }
}

impl Outbox {
    /// Replaces the observations among the sealed frames that wait to be handed out by `NotServing`. The links on which
    /// operations of transactions were answered so.
    pub(crate) fn withhold(&mut self) -> Vec<LinkId> {
        let node = self.identity.sender.node;
        let mut operations = Vec::new();
        self.each_sealed(|link, envelope, builder| {
            let mut frames = Vec::new();
            builder.drain_into(&mut frames);
            let mut rest = &frames[..];
            while let Ok(Some(length)) = announced_length(rest, usize::MAX) {
                let (frame, tail) = rest.split_at(length);
                rest = tail;
                match FrameView::new_checked(frame) {
                    Ok(view) if view.types() & ANSWERS != 0 && view.envelope().lane.is_none() => {
                        if withhold_in(&view, &envelope, node, builder) {
                            operations.push(link);
                        }
                    }
                    _ => builder.append_sealed(frame),
                }
            }
        });
        operations
    }
}

/// Whether an operation of a transaction was among them.
fn withhold_in(frame: &FrameView<'_>, envelope: &Envelope, node: u32, builder: &mut FrameBuilder) -> bool {
    let mut operations = false;
    for signal in frame.signals() {
        if is_observation(&signal) {
            operations |= signal.signal_type() == SignalType::OperateReply;
            let code = ErrorCode::NotServing;
            let body = ErrorReply { code: (code as u16).into(), retryable: 1.into(), node: node.into() };
            builder.push(0, signal.request_id(), &body, Sections::one(b"the lease has run out"));
        } else {
            builder.push_view(signal.request_id(), &signal);
        }
    }
    builder.seal(envelope);
    operations
}
