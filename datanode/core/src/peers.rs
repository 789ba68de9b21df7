//! What other data nodes send: frames of their lanes, and requests and answers outside of them.

use crate::coordinator::GROUP;
use crate::interface::LinkId;
use crate::kernel::{Kernel, context};
use crate::lane::Arrival;
use crate::split::Part;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameView, Signals};
use duet_protocol::signal::SignalType;
use duet_protocol::signal::accept_one::AcceptOne;
use duet_protocol::signal::heartbeat::Heartbeat;
use duet_protocol::signal::lane_acknowledge::LaneAcknowledge;
use duet_protocol::signal::refuse_one::RefuseOne;

impl Kernel {
    /// A frame of another data node.
    pub(crate) fn peer_frame(
        &mut self,
        link: LinkId,
        lane: usize,
        frame: &FrameView<'_>,
        envelope: Envelope,
    ) {
        if envelope.sender != self.out.lanes[lane].peer || self.out.lanes[lane].retired {
            return self.refuse(link, ErrorCode::NotInView, "the frame is from another instance");
        }
        self.hear_epoch(envelope.epoch);
        if self.split.is_some() {
            self.peer_has_spoken(link, lane);
        }
        let Some(position) = envelope.lane else {
            self.share_peer_frame(link, frame);
            return self.peer_signals(link, lane, envelope.sender.node, frame.signals());
        };
        if envelope.view > self.map.state.view.number || self.out.lanes[lane].held_bytes() > 0 {
            return self.hold(link, lane, frame);
        }
        let forgets = self.forgets_frames();
        let state = &mut self.out.lanes[lane];
        if position.lane != state.number
            || state.link != Some(link)
            || !state.acknowledge(position.acknowledged)
        {
            return self.refuse(link, ErrorCode::DamagedFrame, "the frame does not belong to this lane");
        }
        match state.arrived(position.number) {
            Arrival::Next => self.lane_frame(link, lane, frame),
            Arrival::Duplicate => {}
            Arrival::Gap if forgets => {
                state.believe(position.number);
                self.lane_frame(link, lane, frame);
            }
            Arrival::Gap => self.refuse(link, ErrorCode::DamagedFrame, "frames are missing in the lane"),
        }
    }

    fn lane_frame(&mut self, link: LinkId, lane: usize, frame: &FrameView<'_>) {
        let mut signals = frame.signals();
        let mut group = [None; GROUP];
        loop {
            let count = self.ldm.prefetch_rows(&self.map, &mut signals, &mut group);
            for ahead in group[..count].iter().flatten() {
                if self.ldm.lacks_memory_to_join() {
                    // What is missing here must not be accepted.
                    return self.stop_without_memory();
                }
                let mut context = context!(self);
                match ahead.signal.signal_type() {
                    SignalType::PrepareOne => self.ldm.prepare_one(&mut context, lane, ahead),
                    SignalType::AcceptOne => {
                        if let Some(body) = ahead.signal.body::<AcceptOne>() {
                            self.ldm.accept_one(&mut context, lane, body);
                        }
                    }
                    SignalType::RefuseOne => {
                        if let Some(body) = ahead.signal.body::<RefuseOne>() {
                            self.ldm.refuse_one(lane, body);
                        }
                    }
                    SignalType::Operate
                    | SignalType::Prepare
                    | SignalType::PrepareRow
                    | SignalType::CommitRows
                    | SignalType::AbortRows
                    | SignalType::AbortPrepared
                    | SignalType::Complete => {
                        let (node, number) =
                            (context.out.lanes[lane].peer.node, context.out.lanes[lane].number);
                        self.ldm.transaction_signal(&mut context, node, number, &ahead.signal);
                    }
                    SignalType::CopyBegin
                    | SignalType::CopyRow
                    | SignalType::CopyOutcomes
                    | SignalType::CopyEnd => self.ldm.copy_signal(&mut context, lane, &ahead.signal),
                    SignalType::OperateReply
                    | SignalType::Prepared
                    | SignalType::Committed
                    | SignalType::LockWait
                    | SignalType::TransactionReport
                    | SignalType::ReportEnd
                    | SignalType::DeadlockProbe => self.signal_to_coordinator(&ahead.signal),
                    // Chains are quiet when their configurations change; a refusal is only possible by a fault, and counted.
                    SignalType::ChainRefused => self.out.errors += 1,
                    _ => {
                        return self.refuse(
                            link,
                            ErrorCode::UnexpectedSignal,
                            "this signal does not travel in lanes",
                        );
                    }
                }
            }
            if count < GROUP {
                return;
            }
        }
    }

    /// Signals of another data node outside the lanes: requests that it forwards, answers to ours.
    ///
    /// A data part sees to the lane and leaves the rest to the coordinator parts; `lane` means nothing to those.
    pub(crate) fn peer_signals(&mut self, link: LinkId, lane: usize, from: u32, signals: Signals<'_>) {
        for signal in signals.clone() {
            match signal.signal_type() {
                SignalType::ReadReply
                | SignalType::WriteReply
                | SignalType::ErrorReply
                | SignalType::ResolveReply
                | SignalType::ScanReply
                    if matches!(self.part, Part::Data(_)) => {}
                SignalType::LaneAcknowledge
                | SignalType::RefuseLink
                | SignalType::Welcome
                | SignalType::Heartbeat
                | SignalType::FetchState
                    if matches!(self.part, Part::Coordinator(_)) => {}
                SignalType::OpenEpoch | SignalType::EpochDrained | SignalType::EpochClosed => {
                    self.epoch_signal(&signal, from);
                }
                SignalType::Read | SignalType::Write | SignalType::Resolve | SignalType::Scan => {}
                SignalType::Heartbeat => {
                    if let Some(body) = signal.body::<Heartbeat>() {
                        self.hear_heartbeat(self.now, lane, body);
                    }
                }
                SignalType::FetchState => self.fetch_state(link, &signal),
                SignalType::Installed | SignalType::TakeoverDone => self.view_signal(&signal),
                SignalType::ClusterStateSignal => {
                    if matches!(self.part, Part::Whole | Part::Coordinator(0)) {
                        self.learn(self.now, signal.section(0));
                    }
                }
                SignalType::ReadReply
                | SignalType::WriteReply
                | SignalType::ErrorReply
                | SignalType::ResolveReply
                | SignalType::ScanReply => self.coordinator.answered(&mut context!(self), link, &signal),
                SignalType::LaneAcknowledge => {
                    let acknowledged =
                        signal.body::<LaneAcknowledge>().map_or(0, |body| body.acknowledged.get());
                    if !self.out.lanes[lane].acknowledge(acknowledged) {
                        return self.refuse(
                            link,
                            ErrorCode::DamagedFrame,
                            "acknowledges what was never sent",
                        );
                    }
                }
                SignalType::RefuseLink => {
                    self.surrender_link(link);
                    self.links.mark_closing(link, &mut self.commands);
                }
                _ => {
                    return self.refuse(
                        link,
                        ErrorCode::UnexpectedSignal,
                        "data nodes do not send this signal",
                    );
                }
            }
        }
        if matches!(self.part, Part::Whole | Part::Coordinator(0)) {
            self.requests(link, signals, false);
        }
    }
}
