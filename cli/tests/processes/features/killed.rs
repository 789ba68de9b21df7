//! A data node dies while vectors are read, through the server and with the library: no request fails.

use super::Features;
use crate::cluster::wait_for;
use crate::http::post;
use duet_client::{Client, Value};
use duet_featurestore::{FeatureStore, FeatureValue, ReadOptions, Versioned};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const ROWS: i64 = 400;

/// Look-ups that were answered, of each kind.
#[derive(Default)]
struct Answered {
    stop: AtomicBool,
    over_http: AtomicU64,
    plain: AtomicU64,
    consistent: AtomicU64,
}

impl Answered {
    fn counts(&self) -> [u64; 3] {
        [&self.over_http, &self.plain, &self.consistent].map(|count| count.load(Ordering::Acquire))
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }
}

/// Ends the look-ups, also when the test fails.
struct StopAtEnd<'a>(&'a Answered);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

/// Asks the server for three vectors at a time.
fn ask(address: &str, first: i64, answered: &Answered) {
    let mut id = first;
    while answered.goes_on() {
        let ids: Vec<i64> = (0..3).map(|next| (id + 131 * next) % ROWS).collect();
        let body = json!({"feature_service": "scores", "entities": {"id": ids}});
        let answer = post(address, "/get-online-features", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let expected: Vec<i64> = ids.iter().map(|id| 3 * id).collect();
        assert_eq!(answer.json()["results"][1]["values"], json!(expected), "{answer:?}");
        answered.over_http.fetch_add(1, Ordering::AcqRel);
        id = (id + 1) % ROWS;
    }
}

/// Reads three vectors at a time with the library.
async fn read(store: &FeatureStore, first: i64, consistent: bool, answered: &Answered) {
    let view = store.prepare(&Versioned::new("default", "scores", 1)).await.expect("there");
    let options = ReadOptions { consistent, ..ReadOptions::default() };
    let count = if consistent { &answered.consistent } else { &answered.plain };
    let mut id = first;
    while answered.goes_on() {
        let keys: Vec<[Value; 1]> = (0..3).map(|next| [Value::Int((id + 57 * next) % ROWS)]).collect();
        let vectors = view.get_many(keys.iter().map(<[Value; 1]>::as_slice), &options).await;
        let vectors = vectors.expect("a look-up goes on");
        for (number, [key]) in keys.iter().enumerate() {
            let vector = vectors.vector(number).unwrap_or_else(|| panic!("{:?}", vectors.error(number)));
            let (Value::Int(id), FeatureValue::Present(score)) = (key, vector.value(0)) else {
                panic!("{key} is {:?}", vector.value(0));
            };
            assert_eq!(score.to_value(), Value::Int(3 * id));
        }
        count.fetch_add(1, Ordering::AcqRel);
        id = (id + 1) % ROWS;
    }
}

#[test]
fn a_data_node_that_dies_fails_no_look_up() {
    let mut features = Features::start(&[]);
    let columns = [("id", "bigint"), ("at", "timestamp"), ("score", "bigint")];
    features.group("default", "scores", &["id"], Some("at"), &columns);
    let view = json!({"store": "default", "name": "scores", "version": 1,
        "sources": [{"group": "scores", "version": 1}], "features": [{"source": 0, "feature": "score"}]});
    features.done("/feature_views", &view);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let addresses = features.cluster.management_addresses.clone();
    let store = runtime.block_on(async {
        let client = Client::connect(&addresses).await.expect("connected");
        let store = FeatureStore::open(client).await.expect("open");
        let writer = store.writer(&Versioned::new("default", "scores", 1)).await.expect("there");
        let columns = writer.columns(["id", "at", "score"]).expect("columns");
        let row = |id: i64| vec![id.into(), Value::Timestamp(1_700_000_000_000_000), (3 * id).into()];
        let rows: Vec<Vec<Value>> = (0..ROWS).map(row).collect();
        assert_eq!(writer.upsert(&columns, &rows).await.expect("written").written(), rows.len());
        store
    });
    let (address, answered) = (features.address().to_owned(), Answered::default());
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (address, answered) = (&address, &answered);
            scope.spawn(move || ask(address, 17 * number, answered));
        }
        for consistent in [false, true] {
            let (runtime, store, answered) = (&runtime, &store, &answered);
            scope.spawn(move || runtime.block_on(read(store, 5, consistent, answered)));
        }
        let _stops = StopAtEnd(&answered);
        let reached = |before: [u64; 3], more: u64| {
            let counts = answered.counts();
            counts.iter().zip(before).all(|(count, before)| *count >= before + more).then_some(())
        };
        wait_for("look-ups before the death", || reached([0; 3], 100));
        features.cluster.nodes[1].kill();
        let before = answered.counts();
        // So many that they come to every row, those that the dead node led among them.
        wait_for("look-ups after the death", || reached(before, ROWS as u64));
    });
}
