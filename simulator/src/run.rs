//! One run: a cluster forms, clients use it while faults strike, faults stop, and everything is compared.

use crate::checker::{self, AppendRecord};
use crate::crash::Coverage;
use crate::event::Event;
use crate::history::{History, Register, Seen, Violation};
use crate::plan::{Ending, FORMING_LIMIT, Plan, REST_LIMIT, TRAFFIC_LIMIT};
use crate::process::{BankClient, Change, Client, DirectClient, MemberClient, Mode, Process};
use crate::queue::{MILLISECOND, SECOND, Time};
use crate::trace::{ProcessNumber, Trace, What};
use crate::workload::{BADGE, FIRST_BALANCE, MEMBERS, Shape};
use crate::world::{FaultCounts, Role, Slot, World};
use duet_datanode_core::{NodeCounters, ReplicaDigest, UniqueEntry};
use duet_protocol::record::{ClusterState, Member, View};
use duet_protocol::schema::IndexKind;
use std::collections::{BTreeMap, BTreeSet};

mod columns;
mod expiring;
mod leaving;
mod lists;

/// Time between two looks of the run at the world.
const LOOK: Time = 5 * MILLISECOND;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Events handled.
    pub events: u64,
    /// Operations answered with a result.
    pub acknowledged: u64,
    /// Virtual time in nanoseconds.
    pub virtual_time: Time,
    /// Hash of everything that happened.
    pub hash: u64,
    /// Faults that struck.
    pub faults: FaultCounts,
    /// Writes and reads in the evidence.
    pub evidence: (u64, u64),
    /// What happened on the way: errors answered to clients, and some counters of the data nodes, by name.
    pub sights: BTreeMap<&'static str, u64>,
    /// Crash points that were reached and struck.
    pub coverage: Coverage,
    /// Transactions on lists that are committed or may be, and the lists at the end as one more.
    pub lists: Vec<AppendRecord>,
    /// The check that failed, and the last events before it.
    pub failure: Option<(Violation, String)>,
}

/// Runs one seed. With `print` every event goes to standard output.
pub fn run_seed(seed: u64, planted_bug: u32, print: bool) -> Report {
    run_plan(Plan::new(seed, planted_bug), print)
}

/// Runs a plan.
pub fn run_plan(plan: Plan, print: bool) -> Report {
    let mut run = Run {
        world: World::lay_out(plan, Trace::new(print)),
        history: History::default(),
        lists: Vec::new(),
        killed: None,
    };
    // An assertion of a core is a finding like any other: the seed and the last events must be told.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.play()));
    let violation = match ended {
        Ok(result) => result.err(),
        Err(panic) => Some(Violation::new("assertions hold", panic_text(panic.as_ref()))),
    };
    let sights = run.sights();
    let acknowledged = run.acknowledged();
    Report {
        seed: run.world.plan.seed,
        events: run.world.trace.events(),
        acknowledged,
        virtual_time: run.world.now(),
        hash: run.world.trace.hash(),
        faults: run.world.faults,
        sights,
        lists: run.lists,
        coverage: run.world.crashes.coverage,
        evidence: (run.history.writes.len() as u64, run.history.reads.len() as u64),
        failure: violation.map(|violation| (violation, run.world.trace.recent(60))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
}

struct Run {
    world: World,
    history: History,
    lists: Vec<AppendRecord>,
    /// The data node that was killed in the middle of the traffic, and its id.
    killed: Option<(ProcessNumber, u32)>,
}

impl Run {
    fn play(&mut self) -> Result<(), Violation> {
        let start = self.world.start_all();
        start.map_err(|reason| Violation::new("processes start", reason))?;
        self.world.start_faults();
        self.phase(1);
        self.wait("the cluster forms", FORMING_LIMIT, Run::is_formed)?;
        self.create_tables()?;
        self.phase(2);
        self.traffic()?;
        self.phase(3);
        match self.world.plan.ending {
            Ending::Rest | Ending::Kill { .. } => self.end_at_rest(),
            Ending::Lose => self.end_with_a_loss(),
        }
    }

    fn sights(&mut self) -> BTreeMap<&'static str, u64> {
        let mut sights = BTreeMap::new();
        for client in self.witnesses() {
            for (name, count) in &client.evidence().errors {
                *sights.entry(*name).or_default() += count;
            }
        }
        for (node, kernel) in self.data_nodes() {
            let counters = kernel.counters();
            for (name, count) in [
                ("rows refused", counters.writes_refused),
                ("forwarded", counters.forwarded),
                ("replayed", counters.replayed),
                ("lane frames resent", counters.lane_frames_resent),
                ("links refused", counters.links_refused),
                ("rows purged", counters.rows_purged),
                ("transactions committed", counters.transactions_committed),
                ("transactions rolled back", counters.transactions_aborted),
                ("deadlocks", counters.deadlocks),
                ("closed epochs", if node == 1 { counters.closed_epoch } else { 0 }),
                ("taken over", counters.taken_over),
                ("views", counters.view),
            ] {
                *sights.entry(name).or_default() += count;
            }
        }
        sights.insert("columns added", self.column_clients().map(|client| client.added).sum());
        sights
    }

    fn phase(&mut self, number: u64) {
        self.world.note(0, What::Phase, number);
    }

    /// Lets time pass until `done`, looking every now and then.
    fn wait(
        &mut self,
        what: &'static str,
        limit: Time,
        mut done: impl FnMut(&mut Run) -> bool,
    ) -> Result<(), Violation> {
        let end = self.world.now() + limit;
        while !done(self) {
            if self.world.now() >= end {
                let detail = format!("not within {} s: {}", limit / SECOND, self.describe_open());
                return Err(Violation::new(what, detail));
            }
            let next = self.world.now() + LOOK;
            self.world.run_until(next);
            self.world.check_leases();
            if let Some(violation) = self.world.violation.take() {
                return Err(violation);
            }
        }
        Ok(())
    }

    fn describe_open(&mut self) -> String {
        let mut text = self.leaks();
        for number in 0..self.world.slots.len() {
            let slot = &self.world.slots[number];
            match &slot.process {
                Some(Process::DataNode(node)) => {
                    let NodeCounters {
                        pending_writes,
                        queued_writes,
                        transactions,
                        row_locks,
                        participants,
                        prepared,
                        view,
                        serving,
                        rows,
                        memory_used_bytes,
                        ..
                    } = node.kernel.counters();
                    text += &format!(
                        "{:?}: pending {pending_writes}, queued {queued_writes}, transactions {transactions}, locks {row_locks}, participants {participants}, prepared {prepared}, view {view}, serving {serving}, rows {rows}, memory {memory_used_bytes}\n",
                        slot.role
                    );
                }
                Some(Process::Management(management)) => {
                    let tables = management.node.state().tables.iter();
                    let tables: Vec<_> = tables.map(|table| (&table.definition.name, table.state)).collect();
                    text += &format!("{:?}: tables {tables:?}\n", slot.role);
                }
                Some(process) => {
                    if let Some(client) = process.client().filter(|client| !client.is_idle()) {
                        text += &format!("{:?}: {}\n", slot.role, client.describe_open());
                    }
                }
                None => text += &format!("{:?} is dead\n", slot.role),
            }
        }
        text
    }

    fn clients(&mut self) -> impl Iterator<Item = &mut dyn Client> {
        let slots = self.world.slots.iter_mut().filter(|slot| !slot.vanished);
        slots.filter_map(|slot| slot.process.as_mut().and_then(Process::client_mut))
    }

    /// The clients, and those that have ended, for what they have seen.
    fn witnesses(&mut self) -> impl Iterator<Item = &mut dyn Client> {
        self.world.slots.iter_mut().filter_map(|slot| slot.process.as_mut().and_then(Process::client_mut))
    }

    /// The first direct client, which also does what the run itself wants to know.
    fn direct(&mut self) -> Result<&mut DirectClient, Violation> {
        let direct = self.world.slots.iter_mut().find_map(|slot| {
            if let Some(Process::Direct(client)) = &mut slot.process { Some(client.as_mut()) } else { None }
        });
        direct.ok_or_else(|| Violation::new("processes start", "there is no direct client"))
    }

    fn acknowledged(&mut self) -> u64 {
        self.witnesses().map(|client| client.evidence().acknowledged).sum()
    }

    /// Data nodes that live, and are members as far as the management nodes know.
    fn data_nodes(&self) -> impl Iterator<Item = (u32, &duet_datanode_core::NodeKernel)> {
        let view = self.world.latest_view();
        let is_member = move |kernel: &duet_datanode_core::NodeKernel| {
            view.is_none_or(|view| view.contains(kernel.instance()))
        };
        let nodes = self.living_data_nodes();
        nodes.filter(move |(_, kernel)| is_member(kernel))
    }

    fn living_data_nodes(&self) -> impl Iterator<Item = (u32, &duet_datanode_core::NodeKernel)> {
        self.world.slots.iter().filter_map(|slot| match (&slot.process, slot.role) {
            (Some(Process::DataNode(node)), Role::Data(id)) => Some((id, &node.kernel)),
            _ => None,
        })
    }

    fn is_formed(&mut self) -> bool {
        let formed = self.world.latest_view().is_some();
        formed && self.data_nodes().all(|(_, kernel)| kernel.counters().serving == 1)
    }

    fn create_tables(&mut self) -> Result<(), Violation> {
        let tables = self.world.plan.workload.tables;
        let first = self.direct()?;
        for number in 0..tables {
            let name = format!("table_{number}");
            first.change_dictionary(Change::Create { name, shape: Shape::of(number) });
        }
        self.wait("tables are created", FORMING_LIMIT, |run| run.clients().all(|client| client.is_idle()))?;
        self.wait("clients learn of the tables", FORMING_LIMIT, |run| {
            run.clients().all(|client| client.active_tables().len() == tables as usize)
        })?;
        for client in self.clients() {
            let lasting = client.active_tables();
            client.expect_lasting(lasting);
            client.set_mode(Mode::Traffic);
        }
        self.watch_bank()
    }

    /// Tells the checker of cuts which table the bank's is.
    fn watch_bank(&mut self) -> Result<(), Violation> {
        if self.world.plan.bankers == 0 {
            return Ok(());
        }
        let table = self.bankers().find_map(|banker| banker.bank_table());
        let (id, layout) =
            table.ok_or_else(|| Violation::new("tables are created", "no table of the bank"))?;
        let accounts = self.world.plan.accounts;
        self.world.cuts.watch_bank(id, layout, accounts);
        Ok(())
    }

    /// Once everything is at rest epochs go on being closed.
    fn epochs_go_on(&mut self) -> Result<(), Violation> {
        let closed = self.data_nodes().map(|(_, kernel)| kernel.closed_epoch()).max().unwrap_or(0);
        let changed = self.world.latest_view().is_some_and(|view| view.number > 1);
        self.wait("epochs close at rest", REST_LIMIT, |run| {
            let nodes_know = run.data_nodes().all(|(_, kernel)| kernel.closed_epoch() > closed + 2);
            nodes_know && (changed || run.world.cuts.cuts() > 0)
        })
    }

    fn traffic(&mut self) -> Result<(), Violation> {
        let (acknowledged, events) = (self.world.plan.workload.acknowledged, self.world.plan.workload.events);
        let change_every = self.world.plan.workload.schema_change_every;
        let mut next_change = self.world.now() + change_every;
        let mut changes = 0;
        let mut next_leave = self.world.now() + self.world.plan.leave_every;
        self.wait("traffic goes on", TRAFFIC_LIMIT, |run| {
            if change_every > 0 && run.world.now() >= next_change {
                next_change = run.world.now() + run.world.identity_random.around(change_every);
                run.change_schema(&mut changes);
            }
            run.let_one_leave(&mut next_leave);
            if run.acknowledged() >= acknowledged / 2 {
                run.kill_in_traffic();
            }
            let rejoined = run.killed.is_none() || run.everybody_is_full();
            run.acknowledged() >= acknowledged && run.world.trace.events() >= events && rejoined
        })
    }

    /// In the plan's ending: one data node dies for good, its group and the traffic go on.
    fn kill_in_traffic(&mut self) {
        let Ending::Kill { silent } = self.world.plan.ending else { return };
        if self.killed.is_some() {
            return;
        }
        let node = 1 + self.world.identity_random.below(u64::from(self.world.plan.data_nodes)) as u32;
        let victim = self.world.numbers(|role| role == Role::Data(node))[0];
        if self.world.slots[usize::from(victim)].process.is_some() && self.world.can_lose(victim) {
            self.world.kill(victim, silent);
            self.world.faults.kills += 1;
            self.killed = Some((victim, node));
            let wait = self.world.identity_random.around(700 * MILLISECOND);
            let at = self.world.now() + wait;
            self.world.network.queue.push(at, Event::Restart { process: victim });
        }
    }

    /// Creates an index or a table while traffic runs, or drops the one created last.
    fn change_schema(&mut self, changes: &mut u32) {
        let number = *changes;
        if self.clients().any(|client| client.has_schema_change()) {
            return;
        }
        let client = self.world.identity_random.below(u64::from(self.world.plan.everyone()));
        let round = number / 4;
        let (table, kind, columns) = self.passing_index(round);
        let place = self.world.numbers(|role| role == Role::Client(client as u32));
        let has_vanished = place.iter().any(|number| self.world.slots[usize::from(*number)].vanished);
        // The first one stays to the end.
        let client = if has_vanished { 0 } else { client };
        let Some(client) = self.witnesses().nth(client as usize) else { return };
        let name = format!("passing_{round}");
        client.change_dictionary(match number % 4 {
            0 => Change::Index { table, index: Some((kind, columns)) },
            1 => Change::Create { name, shape: Shape::of(round) },
            2 => Change::Index { table, index: None },
            _ => Change::Drop { name },
        });
        *changes += 1;
    }

    /// Table, kind and columns of the index that comes and goes.
    fn passing_index(&self, round: u32) -> (String, IndexKind, Vec<u16>) {
        let register = round % self.world.plan.workload.tables;
        let (table, shape) = (format!("table_{register}"), Shape::of(register));
        let members = || MEMBERS.to_owned();
        let first = self.world.plan.seed % 2;
        match ((first + u64::from(round)) % 6, shape) {
            // Every badge is there once; without a team there is no entry.
            (0 | 2, _) if self.world.plan.members > 0 => (members(), IndexKind::Unique, vec![BADGE]),
            (3, _) if self.world.plan.members > 0 => (members(), IndexKind::Unique, vec![2]),
            // Seats are there more than once.
            (5, _) if self.world.plan.members > 0 => (members(), IndexKind::Unique, vec![3]),
            // On the counter, which most writes change; on the padding and the counter where the key has two columns.
            (_, Shape::Single) => (table, IndexKind::Ordered, vec![2]),
            (_, Shape::Composite) => (table, IndexKind::Ordered, vec![4, 3]),
        }
    }

    fn end_at_rest(&mut self) -> Result<(), Violation> {
        self.world.calm_down();
        for client in self.clients() {
            client.set_mode(Mode::Finish);
        }
        self.wait("everything completes once faults stop", REST_LIMIT, |run| {
            run.clients().all(|client| client.is_idle())
        })?;
        self.wait("data nodes that come back are full members", REST_LIMIT, |run| run.everybody_is_full())?;
        self.wait("data nodes that come back lead their share", REST_LIMIT, |run| run.is_spread_evenly())?;
        self.judge_expiring()?;
        self.wait("nothing is left under way", REST_LIMIT, Run::is_at_rest)?;
        self.wait("nothing is leaked", REST_LIMIT, |run| run.leaks().is_empty())?;
        self.epochs_go_on()?;
        self.compare_replicas()?;
        let rows = self.scan_all()?;
        self.collect_history()?;
        let tables = self.lasting_tables()?;
        checker::check(&self.history, Some(&rows), &tables)?;
        self.judge_bank(true)?;
        self.judge_lists(true)?;
        self.judge_members()?;
        self.judge_columns()?;
        self.drop_everything()
    }

    /// The cluster state of the management node that leads, if one does.
    fn leading_state(&self) -> Option<&ClusterState> {
        self.world.slots.iter().find_map(|slot| {
            let Some(Process::Management(management)) = &slot.process else { return None };
            let node = &management.node;
            management.leads().then(|| node.state())
        })
    }

    /// Without tables no row, no memory of rows and no connection too many is left.
    fn drop_everything(&mut self) -> Result<(), Violation> {
        let mut tables = Vec::new();
        self.wait("management nodes lead", REST_LIMIT, |run| {
            let leading = run.leading_state();
            tables = leading.map(|state| state.tables.clone()).unwrap_or_default();
            leading.is_some()
        })?;
        let direct = self.direct()?;
        for table in tables.into_iter().filter(|table| !table.is_hidden()) {
            direct.change_dictionary(Change::Drop { name: table.definition.name });
        }
        self.wait("tables are dropped", REST_LIMIT, |run| run.clients().all(|client| client.is_idle()))?;
        self.wait("nothing is left of dropped tables", REST_LIMIT, |run| {
            run.data_nodes().all(|(_, kernel)| {
                let counters = kernel.counters();
                counters.rows == 0 && counters.memory_used_bytes == 0
            })
        })?;
        for number in self.world.numbers(|role| matches!(role, Role::Data(_))) {
            let is_end =
                |end: &crate::network::End| end.process == number && end.link.is_some() && !end.closed;
            let open = self.world.network.open_connections(|connection| connection.ends.iter().any(is_end));
            let Some(Process::DataNode(node)) = &self.world.slots[usize::from(number)].process else {
                continue;
            };
            let known = node.kernel.counters().links;
            if known != open.len() as u64 {
                let detail = format!("process {number} knows {known} links where {} are open", open.len());
                return Err(Violation::new("links are not leaked", detail));
            }
        }
        Ok(())
    }

    /// Ids of the tables that were there from the beginning.
    fn lasting_tables(&mut self) -> Result<Vec<u32>, Violation> {
        let count = self.world.plan.workload.tables as usize;
        let state = self.direct()?.state().cloned().unwrap_or_default();
        let named = state.tables.iter().filter(|table| table.definition.name.starts_with("table_"));
        let tables: Vec<u32> = named.map(|table| table.id).collect();
        if tables.len() == count {
            Ok(tables)
        } else {
            Err(Violation::new("tables last", format!("{tables:?}")))
        }
    }

    fn is_at_rest(&mut self) -> bool {
        let state = self.direct().ok().and_then(|direct| direct.state().cloned());
        let Some(partitions) = state.map(|state| state.configuration.partitions) else { return false };
        let positions: Vec<Vec<(u16, u64)>> = self
            .data_nodes()
            .map(|(_, kernel)| {
                (0..partitions)
                    .filter_map(|partition| Some((partition, kernel.last_position(partition)?)))
                    .collect()
            })
            .collect();
        let mut last: BTreeMap<u16, u64> = BTreeMap::new();
        let equal = positions
            .into_iter()
            .flatten()
            .all(|(partition, position)| *last.entry(partition).or_insert(position) == position);
        equal
            && self.data_nodes().all(|(_, kernel)| {
                let counters = kernel.counters();
                counters.pending_writes == 0
                    && counters.queued_writes == 0
                    && counters.lane_retained_bytes == 0
                    && counters.transactions == 0
                    && counters.row_locks == 0
                    && counters.participants == 0
                    && counters.prepared == 0
            })
    }

    /// What data nodes hold of work under way.
    fn leaks(&self) -> String {
        let mut text = String::new();
        for (node, kernel) in self.data_nodes() {
            kernel.under_way(|what, count| {
                if count > 0 {
                    text += &format!("node {node}: {count} {what}; ");
                }
            });
        }
        text
    }

    /// Replicas hold the same rows with the same versions, and the same outcome records; their ordered indexes are what
    /// building them anew would give.
    fn compare_replicas(&mut self) -> Result<(), Violation> {
        let mut first: BTreeMap<u16, (u32, ReplicaDigest)> = BTreeMap::new();
        let mut folded = Vec::new();
        for (node, kernel) in self.data_nodes() {
            if let Some(fault) = kernel.index_faults().first() {
                return Err(Violation::new(
                    "indexes hold what their tables hold",
                    format!("node {node}, {fault}"),
                ));
            }
            for digest in kernel.replica_digests() {
                folded.extend([digest.last_seq, digest.rows_hash, digest.outcomes_hash]);
                let Some((other, known)) = first.get(&digest.partition) else {
                    first.insert(digest.partition, (node, digest));
                    continue;
                };
                let equal =
                    (known.last_seq, known.rows, known.rows_hash, known.outcomes, known.outcomes_hash)
                        == (
                            digest.last_seq,
                            digest.rows,
                            digest.rows_hash,
                            digest.outcomes,
                            digest.outcomes_hash,
                        );
                if !equal {
                    let detail = format!("node {other} {known:?}, node {node} {digest:?}");
                    return Err(Violation::new("replicas are equal at rest", detail));
                }
            }
        }
        for value in folded {
            self.world.trace.fold(value);
        }
        Ok(())
    }

    fn bankers(&mut self) -> impl Iterator<Item = &mut BankClient> {
        self.world.slots.iter_mut().filter_map(|slot| {
            if let Some(Process::Bank(client)) = &mut slot.process { Some(client.as_mut()) } else { None }
        })
    }

    /// The money is all there, every increment counted once, and the transactions have an order.
    fn judge_bank(&mut self, at_rest: bool) -> Result<(), Violation> {
        let mut last = BTreeMap::new();
        if at_rest && self.world.plan.bankers > 0 {
            self.bankers().take(1).for_each(BankClient::read_last);
            self.wait("the accounts are read at the end", REST_LIMIT, |run| {
                run.bankers().all(|banker| banker.is_idle())
            })?;
            let rows = self.bankers().next().map(BankClient::last_rows).unwrap_or_default();
            let touched: u64 = self.bankers().map(|banker| banker.touched).sum();
            let accounts = self.world.plan.accounts;
            let money: i64 = rows.values().map(|row| row.balance).sum();
            let touches: i64 = rows.values().map(|row| row.touches).sum();
            if money != FIRST_BALANCE * accounts as i64 || touches != touched as i64 {
                let detail =
                    format!("{money} in {accounts} accounts, {touches} of {touched} touches: {rows:?}");
                return Err(Violation::new("money is neither made nor lost", detail));
            }
            last = rows.into_iter().map(|(key, row)| (key, row.stamp)).collect();
        }
        let mut records: Vec<_> =
            self.bankers().flat_map(|banker| std::mem::take(&mut banker.records)).collect();
        if !at_rest {
            // What nobody was told of and nobody has seen may not have happened.
            let seen: BTreeSet<u64> =
                records.iter().flat_map(|record| record.reads.values().copied().flatten()).collect();
            records.retain(|record| record.responded != Time::MAX || seen.contains(&record.stamp));
        }
        checker::check_bank(&records, &last)
    }

    fn members(&mut self) -> impl Iterator<Item = &mut MemberClient> {
        self.world.slots.iter_mut().filter_map(|slot| {
            if let Some(Process::Members(client)) = &mut slot.process { Some(client.as_mut()) } else { None }
        })
    }

    /// Every increment of a unique column counted once, and every replica of a row has its entries on every replica of
    /// theirs, and nothing else is there.
    fn judge_members(&mut self) -> Result<(), Violation> {
        let mut balance: BTreeMap<UniqueEntry, i64> = BTreeMap::new();
        // After a failover groups may differ in their numbers of replicas.
        let once = self.world.latest_view().is_some_and(|view| view.number > 1);
        let mut counted_once = BTreeSet::new();
        for (_, kernel) in self.data_nodes() {
            for (entry, count) in
                kernel.unique_entries().into_iter().map(|(entry, row)| (entry, if row { 1 } else { -1 }))
            {
                if !once || counted_once.insert((entry.clone(), count)) {
                    *balance.entry(entry).or_default() += count;
                }
            }
        }
        if let Some((entry, count)) = balance.iter().find(|(_, count)| **count != 0) {
            let what = if *count > 0 { "a row lacks its entry" } else { "an entry lacks its row" };
            let detail = format!("{what}, {} replicas: {entry:?}", count.abs());
            return Err(Violation::new("entries of unique indexes are those of the rows", detail));
        }
        if self.world.plan.members == 0 {
            return Ok(());
        }
        self.members().take(1).for_each(MemberClient::read_last);
        self.wait("the counters are read at the end", REST_LIMIT, |run| {
            run.members().all(|member| member.is_idle())
        })?;
        let mut counted: BTreeMap<u64, i64> = BTreeMap::new();
        for member in self.members() {
            for (counter, count) in &member.counted {
                *counted.entry(*counter).or_default() += count;
            }
        }
        let last = self.members().next().map(|member| std::mem::take(&mut member.last)).unwrap_or_default();
        let wrong =
            last.iter().find(|(counter, count)| counted.get(counter).copied().unwrap_or(0) != **count);
        match wrong {
            Some((counter, count)) => {
                let detail = format!("counter {counter} is {count}, told {:?}", counted.get(counter));
                Err(Violation::new("increments of unique columns count once", detail))
            }
            None => Ok(()),
        }
    }

    fn scan_all(&mut self) -> Result<BTreeMap<Register, Seen>, Violation> {
        let tables = self.lasting_tables()?;
        let first = self.direct()?;
        first.set_mode(Mode::Finish);
        for table in &tables {
            first.scan_last(*table);
        }
        self.wait("scans at the end complete", REST_LIMIT, |run| {
            run.direct().is_ok_and(|client| client.is_idle())
        })?;
        Ok(std::mem::take(&mut self.direct()?.last_rows))
    }

    fn collect_history(&mut self) -> Result<(), Violation> {
        let mut all = History::default();
        for client in self.witnesses() {
            let history = &mut client.evidence().history;
            checker::causality::check(history)?;
            all.writes.append(&mut history.writes);
            all.reads.append(&mut history.reads);
            all.scans.append(&mut history.scans);
        }
        self.history = all;
        Ok(())
    }

    /// A whole group dies. What it held is gone, and nobody makes up for it: what it led ends in errors or unknown outcomes,
    /// and nothing hangs.
    fn end_with_a_loss(&mut self) -> Result<(), Violation> {
        let group = self.world.identity_random.below(u64::from(self.world.plan.data_nodes) / 2) as u32;
        for node in [2 * group + 1, 2 * group + 2] {
            let victim = self.world.numbers(|role| role == Role::Data(node))[0];
            self.world.kill(victim, false);
            self.world.faults.kills += 1;
        }
        self.world.calm_down();
        let until = self.world.now() + SECOND;
        self.wait("time passes after a loss", REST_LIMIT, |run| run.world.now() >= until)?;
        for client in self.clients() {
            client.set_mode(Mode::Finish);
        }
        let until = self.world.now() + 3 * SECOND;
        self.wait("requests to dead nodes end", REST_LIMIT, |run| {
            run.world.now() >= until && run.clients().all(|client| client.is_idle_but_for_unknown())
        })?;
        for client in self.clients() {
            client.abandon();
        }
        let left = self.world.latest_view().and_then(|view| view.groups.get(group as usize));
        if left.is_none_or(|group| group.members.is_empty()) {
            return Err(Violation::new(
                "the last instance of a group stays in the view",
                format!("{left:?}"),
            ));
        }
        self.collect_history()?;
        let tables = self.lasting_tables()?;
        checker::check(&self.history, None, &tables)?;
        self.judge_bank(false)?;
        self.judge_lists(false)
    }

    /// Whether every group that is whole leads its partitions as in the first view.
    fn is_spread_evenly(&self) -> bool {
        let Some(view) = self.world.latest_view() else { return false };
        let groups = view.groups.len();
        view.partitions.iter().enumerate().all(|(number, partition)| {
            let members = &view.groups[usize::from(partition.group)].members;
            let rank = View::first_primary_rank(number, groups, members.len());
            members.len() < 2 || partition.replicas.first() == Some(&members[rank].node)
        })
    }

    /// Whether every data node that has room for the rows of its group is a full member.
    fn everybody_is_full(&self) -> bool {
        let Some(view) = self.world.latest_view() else { return false };
        let full = |instance| {
            let is_full = |member: &Member| member.instance() == instance && member.stays_full();
            view.members().any(is_full)
        };
        let lacks_memory =
            |slot: &Slot| slot.stopped.as_ref().is_some_and(|reason| reason.contains("too little memory"));
        let mut slots = self.world.slots.iter().filter(|slot| matches!(slot.role, Role::Data(_)));
        slots.all(|slot| match &slot.process {
            Some(Process::DataNode(node)) => full(node.kernel.instance()),
            _ => lacks_memory(slot),
        })
    }
}
