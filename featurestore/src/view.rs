//! A feature view resolved for serving: which columns of which tables, found by which keys.

use crate::vectors::{RowPlace, Vectors};
use crate::{FeatureError, FeatureType, Group, Reason, Result, Versioned, ViewDefinition, time};
use duet_client::{Batch, Client, Lock, RowVersion, Table, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most look-ups of one batch; more rows take several batches.
const BATCH_OPERATIONS: usize = 8_192;
/// Most locked look-ups of one transaction.
const TRANSACTION_OPERATIONS: usize = 1_024;
/// How long a consistent look-up is tried again while others hold its rows, or a node is being replaced.
const CONSISTENT_WITHIN: Duration = Duration::from_secs(5);
/// Its waits grow by this, up to the next.
const CONSISTENT_WAIT: Duration = Duration::from_millis(1);
const CONSISTENT_LONGEST_WAIT: Duration = Duration::from_millis(50);

/// A serving key of a view.
#[derive(Clone, Debug)]
pub struct ServingKey {
    /// Name in requests.
    pub name: String,
    /// Type.
    pub feature_type: FeatureType,
}

/// A group of a prepared view.
#[derive(Clone, Debug)]
pub struct PreparedGroup {
    /// Identity of the group.
    pub id: i64,
    /// Name of the group.
    pub name: Versioned,
    /// Its table.
    pub table: Table,
    /// Positions of the serving keys, in the order of the primary key.
    pub keys: Vec<usize>,
    /// Index of the event time's column.
    pub event_time: Option<u16>,
    /// Microseconds after its event time at which a row is gone.
    pub ttl: Option<i64>,
}

/// A feature of a prepared view.
#[derive(Clone, Debug)]
pub struct PreparedFeature {
    /// Name in the vector.
    pub name: String,
    /// Type.
    pub feature_type: FeatureType,
    /// Position of its group.
    pub group: usize,
    /// Index of its column.
    pub column: u16,
    /// Position of the serving key that it is, if it is one: known even without a row.
    pub key: Option<usize>,
}

/// How vectors are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// The rows of a vector are from one moment: no transaction of others is seen in half.
    ///
    /// They are read under shared locks, in one round trip. Comparing versions of two plain reads would not do: a commit
    /// shows its rows one after the other, and both reads may fall between two of them.
    pub consistent: bool,
    /// Rows older than the time to live are served as if there was none.
    pub ignore_ttl: bool,
}

/// A view ready for serving; cheap to clone.
#[derive(Clone, Debug)]
pub struct PreparedView {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    client: Client,
    /// Version of the row that holds the definition.
    version: RowVersion,
    definition: ViewDefinition,
    pub(crate) keys: Vec<ServingKey>,
    pub(crate) groups: Vec<PreparedGroup>,
    pub(crate) features: Vec<PreparedFeature>,
}

impl PreparedView {
    pub(crate) fn new(
        client: Client,
        version: RowVersion,
        definition: ViewDefinition,
        groups: &[Group],
    ) -> Result<PreparedView> {
        let definitions: Vec<_> = groups.iter().map(|group| group.definition.clone()).collect();
        definition.check(&definitions)?;
        let mut keys: Vec<ServingKey> = Vec::new();
        let mut prepared = Vec::with_capacity(groups.len());
        for (source, group) in definition.sources.iter().zip(groups) {
            let mut positions = Vec::new();
            for feature in &group.definition.primary_key {
                let name = source.serving_key(feature);
                let position = keys.iter().position(|key| key.name == name).unwrap_or(keys.len());
                if position == keys.len() {
                    let Some(feature) = group.definition.feature(feature) else { continue };
                    keys.push(ServingKey { name, feature_type: feature.feature_type.clone() });
                }
                positions.push(position);
            }
            let event_time = group.definition.event_time.as_deref();
            prepared.push(PreparedGroup {
                id: group.id,
                name: group.definition.versioned(),
                table: Table::clone(&group.table),
                keys: positions,
                event_time: event_time.map(|name| group.table.column(name)).transpose()?,
                ttl: group
                    .definition
                    .ttl_seconds
                    .map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000)),
            });
        }
        let mut features = Vec::with_capacity(definition.features.len());
        for feature in definition.features.iter().filter(|feature| !feature.label) {
            let group = &groups[feature.source];
            let Some(known) = group.definition.feature(&feature.feature) else { continue };
            let primary_key = &group.definition.primary_key;
            let key = primary_key.iter().position(|name| *name == feature.feature);
            features.push(PreparedFeature {
                name: definition.feature_name(feature),
                feature_type: known.feature_type.clone(),
                group: feature.source,
                column: group.table.column(&feature.feature)?,
                key: key.map(|position| prepared[feature.source].keys[position]),
            });
        }
        let inner = Inner { client, version, definition, keys, groups: prepared, features };
        Ok(PreparedView { inner: Arc::new(inner) })
    }

    /// Version of the row that holds the view's definition.
    pub fn version(&self) -> RowVersion {
        self.inner.version
    }

    /// What its user defined.
    pub fn definition(&self) -> &ViewDefinition {
        &self.inner.definition
    }

    /// The serving keys, in the order in which [`PreparedView::get_many`] takes them.
    pub fn keys(&self) -> &[ServingKey] {
        &self.inner.keys
    }

    /// The groups.
    pub fn groups(&self) -> &[PreparedGroup] {
        &self.inner.groups
    }

    /// The features in the order of the vector, without labels.
    pub fn features(&self) -> &[PreparedFeature] {
        &self.inner.features
    }

    /// Position of a feature in the vector.
    pub fn feature(&self, name: &str) -> Option<usize> {
        self.inner.features.iter().position(|feature| feature.name == name)
    }

    /// Reads one vector.
    ///
    /// # Errors
    /// As [`PreparedView::get_many`]; and what is wrong with the key.
    pub async fn get(&self, key: &[Value], options: &ReadOptions) -> Result<Vectors> {
        let vectors = self.get_many([key], options).await?;
        match vectors.error(0) {
            Some(error) => Err(error.clone()),
            None => Ok(vectors),
        }
    }

    /// Reads a vector for each list of values of the serving keys, all of them in one batched look-up. A row whose keys do
    /// not fit has its error in [`Vectors::error`], and the others are unharmed.
    ///
    /// # Errors
    /// The cluster could not be asked.
    pub async fn get_many<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k [Value]>,
        options: &ReadOptions,
    ) -> Result<Vectors> {
        let keys: Vec<&[Value]> = keys.into_iter().collect();
        let most = if options.consistent { TRANSACTION_OPERATIONS } else { BATCH_OPERATIONS };
        let rows = (most / self.inner.groups.len()).max(1);
        let mut read = Read::default();
        for (number, chunk) in keys.chunks(rows).enumerate() {
            let mut batch = Batch::new();
            for key in chunk {
                let place = RowPlace { batch: number as u32, first: batch.len() as u32 };
                if let Err(error) = self.add(&mut batch, key, options.consistent) {
                    read.errors.push((read.places.len() as u32, error));
                }
                read.places.push(place);
            }
            match options.consistent {
                _ if batch.is_empty() => {}
                false => self.inner.client.execute(&mut batch).await?,
                true => self.execute_locked(&mut batch, chunk).await?,
            }
            read.batches.push(batch);
        }
        Ok(Vectors::new(PreparedView::clone(self), read, time::now_microseconds(), options.ignore_ttl))
    }

    /// Adds the look-ups of one row. After an error some of them may be there; nobody asks for them.
    fn add(&self, batch: &mut Batch, key: &[Value], locked: bool) -> Result<()> {
        self.check_key(key)?;
        let mut values: Vec<&Value> = Vec::with_capacity(4);
        for group in &self.inner.groups {
            values.clear();
            values.extend(group.keys.iter().map(|position| &key[*position]));
            match locked {
                true => batch.read_locked(&group.table, values.as_slice(), Lock::Shared)?,
                false => batch.read(&group.table, values.as_slice())?,
            };
        }
        Ok(())
    }

    fn check_key(&self, key: &[Value]) -> Result<()> {
        let keys = &self.inner.keys;
        if key.len() != keys.len() {
            let message = format!("{} values were given for {} serving keys", key.len(), keys.len());
            return Err(FeatureError::new(Reason::WrongKey, message));
        }
        match keys.iter().zip(key).find(|(_, value)| **value == Value::Null) {
            Some((key, _)) => {
                Err(FeatureError::new(Reason::WrongKey, format!("the serving key '{}' is null", key.name)))
            }
            None => Ok(()),
        }
    }

    /// Executes locked look-ups and the commit that ends them in one round trip; waits a little and tries again when
    /// others are in the way.
    async fn execute_locked(&self, batch: &mut Batch, keys: &[&[Value]]) -> Result<()> {
        let (begun, mut wait) = (Instant::now(), Duration::ZERO);
        loop {
            let reads = batch.len();
            batch.commit()?;
            self.inner.client.begin().execute(batch).await?;
            match (0..=reads).find_map(|index| batch.reply(index).err()) {
                None => return Ok(()),
                Some(error) if error.retryable && begun.elapsed() < CONSISTENT_WITHIN => {}
                Some(error) => return Err(error.into()),
            }
            tokio::time::sleep(wait).await;
            wait = (wait + CONSISTENT_WAIT).min(CONSISTENT_LONGEST_WAIT);
            batch.clear();
            for key in keys {
                // Rows whose keys do not fit are known from the first time.
                let _ = self.add(batch, key, true);
            }
        }
    }
}

/// What a request has read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) batches: Vec<Batch>,
    pub(crate) places: Vec<RowPlace>,
    /// Rows that cannot be read, and why.
    pub(crate) errors: Vec<(u32, FeatureError)>,
}
