//! Users of the SQL gateways.

use crate::harness::{Cluster, OutsiderId};
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{UserChange, UserList, UserRecord};
use duet_protocol::signal::Sections;
use duet_protocol::signal::change_dictionary::{ChangeDictionary, KIND_CHANGE_USER};
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::fetch_users::FetchUsers;
use duet_protocol::signal::users::Users;

fn user(name: &str, fill: u8) -> UserRecord {
    UserRecord { name: name.to_owned(), native: [fill; 20], sha2: [fill; 32] }
}

fn change(
    cluster: &mut Cluster,
    client: OutsiderId,
    request: u8,
    change: &UserChange,
) -> Result<(), ErrorCode> {
    let record = change.to_record().expect("encodes");
    let body = ChangeDictionary {
        kind: KIND_CHANGE_USER.into(),
        request: [request; 16],
        ..ChangeDictionary::default()
    };
    cluster.send(client, u64::from(request), &body, Sections::one(&record));
    cluster.wait_changed(client).map(|_| ())
}

/// The version and the list that a node tells, or the number of its refusal.
fn fetch(cluster: &mut Cluster, client: OutsiderId, known: u64) -> Result<(u64, Option<UserList>), u16> {
    cluster.send(client, 99, &FetchUsers { known_version: known.into() }, Sections::none());
    let mut answer = None;
    cluster.run_until("the users", |cluster| {
        cluster.take(client, |_, signal| {
            if let Some(body) = signal.body::<Users>() {
                let list = match signal.section(0) {
                    [] => None,
                    record => Some(UserList::from_record(record).expect("sound")),
                };
                answer = Some(Ok((body.version.get(), list)));
            }
            if let Some(body) = signal.body::<ErrorReply>() {
                answer = Some(Err(body.code.get()));
            }
        });
        answer.is_some()
    });
    answer.expect("there is one")
}

#[test]
fn users_are_replicated_and_told_by_the_leader() {
    let mut cluster = Cluster::new(3, 2, 2);
    let leader = cluster.wait_for_leader();
    let client = cluster.client(leader);
    // No data node is needed for it.
    change(&mut cluster, client, 1, &UserChange::Create(user("bob", 1))).expect("created");
    change(&mut cluster, client, 2, &UserChange::Create(user("ada", 2))).expect("created");
    assert_eq!(
        change(&mut cluster, client, 3, &UserChange::Create(user("ada", 3))),
        Err(ErrorCode::UserExists)
    );
    change(&mut cluster, client, 1, &UserChange::Create(user("bob", 1))).expect("a repeat is answered again");
    change(&mut cluster, client, 4, &UserChange::SetPassword(user("bob", 4))).expect("changed");
    let nobody = UserChange::SetPassword(user("eve", 5));
    assert_eq!(change(&mut cluster, client, 5, &nobody), Err(ErrorCode::UserNotFound));
    let nobody = UserChange::Drop("eve".to_owned());
    assert_eq!(change(&mut cluster, client, 6, &nobody), Err(ErrorCode::UserNotFound));
    for name in ["", "a\nb", &"x".repeat(33)] {
        let bad = UserChange::Create(user(name, 7));
        assert_eq!(change(&mut cluster, client, 7, &bad), Err(ErrorCode::InvalidRequest), "{name:?}");
    }
    let expected = vec![user("ada", 2), user("bob", 4)];
    let (version, list) = fetch(&mut cluster, client, 0).expect("told");
    assert_eq!((version, list.expect("all").users), (3, expected.clone()));
    assert_eq!(fetch(&mut cluster, client, 3), Ok((3, None)));

    // A follower tells nothing that may be old.
    let follower = (0..3).find(|index| *index != leader).expect("another");
    let other = cluster.client(follower);
    assert_eq!(fetch(&mut cluster, other, 0), Err(ErrorCode::NotLeader as u16));

    // The next leader knows them.
    cluster.crash(leader, usize::MAX);
    cluster.run_until("another leader", |cluster| cluster.leader().is_some_and(|new| new != leader));
    let next = cluster.leader().expect("one");
    let client = cluster.client(next);
    cluster.run(1_000);
    let (_, list) = fetch(&mut cluster, client, 0).expect("told");
    assert_eq!(list.expect("all").users, expected);
    change(&mut cluster, client, 9, &UserChange::Drop("ada".to_owned())).expect("dropped");
    let (version, list) = fetch(&mut cluster, client, 3).expect("told");
    assert_eq!((version, list.expect("newer").users), (4, vec![user("bob", 4)]));
}
