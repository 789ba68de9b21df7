//! Handshakes of the kernel's links: `Hello`, `Welcome`, `RefuseLink`.

use crate::interface::{Command, LinkId, Nanoseconds, Target};
use crate::kernel::Kernel;
use crate::lane::Lane;
use crate::links::{LinkRole, Stage};
use crate::split::{Part, ToCoordinator, ToData};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameView, MAX_FRAME_BYTES, NO_LANE};
use duet_protocol::ids::Instance;
use duet_protocol::signal::Sections;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT, ROLE_DATA_NODE, ROLE_MANAGEMENT, is_same_secret};
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::welcome::Welcome;

impl Kernel {
    /// Says hello on a connection that this node opened.
    pub(crate) fn send_hello(&mut self, link: LinkId, target: Target) {
        let mut body = Hello {
            role: ROLE_DATA_NODE.into(),
            lane: NO_LANE.into(),
            process: self.configuration.process,
            ..Hello::default()
        };
        if let Target::Peer { node, lane } = target {
            let Some(index) = self.lane_index(node, lane) else {
                // The node was removed from the view meanwhile.
                return self.links.mark_closing(link, &mut self.commands);
            };
            body.lane = lane.into();
            body.lane_received = self.out.lanes[index].received().into();
            self.out.set_receiver(link, self.out.lanes[index].peer);
        }
        self.out.send(link, 0, &body, Sections::two(&self.configuration.secret, b"duet-datanode"));
    }

    /// The lane to a node with this number.
    pub(crate) fn lane_index(&self, node: u32, lane: u16) -> Option<usize> {
        let wanted = |known: &Lane| known.peer.node == node && known.number == lane && !known.retired;
        self.out.lanes.iter().position(wanted)
    }

    /// The first frame of a link that somebody else opened.
    pub(crate) fn hello(&mut self, link: LinkId, frame: &FrameView<'_>) {
        let mut signals = frame.signals();
        let (Some(first), None) = (signals.next(), signals.next()) else {
            return self.refuse(link, ErrorCode::HandshakeRequired, "the first frame holds one Hello");
        };
        let Some(hello) = first.body::<Hello>() else {
            return self.refuse(link, ErrorCode::HandshakeRequired, "the first frame holds one Hello");
        };
        if !is_same_secret(&self.configuration.secret, first.section(0)) {
            return self.refuse(link, ErrorCode::WrongSecret, "it is not this node's");
        }
        match hello.role.get() {
            ROLE_CLIENT => {
                self.send_welcome(link, NO_LANE, 0);
                self.set_stage(link, Stage::Ready(LinkRole::Client));
            }
            ROLE_DATA_NODE if matches!(self.part, Part::Coordinator(_)) => {
                let manager = self.hand_over(link, hello.lane.get());
                if let (Some(split), Some(manager), Some(frame)) = (&mut self.split, manager, &self.current) {
                    split.out.to_data[manager].push_back(ToData::PeerFrame { link, frame: frame.clone() });
                }
            }
            ROLE_DATA_NODE => self.peer_hello(link, hello, frame.envelope()),
            _ => self.refuse(
                link,
                ErrorCode::UnexpectedSignal,
                "only clients and data nodes connect to a data node",
            ),
        }
    }

    fn peer_hello(&mut self, link: LinkId, hello: &Hello, envelope: Envelope) {
        if !self.map.is_serving() {
            return self.refuse(link, ErrorCode::NotServing, "this node has no view yet");
        }
        let lane = self.lane_index(envelope.sender.node, hello.lane.get());
        let Some(lane) = lane.filter(|lane| self.out.lanes[*lane].peer == envelope.sender) else {
            let detail = format!("instance {} is not a member of the view here", envelope.sender);
            return self.refuse(link, ErrorCode::NotInView, &detail);
        };
        if envelope.receiver != self.membership.instance {
            let detail = format!("this is instance {}, not {}", self.membership.instance, envelope.receiver);
            return self.refuse(link, ErrorCode::NotInView, &detail);
        }
        self.out.set_receiver(link, envelope.sender);
        let received = hello.lane_received.get();
        if !self.forgets_frames() && !self.out.lanes[lane].can_resume(received) {
            // Perhaps an old greeting that arrives late. Nobody may take the end of this link for the end of the lane's, over which
            // leases have come: so it is never welcomed.
            return self.refuse(link, ErrorCode::DamagedFrame, "the lane cannot be resumed");
        }
        self.send_welcome(link, hello.lane.get(), self.out.lanes[lane].received());
        if !self.attach_lane(lane, link, received) {
            self.refuse(link, ErrorCode::DamagedFrame, "the lane cannot be resumed");
        }
    }

    fn send_welcome(&mut self, link: LinkId, lane: u16, lane_received: u64) {
        let body = Welcome {
            role: ROLE_DATA_NODE.into(),
            lane: lane.into(),
            max_frame_bytes: (MAX_FRAME_BYTES as u32).into(),
            lane_received: lane_received.into(),
            state_version: self.map.state.version.into(),
            process: self.configuration.process,
        };
        self.out.send(link, 0, &body, Sections::none());
    }

    /// The first frame of a link that this node opened: a `Welcome`, perhaps with more behind it.
    pub(crate) fn welcomed(&mut self, now: Nanoseconds, link: LinkId, target: Target, frame: &FrameView<'_>) {
        let mut signals = frame.signals();
        let Some(first) = signals.next() else { return };
        if let Some(refusal) = first.body::<RefuseLink>() {
            return self.refused(link, target, refusal.code.get(), first.section(0));
        }
        let Some(welcome) = first.body::<Welcome>() else {
            return self.refuse(link, ErrorCode::HandshakeRequired, "the first answer is a Welcome");
        };
        let expected = if matches!(target, Target::Peer { .. }) { ROLE_DATA_NODE } else { ROLE_MANAGEMENT };
        if welcome.role.get() != expected {
            return self.refuse(
                link,
                ErrorCode::UnexpectedSignal,
                "another role was expected at this address",
            );
        }
        match target {
            Target::Management { index } => {
                self.set_stage(link, Stage::Ready(LinkRole::Management { index }));
                self.out.set_receiver(link, Instance::NONE);
                self.membership.established(target, link, now);
                self.management_signals(now, link, signals);
            }
            Target::Peer { node, lane } => {
                let peer = frame.envelope().sender;
                self.hear_epoch(frame.envelope().epoch);
                let lane = self.lane_index(node, lane).filter(|lane| self.out.lanes[*lane].peer == peer);
                let Some(lane) = lane else {
                    return self.refuse(link, ErrorCode::NotInView, "another instance answered");
                };
                match (self.part, &mut self.split) {
                    (Part::Data(_), Some(split)) => {
                        split.out.to_coordinators[0].push_back(ToCoordinator::Established { link, target });
                    }
                    _ => self.membership.established(target, link, now),
                }
                if !self.attach_lane(lane, link, welcome.lane_received.get()) {
                    return self.refuse(link, ErrorCode::DamagedFrame, "the lane cannot be resumed");
                }
                // The other side forwards requests over the link once it has heard that the Welcome was received.
                self.send_heartbeat(link);
                self.share_peer_frame(link, frame);
                self.peer_signals(link, lane, peer.node, signals);
            }
        }
    }

    /// Somebody of another cluster answers. People are told if that is where a management node should be.
    pub(crate) fn hear_foreigner(&mut self, now: Nanoseconds, stage: Stage, theirs: u64) {
        let (Stage::AwaitWelcome(Target::Management { index })
        | Stage::Ready(LinkRole::Management { index })) = stage
        else {
            return;
        };
        let address = self.membership.address_of(Target::Management { index });
        let text = format!(
            "{} The management node at {address} belongs to cluster {theirs:016x}, this node to {:016x}: correct --management, or start a management node whose directory was lost with --join",
            ErrorCode::ForeignCluster,
            self.membership.cluster_id
        );
        if self.map.state.view.number == 0 {
            self.commands.push_back(Command::Stop { reason: text });
        } else if self.membership.may_tell(now) {
            self.commands.push_back(Command::Warn { text });
        }
    }

    fn refused(&mut self, link: LinkId, target: Target, code: u16, detail: &[u8]) {
        self.links.mark_closing(link, &mut self.commands);
        let known = ErrorCode::from_number(code);
        let fatal = matches!(
            known,
            Some(ErrorCode::ForeignCluster | ErrorCode::WrongSecret | ErrorCode::ProtocolVersion)
        );
        if fatal && matches!(target, Target::Management { .. }) {
            let code = known.map_or_else(|| format!("error {code}"), |code| code.to_string());
            let text =
                format!("the management node refuses this node: {code} {}", String::from_utf8_lossy(detail));
            // Whoever holds rows does not give them up because of what has become of a management node.
            self.commands.push_back(match self.map.state.view.number {
                0 => Command::Stop { reason: text },
                _ => Command::Warn { text },
            });
        }
    }
}
