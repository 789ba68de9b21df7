//! The feature groups that are measured: an entity, an event time, and whole numbers.

use anyhow::{Context, Result, ensure};
use duet_client::Value;
use duet_featurestore::{
    Feature, FeatureStore, GroupDefinition, GroupWriter, Versioned, ViewDefinition, ViewFeature, ViewSource,
};
use std::sync::Arc;

/// The feature store.
pub(super) const STORE: &str = "bench";
/// Rows of a call while writing.
pub(super) const WRITE_ROWS: usize = 1_024;
/// An event time in the past, in microseconds.
const FIRST_EVENT: i64 = 1_700_000_000_000_000;

/// A group with its writer.
pub(super) struct Numbers {
    pub(super) writer: Arc<GroupWriter>,
    pub(super) columns: Arc<Vec<u16>>,
    features: usize,
}

impl Numbers {
    /// A group of so many features, the key and the event time among them, and a view of all of them, both called so.
    pub(super) async fn create(store: &FeatureStore, name: &str, features: usize) -> Result<Numbers> {
        ensure!(features > 2, "a group has a key, an event time and features");
        let mut all = vec![Feature::new("id", "bigint")?, Feature::new("at", "timestamp")?];
        for number in 0..features - 2 {
            all.push(Feature::new(&format!("f{number}"), "bigint")?);
        }
        let view = ViewDefinition {
            store: STORE.to_owned(),
            name: name.to_owned(),
            version: 1,
            sources: vec![ViewSource::new(name, 1)],
            features: all.iter().map(|feature| ViewFeature::new(0, &feature.name)).collect(),
        };
        let definition = GroupDefinition {
            store: STORE.to_owned(),
            name: name.to_owned(),
            version: 1,
            primary_key: vec!["id".to_owned()],
            event_time: Some("at".to_owned()),
            ttl_seconds: None,
            features: all,
        };
        store.create_group(&definition).await.with_context(|| format!("group {name}"))?;
        store.create_view(&view).await.with_context(|| format!("view {name}"))?;
        let writer = store.writer(&Versioned::new(STORE, name, 1)).await?;
        let names = definition.features.iter().map(|feature| feature.name.as_str());
        let columns = writer.columns(names)?;
        Ok(Numbers { writer: Arc::new(writer), columns: Arc::new(columns), features })
    }

    /// The rows of these entities, of the event with this number.
    pub(super) fn rows(&self, entities: std::ops::Range<u64>, event: i64) -> Vec<Vec<Value>> {
        let row = |entity: u64| {
            let mut row = Vec::with_capacity(self.features);
            row.extend([Value::Int(entity as i64), Value::Timestamp(FIRST_EVENT + event)]);
            row.extend((2..self.features).map(|feature| value(entity, feature)));
            row
        };
        entities.map(row).collect()
    }

    /// Writes the rows of entities 0 to `rows`.
    pub(super) async fn fill(&self, rows: u64) -> Result<()> {
        for from in (0..rows).step_by(WRITE_ROWS) {
            let rows = self.rows(from..rows.min(from + WRITE_ROWS as u64), 0);
            let report = self.writer.upsert(&self.columns, &rows).await?;
            ensure!(report.written() == rows.len(), "rows were refused: {:?}", report.failures().next());
        }
        Ok(())
    }
}

/// The value of a feature, to be recognised.
pub(super) fn value(entity: u64, feature: usize) -> Value {
    Value::Int((entity * 1_000 + feature as u64) as i64)
}
