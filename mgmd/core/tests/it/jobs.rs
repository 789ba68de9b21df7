//! Schema changes as jobs.

use crate::harness::{Cluster, table};
use duet_protocol::error::ErrorCode;
use duet_protocol::record::TableChange;
use duet_protocol::schema::{
    Column, ColumnType, IndexDefinition, IndexKind, IndexState, TableIndex, TableState,
};
use duet_protocol::signal::Sections;
use duet_protocol::signal::change_dictionary::{ChangeDictionary, KIND_CREATE_TABLE};

fn formed(count: u32) -> Cluster {
    let mut cluster = Cluster::new(count, 2, 2);
    cluster.form(2);
    cluster
}

#[test]
fn a_table_is_created_and_dropped() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    let (id, version) = cluster.wait_changed(client).expect("created");
    assert_eq!((id, version), (1, cluster.state(0).version));
    let created = &cluster.state(0).tables[0];
    assert_eq!((created.id, created.version, created.state), (1, 1, TableState::Active));
    assert_eq!(created.definition, table("orders"));
    for node in &cluster.data_nodes {
        assert!(node.state.version >= version, "everybody has it before the client hears of it");
    }

    cluster.request_create(client, 2, "orders");
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::TableExists));
    cluster.request_drop(client, 3, "nothing");
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::TableNotFound));
    cluster.request_drop(client, 4, "orders");
    assert_eq!(cluster.wait_changed(client).expect("dropped").0, 1);
    assert!(cluster.state(0).tables.is_empty());
    cluster.request_create(client, 5, "orders");
    assert_eq!(cluster.wait_changed(client).expect("created").0, 2, "ids are not used again");
}

#[test]
fn each_stage_waits_for_every_member() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    let version = cluster.state(0).version;
    cluster.data_nodes[1].install_up_to = version;
    cluster.request_create(client, 1, "orders");
    cluster.run(1_000);
    assert_eq!(cluster.state(0).tables[0].state, TableState::Preparing);
    cluster.request_drop(client, 2, "orders");
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::TableNotActive));
    cluster.data_nodes[1].install_up_to = version + 1;
    let mut fetch = cluster.data_nodes[1].links[0].take();
    cluster.run(1_000);
    assert_eq!(cluster.state(0).tables[0].state, TableState::Active);
    assert_eq!(cluster.changed(client), None, "not before everybody has the final state");
    cluster.data_nodes[1].install_up_to = u64::MAX;
    fetch.take();
    cluster.data_nodes[1].links[0] = None;
    assert!(cluster.wait_changed(client).is_ok());
}

#[test]
fn a_repeated_request_is_applied_once() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    cluster.request_create(client, 1, "orders");
    let first = cluster.wait_changed(client).expect("created");
    cluster.run(100);
    cluster.request_create(client, 1, "orders");
    assert_eq!(cluster.wait_changed(client), Ok(first));
    cluster.crash(0, 0);
    cluster.start(0);
    cluster.run(500);
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    assert_eq!(cluster.wait_changed(client), Ok(first), "also after a restart");
    assert_eq!(cluster.state(0).tables.len(), 1);
}

#[test]
fn a_job_goes_on_under_the_next_leader() {
    for drop_it in [false, true] {
        let mut cluster = formed(3);
        let leader = cluster.wait_for_leader();
        let mut request = 1;
        let client = cluster.client(leader);
        cluster.request_create(client, request, "orders");
        if drop_it {
            cluster.wait_changed(client).expect("created");
            request = 2;
        }
        let hold = cluster.state(leader).version;
        for node in &mut cluster.data_nodes {
            node.install_up_to = hold;
        }
        if drop_it {
            cluster.request_drop(client, request, "orders");
        }
        cluster.run(300);
        assert_eq!(cluster.changed(client), None);
        let expected = if drop_it { TableState::Dropping } else { TableState::Preparing };
        assert_eq!(cluster.state(leader).tables[0].state, expected);
        cluster.crash(leader, 0);
        let next = cluster.wait_for_leader();
        assert_ne!(next, leader);
        for node in &mut cluster.data_nodes {
            node.install_up_to = u64::MAX;
            node.links.fill(None);
        }
        let client = cluster.client(next);
        if drop_it {
            cluster.request_drop(client, request, "orders");
        } else {
            cluster.request_create(client, request, "orders");
        }
        let (id, _) = cluster.wait_changed(client).expect("done");
        assert_eq!(id, 1);
        assert_eq!(cluster.state(next).tables.len(), usize::from(!drop_it));
        assert_eq!(cluster.state(next).next_table_id, 2, "applied once");
    }
}

#[test]
fn a_client_of_a_leader_that_loses_its_majority_hears_so() {
    let mut cluster = formed(3);
    let leader = cluster.wait_for_leader();
    let client = cluster.client(leader);
    cluster.cut = vec![leader];
    cluster.request_create(client, 1, "orders");
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::NotLeader));
    cluster.request_create(client, 1, "orders");
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::NotLeader));
    let next = cluster.wait_for_leader();
    let client = cluster.client(next);
    cluster.request_create(client, 1, "orders");
    assert!(cluster.wait_changed(client).is_ok());
}

#[test]
fn senseless_requests_get_numbered_errors() {
    let mut cluster = Cluster::new(1, 2, 2);
    cluster.wait_for_leader();
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::NotServing), "before the view");
    cluster.form(2);

    let mut change = |kind: u16, request: u8, section: &[u8]| {
        let body =
            ChangeDictionary { kind: kind.into(), request: [request; 16], ..ChangeDictionary::default() };
        cluster.send(client, 9, &body, Sections::one(section));
        cluster.wait_changed(client)
    };
    assert_eq!(change(KIND_CREATE_TABLE, 2, b"garbage"), Err(ErrorCode::InvalidSchema));
    let mut invalid = table("orders");
    invalid.primary_key.clear();
    assert_eq!(
        change(KIND_CREATE_TABLE, 3, &invalid.to_record().expect("encodes")),
        Err(ErrorCode::InvalidSchema)
    );
    assert_eq!(change(KIND_CREATE_TABLE, 4, &vec![0; 300 << 10]), Err(ErrorCode::InvalidSchema));
    let valid = table("orders").to_record().expect("encodes");
    assert_eq!(change(KIND_CREATE_TABLE, 0, &valid), Err(ErrorCode::InvalidRequest));
    assert_eq!(change(2, 5, b"no-dot"), Err(ErrorCode::InvalidRequest));
    assert_eq!(change(2, 6, &[0xff, 0xfe]), Err(ErrorCode::InvalidRequest));
    assert_eq!(change(77, 7, b""), Err(ErrorCode::InvalidRequest));
    assert!(change(KIND_CREATE_TABLE, 8, &valid).is_ok());
}

#[test]
fn the_dictionary_and_the_jobs_are_bounded() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    let version = cluster.state(0).version;
    for node in &mut cluster.data_nodes {
        node.install_up_to = version;
    }
    for request in 1..=65 {
        cluster.request_create(client, request, &format!("t{request}"));
    }
    cluster.pump();
    let mut answers = Vec::new();
    cluster.run_until("the refusal", |cluster| {
        answers.extend(cluster.changed(client));
        !answers.is_empty()
    });
    assert_eq!(answers, [(65, Err(ErrorCode::Overloaded))]);
    assert_eq!(cluster.state(0).tables.len(), 64);
}

#[test]
fn the_log_is_compacted_and_finished_requests_are_bounded() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    for round in 0..130u32 {
        let request = |half: u32| {
            let mut id = [1; 16];
            id[..4].copy_from_slice(&(round * 2 + half).to_ne_bytes());
            id
        };
        let record = table("orders").to_record().expect("encodes");
        let body = |kind: u16, half| ChangeDictionary {
            kind: kind.into(),
            request: request(half),
            ..ChangeDictionary::default()
        };
        cluster.send(client, 1, &body(1, 0), Sections::one(&record));
        cluster.wait_changed(client).expect("created");
        cluster.send(client, 2, &body(2, 1), Sections::one(b"shop.orders"));
        cluster.wait_changed(client).expect("dropped");
    }
    let gauges = cluster.places[0].node.as_ref().expect("runs").gauges(cluster.now);
    assert!(gauges.applied > 700, "{gauges:?}");
    assert!(gauges.log_entries < 700, "{gauges:?}");
    assert!(cluster.places[0].disk.replaced >= 3, "created, given its group, compacted");
    let before = cluster.state(0).clone();
    cluster.crash(0, 0);
    cluster.start(0);
    cluster.run(500);
    assert_eq!(*cluster.state(0), before);
}

#[test]
fn indexes_of_a_new_table_are_public_and_their_numbers_are_not_used_again() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    let indexed = |name: &str| {
        let mut definition = table(name);
        let index =
            |name: &str| IndexDefinition { name: name.into(), kind: IndexKind::Ordered, columns: vec![1] };
        definition.indexes = vec![index("first"), index("second")];
        definition
    };
    cluster.request_definition(client, 1, &indexed("orders"));
    cluster.wait_changed(client).expect("created");
    let public = |id| TableIndex { id, state: IndexState::Public, hidden_table: None };
    assert_eq!(cluster.state(0).tables[0].indexes, [public(1), public(2)]);
    cluster.request_drop(client, 2, "orders");
    cluster.wait_changed(client).expect("dropped");
    cluster.request_definition(client, 3, &indexed("orders"));
    cluster.wait_changed(client).expect("created");
    assert_eq!(cluster.state(0).tables[0].indexes, [public(3), public(4)]);
}

#[test]
fn entries_of_unique_indexes_have_hidden_tables_that_come_and_go_with_theirs() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    let mut definition = table("people");
    let index = |name: &str, kind| IndexDefinition { name: name.into(), kind, columns: vec![1] };
    definition.indexes = vec![index("by_order", IndexKind::Ordered), index("only_one", IndexKind::Unique)];
    cluster.request_definition(client, 1, &definition);
    let (base, _) = cluster.wait_changed(client).expect("created");
    let tables = &cluster.state(0).tables;
    assert_eq!((tables.len(), tables[0].id, tables[1].hidden_of), (2, base, Some(base)));
    assert_eq!(tables[0].indexes[1].hidden_table, Some(tables[1].id));
    assert!(tables.iter().all(|table| table.state == TableState::Active));
    let name = tables[1].definition.name.clone();
    cluster.request_drop(client, 2, &name);
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::TableNotFound), "nobody names hidden tables");
    cluster.request_drop(client, 3, "people");
    cluster.wait_changed(client).expect("dropped");
    assert!(cluster.state(0).tables.is_empty());
    assert_eq!(cluster.state(0).next_table_id, base + 2, "ids are not used again");
}

#[test]
fn a_column_is_added_when_every_member_knows_of_it() {
    let mut cluster = formed(3);
    let leader = cluster.wait_for_leader();
    let client = cluster.client(leader);
    cluster.request_create(client, 1, "orders");
    cluster.wait_changed(client).expect("created");
    let note = || Column::new("note", ColumnType::Text).nullable();
    let held = cluster.state(leader).version;
    cluster.data_nodes[1].install_up_to = held;
    cluster.request_column(client, 2, "orders", note());
    cluster.run(1_000);
    let table = |cluster: &Cluster, node: usize| cluster.state(node).tables[0].clone();
    assert_eq!((table(&cluster, leader).version, table(&cluster, leader).newest_version()), (1, 2));
    assert_eq!(table(&cluster, leader).definition.columns.len(), 2, "not all have it yet");

    // One change at a time; the same one again waits with the first.
    cluster.request_column(client, 3, "orders", Column::new("other", ColumnType::Int).nullable());
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::SchemaChangeUnderway));
    cluster.request_drop(client, 4, "orders");
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::SchemaChangeUnderway));

    cluster.crash(leader, 0);
    let next = cluster.wait_for_leader();
    for node in &mut cluster.data_nodes {
        node.install_up_to = u64::MAX;
        node.links.fill(None);
    }
    let client = cluster.client(next);
    cluster.request_column(client, 2, "orders", note());
    let changed = cluster.wait_changed(client).expect("added");
    let added = table(&cluster, next);
    assert_eq!((added.version, added.newest_version(), &added.older_columns[..]), (2, 2, &[2][..]));
    assert_eq!(added.definition.columns[2], note());
    cluster.request_column(client, 2, "orders", note());
    assert_eq!(cluster.wait_changed(client), Ok(changed), "the same request has the same answer");

    for column in [note(), Column::new("NOTE", ColumnType::Int).nullable(), Column::new("x", ColumnType::Int)]
    {
        cluster.request_column(client, 5, "orders", column);
        assert_eq!(cluster.wait_changed(client), Err(ErrorCode::InvalidSchema));
    }
    cluster.request_column(client, 6, "nothing", note());
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::TableNotFound));
    cluster.request_column(client, 7, "orders", Column::new("x", ColumnType::Int).default_value(1));
    cluster.wait_changed(client).expect("added");
    assert_eq!(table(&cluster, next).older_columns, [2, 3]);
}

fn by_price(kind: IndexKind) -> TableChange {
    TableChange::CreateIndex(IndexDefinition { name: "by_price".into(), kind, columns: vec![1] })
}

#[test]
fn an_index_is_public_when_every_member_has_built_it() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    cluster.wait_changed(client).expect("created");
    cluster.data_nodes[1].builds = false;
    cluster.request_change(client, 2, "orders", &by_price(IndexKind::Ordered));
    cluster.run(1_000);
    let index = |state| [TableIndex { id: 1, state, hidden_table: None }];
    assert_eq!(cluster.state(0).tables[0].indexes, index(IndexState::WriteOnly));
    cluster.request_change(client, 3, "orders", &TableChange::DropIndex("by_price".to_owned()));
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::SchemaChangeUnderway));
    cluster.data_nodes[1].builds = true;
    cluster.wait_changed(client).expect("built");
    assert_eq!(cluster.state(0).tables[0].indexes, index(IndexState::Public));
    assert_eq!(cluster.state(0).tables[0].version, 1, "indexes have no versions");

    cluster.request_change(client, 4, "orders", &by_price(IndexKind::Ordered));
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::InvalidSchema), "the name is taken");
    cluster.request_change(client, 5, "orders", &TableChange::DropIndex("BY_PRICE".to_owned()));
    cluster.wait_changed(client).expect("dropped");
    let table = &cluster.state(0).tables[0];
    assert!(table.indexes.is_empty() && table.definition.indexes.is_empty());
    cluster.request_change(client, 6, "orders", &TableChange::DropIndex("by_price".to_owned()));
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::IndexNotFound));
}

#[test]
fn an_index_that_a_member_has_no_memory_for_is_given_up() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    cluster.wait_changed(client).expect("created");
    cluster.data_nodes[1].builds = false;
    cluster.data_nodes[1].failed_indexes = 1;
    cluster.request_change(client, 2, "orders", &by_price(IndexKind::Ordered));
    cluster.run(100);
    cluster.data_nodes[1].failed_indexes = 0;
    cluster.data_nodes[1].builds = true;
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::IndexGivenUp));
    let table = &cluster.state(0).tables[0];
    assert!(table.indexes.is_empty() && table.definition.indexes.is_empty());
    cluster.request_change(client, 2, "orders", &by_price(IndexKind::Ordered));
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::IndexGivenUp), "the same answer again");
    cluster.request_change(client, 3, "orders", &by_price(IndexKind::Ordered));
    cluster.wait_changed(client).expect("built");
}

#[test]
fn a_unique_index_is_announced_maintained_and_released_step_by_step() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    let (base, _) = cluster.wait_changed(client).expect("created");
    cluster.data_nodes[1].builds = false;
    cluster.request_change(client, 2, "orders", &by_price(IndexKind::Unique));
    cluster.run(1_000);
    let tables = &cluster.state(0).tables;
    assert_eq!((tables.len(), tables[1].hidden_of, tables[1].state), (2, Some(base), TableState::Active));
    let (hidden, index) = (tables[1].id, tables[0].indexes[0]);
    assert_eq!((index.state, index.hidden_table), (IndexState::WriteOnly, Some(hidden)));
    cluster.data_nodes[1].builds = true;
    cluster.wait_changed(client).expect("built");
    assert_eq!(cluster.state(0).tables[0].indexes[0].state, IndexState::Public);
    cluster.request_change(client, 3, "orders", &TableChange::DropIndex("by_price".to_owned()));
    cluster.wait_changed(client).expect("dropped");
    let tables = &cluster.state(0).tables;
    assert!(tables.len() == 1 && tables[0].indexes.is_empty() && tables[0].definition.indexes.is_empty());
}

#[test]
fn a_build_ends_when_two_rows_are_equal_or_the_table_is_dropped() {
    let mut cluster = formed(1);
    let client = cluster.client(0);
    cluster.request_create(client, 1, "orders");
    cluster.wait_changed(client).expect("created");
    cluster.data_nodes[0].builds = false;
    cluster.data_nodes[0].refused_index = Some((1, ErrorCode::UniqueViolation));
    cluster.request_change(client, 2, "orders", &by_price(IndexKind::Unique));
    assert_eq!(cluster.wait_changed(client), Err(ErrorCode::UniqueViolation));
    let tables = &cluster.state(0).tables;
    assert!(tables.len() == 1 && tables[0].indexes.is_empty() && tables[0].definition.indexes.is_empty());

    // A refusal of another index is none of this one, which goes on until its table is dropped.
    for (request, kind) in [(3, IndexKind::Unique), (5, IndexKind::Ordered)] {
        cluster.request_change(client, request, "orders", &by_price(kind));
        cluster.run(1_000);
        assert_eq!(cluster.state(0).tables[0].indexes[0].state, IndexState::WriteOnly);
        cluster.request_drop(client, request + 1, "orders");
        cluster.wait_changed(client).expect_err("the index has to go first");
        cluster.run(1_000);
        cluster.changed(client);
        cluster.request_change(client, request, "orders", &by_price(kind));
        assert_eq!(cluster.wait_changed(client), Err(ErrorCode::TableNotFound), "it was given up");
        assert!(cluster.state(0).tables[0].indexes.is_empty());
    }
    cluster.request_drop(client, 7, "orders");
    cluster.wait_changed(client).expect("dropped");
    assert!(cluster.state(0).tables.is_empty());
}
