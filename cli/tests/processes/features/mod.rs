//! The feature store against real processes.

mod feast;
mod hopsworks;
mod killed;
mod library;
mod server;

use crate::cluster::{Cluster, Process};
use crate::http::{get, post};
use serde_json::{Value, json};

/// A cluster with a feature server.
struct Features {
    server: Process,
    cluster: Cluster,
}

impl Features {
    fn start(arguments: &[&str]) -> Features {
        let cluster = Cluster::start(1);
        let connect = cluster.nodes[0].listen.clone();
        let mut all = vec!["features", "--listen", "127.0.0.1:0", "--connect", &connect, "--parent-pipe"];
        all.extend(arguments);
        let server = Process::start(&all);
        Features { server, cluster }
    }

    fn address(&self) -> &str {
        &self.server.listen
    }

    /// Posts JSON that must be answered with 200.
    fn done(&self, path: &str, body: &Value) -> Value {
        let answer = post(self.address(), path, body);
        assert_eq!(answer.status, 200, "{path} {body}: {answer:?}");
        answer.json()
    }

    /// Posts JSON that must be refused; the number of the error.
    fn refused(&self, path: &str, body: &Value, status: u16) -> u64 {
        let answer = post(self.address(), path, body);
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
        let error = answer.json();
        assert!(error["reason"].is_string() && error["message"].is_string(), "{error}");
        error["code"].as_u64().expect("a number")
    }

    fn group(
        &self,
        store: &str,
        name: &str,
        key: &[&str],
        event_time: Option<&str>,
        features: &[(&str, &str)],
    ) -> i64 {
        let features: Vec<Value> =
            features.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
        let mut group =
            json!({"store": store, "name": name, "version": 1, "primaryKey": key, "features": features});
        if let Some(event_time) = event_time {
            group["eventTime"] = json!(event_time);
        }
        self.done("/feature_groups", &group)["featureGroupId"].as_i64().expect("an identity")
    }

    fn metric(&self, line: &str) -> Option<f64> {
        let text = get(self.address(), "/metrics").body;
        text.lines().find_map(|known| known.strip_prefix(line)?.trim().parse().ok())
    }
}
