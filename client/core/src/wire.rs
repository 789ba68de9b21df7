//! Turning operations into signals: route, transaction number, frame.

use crate::batch::{Batch, FLAG_EXPECT, FLAG_FENCING, Kind, State};
use crate::batches::{next_attempt, request_id};
use crate::endpoint::Endpoint;
use crate::interface::{ClientCounters, Limits, Nanoseconds};
use crate::map::ClusterMap;
use crate::session::Sessions;
use duet_protocol::frame::Envelope;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::scan::Scan;
use duet_protocol::signal::write::{
    FLAG_EXPECT_VERSION, OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT, Write,
};
use duet_protocol::signal::{Sections, Signal};

/// Bytes of a request besides key and payload, for accounting.
pub(crate) const REQUEST_BYTES: usize = 64;

/// What became of an attempt to send an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is under way.
    Yes,
    /// There is no map yet.
    NoMap,
    /// The group of its row is lost: it has no answer but that.
    Lost,
    /// There is no transaction number for it yet.
    NoNumber,
    /// Its endpoint has no link or no room.
    Busy { endpoint: usize },
}

/// Everything between an operation and its frame.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) map: ClusterMap,
    pub(crate) sessions: Sessions,
    /// What every frame says of this client; the receiver is filled in per endpoint.
    pub(crate) identity: Envelope,
    pub(crate) limits: Limits,
    pub(crate) counters: ClientCounters,
}

impl Wire {
    /// Sends operation `index` of a batch if it can be sent now. `in_turn` says that it is the first of those
    /// that wait for its endpoint.
    #[inline]
    pub(crate) fn send(
        &mut self,
        now: Nanoseconds,
        base: u64,
        batch: &mut Batch,
        index: usize,
        in_turn: bool,
    ) -> Sent {
        let operation = &mut batch.operations[index];
        let Some(route) = self.map.route(operation) else { return Sent::NoMap };
        let position = usize::from(route.endpoint);
        let Some(endpoint) = self.endpoints.get_mut(position) else {
            return if route.is_lost() { Sent::Lost } else { Sent::NoMap };
        };
        if !endpoint.has_room(&self.limits) || !(in_turn || endpoint.waiting.is_empty()) {
            return Sent::Busy { endpoint: position };
        }
        let is_write = operation.kind.is_write();
        if is_write && operation.transaction.seq == 0 {
            match self.sessions.allot(now) {
                Some(transaction) => operation.transaction = transaction,
                None => return Sent::NoNumber,
            }
        }
        if endpoint.builder.is_full() {
            endpoint.builder.seal(&Envelope { receiver: endpoint.instance, ..self.identity });
        }
        operation.attempt = next_attempt(operation.attempt);
        operation.tries = operation.tries.saturating_add(1);
        operation.state = State::InFlight;
        operation.endpoint = route.endpoint;
        self.counters.requests_sent += 1;
        let id = request_id(base, index, operation.attempt);
        let start = operation.bytes_start as usize;
        let key_end = start + usize::from(operation.key_bytes);
        let payload_end = key_end + operation.payload_bytes as usize;
        endpoint.sent(now, payload_end - start + REQUEST_BYTES);
        let key = &batch.bytes[start..key_end];
        let table = batch.tables.get(usize::from(operation.table));
        let (table, table_version) = table.map_or((0, 0), |table| (table.id, table.version));
        if operation.flags & FLAG_FENCING != 0 {
            let body = Resolve {
                session: operation.transaction.session.into(),
                seq: operation.transaction.seq.into(),
                partition_hash: operation.hash.into(),
                resolved_below: self.sessions.resolved_below(operation.transaction.session).into(),
            };
            endpoint.builder.push(0, id, &body, Sections::none());
            return Sent::Yes;
        }
        let operation_number = match operation.kind {
            Kind::Read => {
                let body = Read { table: table.into(), table_version: table_version.into(), flags: 0.into() };
                endpoint.builder.push(0, id, &body, Sections::one(key));
                return Sent::Yes;
            }
            Kind::Scan => {
                let body = Scan {
                    table: table.into(),
                    table_version: table_version.into(),
                    partition: (operation.hash as u16).into(),
                    cursor: operation.expected.epoch.into(),
                    max_rows: ((operation.expected.seq >> 32) as u32).into(),
                    max_bytes: (operation.expected.seq as u32).into(),
                    ..Scan::default()
                };
                endpoint.builder.push(0, id, &body, Sections::one(&batch.bytes[key_end..payload_end]));
                return Sent::Yes;
            }
            Kind::ScanRange => {
                let payload = &batch.bytes[key_end..payload_end];
                let (rest, to) = payload.split_at(payload.len() - usize::from((operation.hash >> 32) as u16));
                let (program, from) = rest.split_at(rest.len() - usize::from((operation.hash >> 16) as u16));
                let body = Scan {
                    table: table.into(),
                    table_version: table_version.into(),
                    partition: (operation.hash as u16).into(),
                    cursor: 0.into(),
                    max_rows: ((operation.expected.seq >> 32) as u32).into(),
                    max_bytes: (operation.expected.seq as u32).into(),
                    flags: ((operation.hash >> 48) as u32).into(),
                    index: (operation.expected.epoch as u32).into(),
                };
                endpoint.builder.push(0, id, &body, Sections::three(program, from, to));
                return Sent::Yes;
            }
            Kind::Insert => OPERATION_INSERT,
            Kind::Update => OPERATION_UPDATE,
            Kind::Upsert => OPERATION_UPSERT,
            Kind::Delete => OPERATION_DELETE,
            Kind::Resolve => unreachable!("a resolve waits for the core's own request"),
            Kind::ReadShared | Kind::ReadExclusive | Kind::Commit | Kind::Rollback => {
                unreachable!("what belongs to a transaction is sent with it")
            }
        };
        let body = Write {
            table: table.into(),
            table_version: table_version.into(),
            operation: operation_number,
            flags: if operation.flags & FLAG_EXPECT != 0 { FLAG_EXPECT_VERSION } else { 0 },
            session: operation.transaction.session.into(),
            seq: operation.transaction.seq.into(),
            resolved_below: self.sessions.resolved_below(operation.transaction.session).into(),
            expected_epoch: operation.expected.epoch.into(),
            expected_seq: operation.expected.seq.into(),
        };
        endpoint.builder.push(0, id, &body, Sections::two(key, &batch.bytes[key_end..payload_end]));
        Sent::Yes
    }

    /// Sends a request of the core itself.
    pub(crate) fn send_own<S: Signal>(
        &mut self,
        now: Nanoseconds,
        endpoint: usize,
        id: u64,
        body: &S,
        sections: Sections<'_>,
    ) {
        let endpoint = &mut self.endpoints[endpoint];
        if endpoint.builder.is_full() {
            endpoint.builder.seal(&Envelope { receiver: endpoint.instance, ..self.identity });
        }
        endpoint.sent(now, REQUEST_BYTES);
        endpoint.builder.push(0, id, body, sections);
    }

    /// Seals all open frames.
    pub(crate) fn seal(&mut self) {
        for endpoint in &mut self.endpoints {
            if endpoint.builder.has_open_frame() {
                endpoint.builder.seal(&Envelope { receiver: endpoint.instance, ..self.identity });
            }
        }
    }

    /// As [`Wire::any_ready`], preferably one that does not owe an answer for longer than `silence`.
    pub(crate) fn any_heard(&self, now: Nanoseconds, turn: u64, silence: Nanoseconds) -> Option<usize> {
        let count = self.endpoints.len();
        let start = turn as usize % count.max(1);
        let heard = |index: &usize| {
            let endpoint = &self.endpoints[*index];
            endpoint.is_ready() && !endpoint.is_silent(now, silence)
        };
        let order = || (0..count).map(|offset| (start + offset) % count);
        let data_node = order().find(|index| heard(index) && self.endpoints[*index].node() != 0);
        data_node.or_else(|| order().find(heard)).or_else(|| self.any_ready(turn, false))
    }

    /// A ready data node, a different one for every `turn`; else any ready endpoint.
    pub(crate) fn any_ready(&self, turn: u64, only_data_nodes: bool) -> Option<usize> {
        let count = self.endpoints.len();
        let start = turn as usize % count.max(1);
        let order = || (0..count).map(|offset| (start + offset) % count);
        let data_node =
            order().find(|index| self.endpoints[*index].is_ready() && self.endpoints[*index].node() != 0);
        if only_data_nodes {
            data_node
        } else {
            data_node.or_else(|| order().find(|index| self.endpoints[*index].is_ready()))
        }
    }
}
