//! What a process shows to others: sockets, restarts, refusals, metrics.

use crate::peer::{Peer, Running, arguments, http_get, wait_until};
use duet_mgmd::Server;
use duet_protocol::error::ErrorCode;
use duet_protocol::schema::{ColumnType, TableDefinition, TableState};
use duet_protocol::signal::Sections;
use duet_protocol::signal::change_dictionary::{ChangeDictionary, KIND_CREATE_TABLE};
use duet_protocol::signal::dictionary_changed::DictionaryChanged;
use duet_protocol::signal::hello::{ROLE_CLIENT, ROLE_DATA_NODE};
use duet_protocol::signal::refuse_link::RefuseLink;
use std::net::{SocketAddr, TcpListener};

/// Registers data node 1 and forms the view.
fn form(running: &Running) -> Peer {
    let mut data_node = Peer::greeted(running.listening, ROLE_DATA_NODE);
    assert_eq!(data_node.register(1, 8), Ok(1));
    let mut client = Peer::greeted(running.listening, ROLE_CLIENT);
    wait_until("the view", || {
        data_node.report(0);
        client.fetch_state().view.number == 1
    });
    data_node
}

#[test]
fn a_node_serves_and_a_restart_keeps_the_state() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::start(arguments(directory.path()));
    let mut data_node = form(&running);
    let mut client = Peer::greeted(running.listening, ROLE_CLIENT);
    // A peer that waits for one answer drops every other one, so a second one looks at the state.
    let mut watcher = Peer::greeted(running.listening, ROLE_CLIENT);
    let definition = TableDefinition::builder("shop", "orders")
        .required("id", ColumnType::BigInt)
        .primary_key(["id"])
        .build()
        .expect("valid");
    let body =
        ChangeDictionary { kind: KIND_CREATE_TABLE.into(), request: [3; 16], ..ChangeDictionary::default() };
    client.send(9, &body, Sections::one(&definition.to_record().expect("encodes")));
    wait_until("the table", || {
        let version = watcher.fetch_state().version;
        data_node.report(version);
        watcher.fetch_state().tables.first().is_some_and(|table| table.state == TableState::Active)
    });
    let version = watcher.fetch_state().version;
    data_node.report(version);
    let code = client.receive(|_, signal| Some(signal.body::<DictionaryChanged>()?.code.get()));
    assert_eq!(code, 0);
    let status = client.fetch_status();
    assert!(status.nodes[0].connected && status.management[0].leader);
    let before = client.fetch_state();
    running.stop();

    let running = Running::start(arguments(directory.path()));
    let mut client = Peer::greeted(running.listening, ROLE_CLIENT);
    wait_until("the state", || {
        let state = client.fetch_state();
        state.tables == before.tables && state.view == before.view && state.nodes == before.nodes
    });
    let mut returning = Peer::greeted(running.listening, ROLE_DATA_NODE);
    assert_eq!(returning.register(1, 99), Err(ErrorCode::GroupLost as u16), "it was the only one");
    running.stop();
}

#[test]
fn three_processes_make_one_cluster() {
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("directory")).collect();
    // Below the ports that the system gives to who binds port 0 or connects: a stopped node's port stays free.
    let first = 10_000 + std::process::id() as u16 % 20_000;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let addresses: Vec<_> =
        (first..).filter(free).take(3).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    let list = (1..)
        .zip(&addresses)
        .map(|(node, address)| format!("{node}={address}"))
        .collect::<Vec<_>>()
        .join(",");
    let start = |node: usize| {
        let mut given = arguments(directories[node - 1].path());
        given.node_id = node as u32;
        given.listen = addresses[node - 1].to_string();
        given.management = Some(list.clone());
        Running::start(given)
    };
    let mut running: Vec<Option<Running>> = (1..=3).map(|node| Some(start(node))).collect();
    let leader_seen_by = |address| {
        let status = Peer::greeted(address, ROLE_CLIENT).fetch_status();
        status.management.iter().find(|management| management.leader).map(|management| management.node)
    };
    wait_until("a leader", || leader_seen_by(addresses[0]).is_some());
    let leader = leader_seen_by(addresses[0]).expect("seen") as usize;
    assert_eq!(Peer::greeted(addresses[leader - 1], ROLE_DATA_NODE).register(1, 8), Ok(1));

    running[leader - 1].take().expect("runs").stop();
    let survivor = addresses[leader % 3];
    wait_until("another leader", || leader_seen_by(survivor).is_some_and(|other| other as usize != leader));
    running[leader - 1] = Some(start(leader));
    wait_until("the restarted one knows", || {
        Peer::greeted(addresses[leader - 1], ROLE_CLIENT).fetch_status().state.nodes.len() == 1
    });
    for node in running.into_iter().flatten() {
        node.stop();
    }
}

#[test]
fn metrics_and_health_are_served() {
    let directory = tempfile::tempdir().expect("directory");
    let running = Running::start(arguments(directory.path()));
    wait_until("health", || http_get(running.metrics, "/health").0.contains("200"));
    wait_until("leading", || {
        let (status, text) = http_get(running.metrics, "/metrics");
        assert!(status.contains("200"), "{status}");
        text.contains("\nduet_mgmd_leading 1\n")
    });
    assert!(http_get(running.metrics, "/nothing").0.contains("404"));
    running.stop();
}

#[test]
fn strangers_are_told_why_and_others_are_not_disturbed() {
    let directory = tempfile::tempdir().expect("directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "abc\n").expect("writes");
    let plain = Running::start(arguments(&directory.path().join("plain")));
    let mut bystander = Peer::greeted(plain.listening, ROLE_CLIENT);

    let mut stranger = Peer::connect(plain.listening);
    stranger.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let code = stranger.receive(|_, signal| Some(signal.body::<RefuseLink>()?.code.get()));
    assert_eq!(code, ErrorCode::ProtocolVersion as u16);
    assert!(stranger.reads_end());
    bystander.fetch_status();
    plain.stop();

    let mut given = arguments(&directory.path().join("guarded"));
    given.cluster_secret_file = Some(secret);
    let guarded = Running::start(given);
    let mut stranger = Peer::connect(guarded.listening);
    let hello = duet_protocol::signal::hello::Hello {
        role: ROLE_CLIENT.into(),
        ..duet_protocol::signal::hello::Hello::default()
    };
    stranger.send(1, &hello, Sections::one(b"abd"));
    let code = stranger.receive(|_, signal| Some(signal.body::<RefuseLink>()?.code.get()));
    assert_eq!(code, ErrorCode::WrongSecret as u16);
    guarded.stop();
}

#[test]
fn a_start_that_cannot_succeed_ends_with_a_sentence() {
    let directory = tempfile::tempdir().expect("directory");
    let refuse = |given| format!("{:#}", Server::bind(&given).err().expect("refused"));
    let given = || arguments(directory.path());

    let running = Running::start(given());
    wait_until("health", || http_get(running.metrics, "/health").0.contains("200"));
    assert!(refuse(given()).contains("in use by another management node"));
    let mut same_port = arguments(&directory.path().join("other"));
    same_port.listen = running.listening.to_string();
    assert!(refuse(same_port).contains("cannot listen on"));
    running.stop();

    let mut open = given();
    open.listen = "0.0.0.0:0".to_owned();
    assert!(refuse(open).contains("--cluster-secret-file"));
    let mut two = given();
    two.management = Some("1=127.0.0.1:1,2=127.0.0.1:2".to_owned());
    assert!(refuse(two).contains("1 or 3 management nodes"));
    let mut odd = arguments(&directory.path().join("odd"));
    odd.data_nodes = Some(3);
    assert!(refuse(odd).contains("divide"));

    let log = directory.path().join("management.log");
    let mut bytes = std::fs::read(&log).expect("written");
    let place = bytes.len() / 4;
    bytes[place] ^= 1;
    std::fs::write(&log, &bytes).expect("writes");
    assert!(refuse(given()).contains("damaged at byte"), "{}", refuse(given()));
    bytes[place] ^= 1;
    bytes.extend_from_slice(b"DUETMLOG half a block");
    std::fs::write(&log, &bytes).expect("writes");
    Running::start(given()).stop();
    assert!(std::fs::metadata(&log).expect("there").len() > 0);
}
