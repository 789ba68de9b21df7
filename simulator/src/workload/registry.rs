//! The workloads by name, for `duet sim --workload`. Every plan draws all of them; a name leaves only some.

use crate::plan::Plan;

/// A choice of what clients do.
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What clients do, for people.
    pub about: &'static str,
    /// Changes a plan so that they do it.
    pub choose: fn(&mut Plan),
}

/// All choices. A new workload adds its line here, is drawn in [`Plan::new`], and is switched off in `only_registers`.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "all", about: "what the seed draws", choose: |_| {} },
    Workload { name: "registers", about: "single rows: reads, writes, scans", choose: only_registers },
    Workload {
        name: "bank",
        about: "money moved in transactions",
        choose: |plan| {
            quiet(plan);
            let drawn = Plan::new(plan.seed, 0);
            plan.bankers = drawn.bankers.max(1);
            give_room(plan);
        },
    },
    Workload {
        name: "append",
        about: "lists that transactions read and append to",
        choose: |plan| {
            quiet(plan);
            let drawn = Plan::new(plan.seed, 0);
            plan.appenders = drawn.appenders.max(2);
            give_room(plan);
        },
    },
    Workload {
        name: "members",
        about: "unique values moved between rows, and rows looked up by them",
        choose: |plan| {
            quiet(plan);
            plan.members = Plan::new(plan.seed, 0).members.max(1);
            // Three tables in every fragment.
            plan.memory_bytes.iter_mut().for_each(|bytes| *bytes = (*bytes).max(4 << 20));
        },
    },
    Workload {
        name: "expiring",
        about: "rows with a time to live",
        choose: |plan| {
            quiet(plan);
            plan.expiring = Plan::new(plan.seed, 0).expiring.max(1);
            plan.memory_bytes.iter_mut().for_each(|bytes| *bytes = (*bytes).max(4 << 20));
        },
    },
    Workload {
        name: "columns",
        about: "a table that gets columns while it is in use",
        choose: |plan| {
            quiet(plan);
            let drawn = Plan::new(plan.seed, 0);
            plan.columns = drawn.columns.max(2);
            plan.workload.schema_change_every = drawn.workload.schema_change_every;
            plan.memory_bytes.iter_mut().for_each(|bytes| *bytes = (*bytes).max(4 << 20));
        },
    },
    Workload {
        name: "scans",
        about: "scans of tables that change",
        choose: |plan| {
            only_registers(plan);
            plan.workload.weights[7] = 8;
        },
    },
];

/// The workload with this name.
pub fn workload(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}

/// Leaves the single rows only.
fn only_registers(plan: &mut Plan) {
    plan.bankers = 0;
    plan.appenders = 0;
    plan.members = 0;
    plan.expiring = 0;
    plan.columns = 0;
}

/// Leaves the single rows only, and few of them: others are to be seen, but a run needs somebody to ask.
fn quiet(plan: &mut Plan) {
    only_registers(plan);
    plan.workload.concurrency = 1;
    plan.workload.think = plan.workload.think.max(1_000_000);
    plan.workload.schema_change_every = 0;
}

/// Transactions need memory for all their rows.
fn give_room(plan: &mut Plan) {
    for bytes in &mut plan.memory_bytes {
        *bytes = (*bytes).max(8 << 20);
    }
}
