//! Figures of the server under the names that users of Feast graph already.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0];
/// Most different labels; what comes later is counted as `other`.
const MOST_LABELS: usize = 512;

#[derive(Clone, Debug, Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(&self.buckets) {
            below += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", self.count);
    }
}

#[derive(Debug, Default)]
struct Figures {
    requests: BTreeMap<(&'static str, u16), u64>,
    latency: BTreeMap<&'static str, Histogram>,
    statuses: BTreeMap<(String, &'static str), u64>,
    freshness: BTreeMap<String, f64>,
    ingest_rows: BTreeMap<(String, &'static str), u64>,
    ingest_freshness: BTreeMap<String, Histogram>,
}

/// The figures.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    figures: Mutex<Figures>,
}

/// Counts under a label, or under `other` when there are too many.
fn entry<K: Ord, V: Default>(map: &mut BTreeMap<K, V>, key: K, other: impl FnOnce() -> K) -> &mut V {
    let key = if map.len() >= MOST_LABELS && !map.contains_key(&key) { other() } else { key };
    map.entry(key).or_default()
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was answered.
    pub(crate) fn request(&self, endpoint: &'static str, status: u16, time: Duration) {
        let mut figures = self.lock();
        *figures.requests.entry((endpoint, status)).or_default() += 1;
        figures.latency.entry(endpoint).or_default().add(time.as_secs_f64());
    }

    /// Values were served: how many of a view or group had each status.
    pub(crate) fn served(&self, view: &str, counts: &[(&'static str, u64)]) {
        let mut figures = self.lock();
        for (status, count) in counts.iter().filter(|(_, count)| *count > 0) {
            let key = (view.to_owned(), *status);
            *entry(&mut figures.statuses, key, || ("other".to_owned(), status)) += count;
        }
    }

    /// Age of the oldest value served last, in seconds.
    pub(crate) fn freshness(&self, view: &str, seconds: f64) {
        *entry(&mut self.lock().freshness, view.to_owned(), || "other".to_owned()) = seconds;
    }

    /// Rows came in.
    pub(crate) fn ingested(&self, group: &str, written: usize, older: usize, failed: usize) {
        let mut figures = self.lock();
        for (outcome, count) in [("written", written), ("older", older), ("failed", failed)] {
            let key = (group.to_owned(), outcome);
            *entry(&mut figures.ingest_rows, key, || ("other".to_owned(), outcome)) += count as u64;
        }
    }

    /// A row that arrived so long ago can be read now.
    pub(crate) fn readable_after(&self, group: &str, time: Duration) {
        let mut figures = self.lock();
        entry(&mut figures.ingest_freshness, group.to_owned(), || "other".to_owned()).add(time.as_secs_f64());
    }

    /// All figures in the text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let figures = self.lock();
        let mut out = String::new();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let name = "feast_feature_server_request_total";
        head(&mut out, name, "counter", "Requests answered.");
        for ((endpoint, status), count) in &figures.requests {
            let _ = writeln!(out, "{name}{{endpoint=\"{endpoint}\",status=\"{status}\"}} {count}");
        }
        let name = "feast_feature_server_request_latency_seconds";
        head(&mut out, name, "histogram", "Time from the head of a request to its answer.");
        for (endpoint, histogram) in &figures.latency {
            histogram.write(&mut out, name, &format!("endpoint=\"{endpoint}\""));
        }
        let name = "feast_online_features_status_total";
        head(&mut out, name, "counter", "Values served by their status.");
        for ((view, status), count) in &figures.statuses {
            let _ = writeln!(out, "{name}{{feature_view=\"{view}\",status=\"{status}\"}} {count}");
        }
        let name = "feast_feature_freshness_seconds";
        head(&mut out, name, "gauge", "Age of the oldest value of the last request.");
        for (view, seconds) in &figures.freshness {
            let _ = writeln!(out, "{name}{{feature_view=\"{view}\"}} {seconds}");
        }
        let name = "duet_features_ingest_rows_total";
        head(&mut out, name, "counter", "Rows that came in by what became of them.");
        for ((group, outcome), count) in &figures.ingest_rows {
            let _ = writeln!(out, "{name}{{feature_group=\"{group}\",outcome=\"{outcome}\"}} {count}");
        }
        let name = "duet_features_ingest_freshness_seconds";
        head(&mut out, name, "histogram", "Time from the arrival of rows until they can be read.");
        for (group, histogram) in &figures.ingest_freshness {
            histogram.write(&mut out, name, &format!("feature_group=\"{group}\""));
        }
        out
    }
}
