//! The places of crash points, by role.

use super::Kind::{Client, Data, Management};
use super::Standing::{Alone, Any, Changing, Copying, Following, Joining, Leading};
use super::Trigger::{Durable, Hears, HearsRaft, Loses, Proposes, Sends, SendsRaft, Writes};
use super::{Kind, Place, Standing, Trigger};
use duet_protocol::signal::SignalType as Type;
use duet_protocol::signal::propose_view::{KIND_JOIN, KIND_PROMOTE, KIND_REMOVE, KIND_SWAP};

const fn place(name: &'static str, kind: Kind, trigger: Trigger, standing: Standing) -> Place {
    Place { name, kind, trigger, standing }
}

// Numbers of Raft's messages (`eraftpb.proto` of the raft crate).
const APPEND: u8 = 3;
const APPEND_RESPONSE: u8 = 4;
const VOTE: u8 = 5;
const VOTE_RESPONSE: u8 = 6;
const SNAPSHOT: u8 = 7;
const HEARTBEAT: u8 = 8;
const HEARTBEAT_RESPONSE: u8 = 9;
const PRE_VOTE: u8 = 17;
const PRE_VOTE_RESPONSE: u8 = 18;

/// All places. A new one adds its line in its group.
pub const PLACES: &[Place] = &[
    // One-pass writes.
    place("primary.write-arrives", Data, Hears(Type::Write), Any),
    place("primary.prepares-one", Data, Sends(Type::PrepareOne), Any),
    place("backup.prepare-one-arrives", Data, Hears(Type::PrepareOne), Any),
    place("backup.accepts-one", Data, Sends(Type::AcceptOne), Any),
    place("primary.acceptance-arrives", Data, Hears(Type::AcceptOne), Any),
    place("primary.answers-write", Data, Sends(Type::WriteReply), Any),
    place("backup.refuses-one", Data, Sends(Type::RefuseOne), Any),
    place("primary.refusal-arrives", Data, Hears(Type::RefuseOne), Any),
    place("primary.resolve-arrives", Data, Hears(Type::Resolve), Any),
    place("primary.answers-resolve", Data, Sends(Type::ResolveReply), Any),
    // Coordinators of transactions.
    place("coordinator.operation-arrives", Data, Hears(Type::Operate), Any),
    place("coordinator.answers-operation", Data, Sends(Type::OperateReply), Any),
    place("coordinator.commit-is-asked-for", Data, Hears(Type::CommitTransaction), Any),
    place("coordinator.sends-prepare", Data, Sends(Type::Prepare), Any),
    place("coordinator.prepared-arrives", Data, Hears(Type::Prepared), Any),
    place("coordinator.decides", Data, Sends(Type::CommitRows), Any),
    place("coordinator.committed-arrives", Data, Hears(Type::Committed), Any),
    place("coordinator.tells-client", Data, Sends(Type::TransactionReply), Any),
    place("coordinator.completes", Data, Sends(Type::Complete), Any),
    place("coordinator.rollback-is-asked-for", Data, Hears(Type::RollbackTransaction), Any),
    place("coordinator.sends-abort", Data, Sends(Type::AbortRows), Any),
    place("coordinator.probe-arrives", Data, Hears(Type::DeadlockProbe), Any),
    // Participants and their backups.
    place("participant.prepare-arrives", Data, Hears(Type::Prepare), Any),
    place("participant.prepares-rows", Data, Sends(Type::PrepareRow), Any),
    place("backup.prepared-row-arrives", Data, Hears(Type::PrepareRow), Any),
    place("backup.is-prepared", Data, Sends(Type::Prepared), Any),
    place("participant.commit-arrives", Data, Hears(Type::CommitRows), Any),
    place("participant.has-committed", Data, Sends(Type::Committed), Any),
    place("participant.complete-arrives", Data, Hears(Type::Complete), Any),
    place("participant.abort-arrives", Data, Hears(Type::AbortRows), Any),
    place("participant.aborts-at-backup", Data, Sends(Type::AbortPrepared), Any),
    place("backup.abort-arrives", Data, Hears(Type::AbortPrepared), Any),
    place("participant.waits-for-lock", Data, Sends(Type::LockWait), Any),
    // Reads, sessions, epochs, schema, links.
    place("node.read-arrives", Data, Hears(Type::Read), Any),
    place("node.scan-arrives", Data, Hears(Type::Scan), Any),
    place("node.opens-session", Data, Sends(Type::SessionOpened), Any),
    place("keeper.opens-epoch", Data, Sends(Type::OpenEpoch), Any),
    place("node.epoch-is-drained", Data, Sends(Type::EpochDrained), Any),
    place("keeper.closes-epoch", Data, Sends(Type::EpochClosed), Any),
    place("node.epoch-is-closed", Data, Hears(Type::EpochClosed), Any),
    place("node.reports", Data, Sends(Type::NodeReport), Any),
    place("node.state-arrives", Data, Hears(Type::ClusterStateSignal), Any),
    place("node.heartbeat-arrives", Data, Hears(Type::Heartbeat), Any),
    place("node.grants", Data, Sends(Type::Heartbeat), Any),
    place("node.acknowledges-lane", Data, Sends(Type::LaneAcknowledge), Any),
    place("node.greets", Data, Sends(Type::Hello), Any),
    place("node.loses-connection", Data, Loses, Any),
    // Changes of view and take-over.
    place("survivor.proposes-removal", Data, Proposes(KIND_REMOVE), Any),
    place("survivor.removal-is-answered", Data, Hears(Type::ViewProposed), Any),
    place("member.has-installed", Data, Sends(Type::Installed), Changing),
    place("member.installed-arrives", Data, Hears(Type::Installed), Changing),
    place("survivor.reports-transactions", Data, Sends(Type::TransactionReport), Any),
    place("taker.report-arrives", Data, Hears(Type::TransactionReport), Any),
    place("survivor.ends-reports", Data, Sends(Type::ReportEnd), Any),
    place("taker.reports-end", Data, Hears(Type::ReportEnd), Any),
    place("taker.decides", Data, Sends(Type::CommitRows), Changing),
    place("taker.gives-up", Data, Sends(Type::AbortRows), Changing),
    place("taker.is-done", Data, Sends(Type::TakeoverDone), Changing),
    place("member.taker-is-done", Data, Hears(Type::TakeoverDone), Changing),
    place("sole.answers-write", Data, Sends(Type::WriteReply), Alone),
    // Joining.
    place("joiner.registers", Data, Sends(Type::Register), Any),
    place("joiner.is-registered", Data, Hears(Type::Registered), Any),
    place("joiner.proposes-itself", Data, Proposes(KIND_JOIN), Any),
    place("joiner.copy-begins", Data, Hears(Type::CopyBegin), Joining),
    place("joiner.outcomes-arrive", Data, Hears(Type::CopyOutcomes), Joining),
    place("joiner.row-arrives", Data, Hears(Type::CopyRow), Joining),
    place("joiner.copy-ends", Data, Hears(Type::CopyEnd), Joining),
    place("joiner.write-arrives", Data, Hears(Type::PrepareOne), Joining),
    place("joiner.accepts", Data, Sends(Type::AcceptOne), Joining),
    place("joiner.prepared-row-arrives", Data, Hears(Type::PrepareRow), Joining),
    place("joiner.state-arrives", Data, Hears(Type::ClusterStateSignal), Joining),
    // The one that copies, promotes, and hands over.
    place("copier.begins", Data, Sends(Type::CopyBegin), Copying),
    place("copier.sends-outcomes", Data, Sends(Type::CopyOutcomes), Copying),
    place("copier.sends-row", Data, Sends(Type::CopyRow), Copying),
    place("copier.ends", Data, Sends(Type::CopyEnd), Copying),
    place("copier.acceptance-arrives", Data, Hears(Type::AcceptOne), Copying),
    place("copier.grants", Data, Sends(Type::Heartbeat), Copying),
    place("promoter.proposes", Data, Proposes(KIND_PROMOTE), Any),
    place("promoter.is-answered", Data, Hears(Type::ViewProposed), Copying),
    place("leaver.proposes-swap", Data, Proposes(KIND_SWAP), Any),
    // Management nodes: requests.
    place("manager.registration-arrives", Management, Hears(Type::Register), Any),
    place("manager.registers", Management, Sends(Type::Registered), Any),
    place("manager.proposal-arrives", Management, Hears(Type::ProposeView), Leading),
    place("manager.answers-proposal", Management, Sends(Type::ViewProposed), Any),
    place("manager.schema-change-arrives", Management, Hears(Type::ChangeDictionary), Any),
    place("manager.answers-schema-change", Management, Sends(Type::DictionaryChanged), Any),
    place("manager.sends-state", Management, Sends(Type::ClusterStateSignal), Any),
    place("manager.report-arrives", Management, Hears(Type::NodeReport), Leading),
    place("manager.relays-installed", Management, Sends(Type::Installed), Any),
    // Management nodes: the log.
    place("leader.appends", Management, SendsRaft(APPEND), Leading),
    place("follower.entries-arrive", Management, HearsRaft(APPEND), Following),
    place("follower.acknowledges", Management, SendsRaft(APPEND_RESPONSE), Following),
    place("leader.acknowledgement-arrives", Management, HearsRaft(APPEND_RESPONSE), Leading),
    place("manager.writes-log", Management, Writes(false), Any),
    place("manager.log-is-durable", Management, Durable(false), Any),
    place("manager.writes-snapshot", Management, Writes(true), Any),
    place("manager.snapshot-is-durable", Management, Durable(true), Any),
    place("leader.sends-snapshot", Management, SendsRaft(SNAPSHOT), Leading),
    place("follower.snapshot-arrives", Management, HearsRaft(SNAPSHOT), Any),
    place("leader.sends-heartbeat", Management, SendsRaft(HEARTBEAT), Leading),
    place("follower.heartbeat-arrives", Management, HearsRaft(HEARTBEAT), Following),
    place("leader.heartbeat-is-answered", Management, HearsRaft(HEARTBEAT_RESPONSE), Leading),
    place("candidate.asks-before-vote", Management, SendsRaft(PRE_VOTE), Any),
    place("voter.is-asked-before-vote", Management, HearsRaft(PRE_VOTE), Any),
    place("candidate.is-told-before-vote", Management, HearsRaft(PRE_VOTE_RESPONSE), Any),
    place("candidate.asks-for-vote", Management, SendsRaft(VOTE), Any),
    place("voter.is-asked", Management, HearsRaft(VOTE), Any),
    place("voter.votes", Management, SendsRaft(VOTE_RESPONSE), Any),
    place("candidate.is-voted-for", Management, HearsRaft(VOTE_RESPONSE), Any),
    place("manager.loses-connection", Management, Loses, Any),
    // Clients.
    place("client.opens-session", Client, Sends(Type::OpenSession), Any),
    place("client.session-is-open", Client, Hears(Type::SessionOpened), Any),
    place("client.sends-read", Client, Sends(Type::Read), Any),
    place("client.sends-write", Client, Sends(Type::Write), Any),
    place("client.write-is-answered", Client, Hears(Type::WriteReply), Any),
    place("client.sends-operation", Client, Sends(Type::Operate), Any),
    place("client.operation-is-answered", Client, Hears(Type::OperateReply), Any),
    place("client.asks-for-commit", Client, Sends(Type::CommitTransaction), Any),
    place("client.transaction-is-answered", Client, Hears(Type::TransactionReply), Any),
    place("client.rolls-back", Client, Sends(Type::RollbackTransaction), Any),
    place("client.asks-for-outcome", Client, Sends(Type::Resolve), Any),
    place("client.outcome-is-answered", Client, Hears(Type::ResolveReply), Any),
    place("client.sends-scan", Client, Sends(Type::Scan), Any),
    place("client.scan-is-answered", Client, Hears(Type::ScanReply), Any),
    place("client.error-arrives", Client, Hears(Type::ErrorReply), Any),
    place("client.changes-schema", Client, Sends(Type::ChangeDictionary), Any),
    place("client.schema-is-changed", Client, Hears(Type::DictionaryChanged), Any),
];

/// What a place is, in words.
pub(super) fn describe(place: &Place) -> String {
    let what = match place.trigger {
        Hears(signal) => format!("{signal:?} has arrived"),
        Sends(signal) => format!("{signal:?} leaves"),
        HearsRaft(kind) => format!("Raft message {kind} has arrived"),
        SendsRaft(kind) => format!("Raft message {kind} leaves"),
        Proposes(kind) => format!("a change of view of kind {kind} is proposed"),
        Writes(false) => "entries of the log are handed to the disk".to_owned(),
        Writes(true) => "a snapshot is handed to the disk".to_owned(),
        Durable(false) => "entries of the log are durable".to_owned(),
        Durable(true) => "a snapshot is durable".to_owned(),
        Loses => "a connection is lost".to_owned(),
    };
    let standing = match place.standing {
        Any => "",
        Joining => ", while it joins",
        Copying => ", while another one joins",
        Alone => ", while it is alone in its group",
        Changing => ", while the view changes",
        Leading => ", while it leads",
        Following => ", while it does not lead",
    };
    format!("{what}{standing}")
}
