//! What groups and views there are, kept in tables of the cluster.

use crate::view::PreparedView;
use crate::{Feature, FeatureError, GroupDefinition, GroupWriter, Reason, Result, Versioned, ViewDefinition};
use duet_client::{
    Assignment, Client, Column, ColumnType, ErrorCode, Json, Row, RowVersion, Table, TableDefinition, col,
};
use std::time::Duration;

/// Database of the tables that hold definitions, API keys and the progress of ingestions.
pub const SYSTEM_DATABASE: &str = "duet_features";

/// How often, and after which wait, a table is looked for again that another program has begun to create.
const OPEN_TRIES: usize = 200;
const OPEN_WAIT: Duration = Duration::from_millis(20);
/// The row that counts the identities of groups.
const GROUP_COUNTER: &str = "group";

/// A feature group that exists.
#[derive(Clone, Debug)]
pub struct Group {
    /// Identity, counted from 1.
    pub id: i64,
    /// What its user defined.
    pub definition: GroupDefinition,
    /// Its table.
    pub table: Table,
}

/// The feature store of a cluster; cheap to clone.
#[derive(Clone, Debug)]
pub struct FeatureStore {
    client: Client,
    groups: Table,
    views: Table,
    counters: Table,
    pub(crate) api_keys: Table,
    progress: Table,
}

fn definitions(name: &str) -> Result<TableDefinition> {
    let table = TableDefinition::builder(SYSTEM_DATABASE, name)
        .required("store", ColumnType::Varchar { characters: 64 })
        .required("name", ColumnType::Varchar { characters: 64 })
        .required("version", ColumnType::Int)
        .required("id", ColumnType::BigInt)
        .required("definition", ColumnType::Json)
        .primary_key(["store", "name", "version"])
        .comment(format!("feature store: definitions of {name}"))
        .build();
    table.map_err(|error| FeatureError::from(duet_client::Error::from(error)))
}

fn small_table(
    name: &str,
    comment: &str,
    key: ColumnType,
    columns: &[(&str, ColumnType)],
) -> Result<TableDefinition> {
    let mut builder = TableDefinition::builder(SYSTEM_DATABASE, name)
        .required("key", key)
        .primary_key(["key"])
        .comment(format!("feature store: {comment}"));
    for (column, column_type) in columns {
        builder = builder.nullable(*column, *column_type);
    }
    builder.build().map_err(|error| FeatureError::from(duet_client::Error::from(error)))
}

/// The table, created when there is none; several programs may do it at once.
async fn open_or_create(client: &Client, definition: TableDefinition) -> Result<Table> {
    let name = format!("{}.{}", definition.database, definition.name);
    for _ in 0..OPEN_TRIES {
        match client.table(&name).await {
            Err(error) if error.is(ErrorCode::TableNotFound) => {}
            opened => return Ok(opened?),
        }
        match client.create_table(definition.clone()).await {
            Err(error) if error.is(ErrorCode::TableExists) => tokio::time::sleep(OPEN_WAIT).await,
            created => return Ok(created?),
        }
    }
    Ok(client.table(&name).await?)
}

/// The definition in a row of `groups` or `views`.
fn definition_of<T: serde::de::DeserializeOwned>(row: &Row) -> Result<T> {
    let Json(text) = row.get("definition")?;
    serde_json::from_str(&text).map_err(|error| {
        FeatureError::new(Reason::Database, format!("a stored definition cannot be read: {error}"))
    })
}

fn as_json<T: serde::Serialize>(definition: &T) -> Result<duet_client::Value> {
    let text = serde_json::to_string(definition);
    let text = text.map_err(|error| FeatureError::new(Reason::InvalidDefinition, error.to_string()))?;
    Ok(duet_client::Value::Json(text))
}

/// Adds the features that a group does not have yet.
fn add_missing(definition: &mut GroupDefinition, features: &[Feature]) -> Result<()> {
    for feature in features {
        match definition.feature(&feature.name) {
            Some(known) if known.feature_type != feature.feature_type => {
                let message = format!(
                    "feature '{}' of {} is {}; another type needs a new version",
                    feature.name,
                    definition.versioned(),
                    known.feature_type
                );
                return Err(FeatureError::new(Reason::SchemaChange, message));
            }
            Some(_) => {}
            None => definition.features.push(feature.clone()),
        }
    }
    Ok(())
}

impl FeatureStore {
    /// The feature store of the client's cluster; its tables are created when there are none.
    ///
    /// # Errors
    /// The cluster cannot be reached.
    pub async fn open(client: Client) -> Result<FeatureStore> {
        let groups = open_or_create(&client, definitions("groups")?).await?;
        let views = open_or_create(&client, definitions("views")?).await?;
        let text = ColumnType::Varchar { characters: 255 };
        let counters =
            small_table("counters", "the next identities", text, &[("value", ColumnType::BigInt)])?;
        let counters = open_or_create(&client, counters).await?;
        let keys = [("name", text), ("created", ColumnType::Timestamp), ("revoked", ColumnType::Boolean)];
        let api_keys = small_table("api_keys", "API keys, hashed", ColumnType::Binary { bytes: 32 }, &keys)?;
        let api_keys = open_or_create(&client, api_keys).await?;
        let progress = small_table(
            "ingest_progress",
            "rows of ingestions so far",
            text,
            &[("rows", ColumnType::BigInt)],
        )?;
        let progress = open_or_create(&client, progress).await?;
        Ok(FeatureStore { client, groups, views, counters, api_keys, progress })
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Creates a group and its table; one that exists with the same definition is as good.
    ///
    /// # Errors
    /// `InvalidDefinition`; `Exists` when it has another definition: additional features are for
    /// [`FeatureStore::add_features`], every other change for a new version.
    pub async fn create_group(&self, definition: &GroupDefinition) -> Result<Group> {
        let table = definition.table()?;
        let name = definition.versioned();
        if let Some((_, row)) = self.find(&self.groups, &name).await? {
            return self.same_group(definition, row).await;
        }
        let created = open_or_create(&self.client, table.clone()).await?;
        if *created.definition() != table {
            let message = format!("there is a table {name} with other columns");
            return Err(FeatureError::new(Reason::Exists, message));
        }
        let text = as_json(definition)?;
        let (counters, groups) = (&self.counters, &self.groups);
        let inserted = self.client.transaction(|transaction| {
            let (name, text) = (name.clone(), text.clone());
            async move {
                let row = transaction.get_for_update(counters, GROUP_COUNTER).await?;
                let id = row.map_or(Ok(0), |row| row.get::<i64>("value"))? + 1;
                let counter = [("key", GROUP_COUNTER.into()), ("value", id.into())];
                transaction.upsert(counters, counter).await?;
                let row = [name.store.into(), name.name.into(), name.version.into(), id.into(), text];
                transaction.insert(groups, row).await?;
                Ok(id)
            }
        });
        match inserted.await {
            Ok(id) => Ok(Group { id, definition: definition.clone(), table: created }),
            Err(error) if error.is(ErrorCode::DuplicateKey) => {
                let row = self.find(&self.groups, &name).await?;
                let (_, row) = row.ok_or_else(|| FeatureError::from(error))?;
                self.same_group(definition, row).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn same_group(&self, definition: &GroupDefinition, row: Row) -> Result<Group> {
        let group = self.group_of(&row).await?;
        if group.definition == *definition {
            return Ok(group);
        }
        let message = format!("group {}; a breaking change needs a new version", definition.versioned());
        Err(FeatureError::new(Reason::Exists, message))
    }

    async fn group_of(&self, row: &Row) -> Result<Group> {
        let definition: GroupDefinition = definition_of(row)?;
        let name = format!("{}.{}", definition.store, definition.table_name());
        let mut table = self.client.table(&name).await?;
        let lacks = |feature: &Feature| table.definition().column_index(&feature.name).is_none();
        if definition.features.iter().any(lacks) {
            // Another client has added features.
            table = self.newest_table(&definition.store, &definition.table_name()).await?;
        }
        Ok(Group { id: row.get("id")?, definition, table })
    }

    /// Adds features to a group without a new version: they are NULL in the rows that there are. The columns come first, so
    /// that whoever knows of a feature finds its column.
    ///
    /// # Errors
    /// `SchemaChange` when a feature of that name exists with another type; `InvalidDefinition`; `GroupMissing`.
    pub async fn add_features(&self, name: &Versioned, features: &[Feature]) -> Result<Group> {
        let group = self.group(name).await?;
        let mut definition = group.definition.clone();
        add_missing(&mut definition, features)?;
        definition.table()?;
        let mut table = group.table;
        for feature in features {
            table = self.add_column(&table, feature).await?;
        }
        let groups = &self.groups;
        let stored = self.client.transaction(|transaction| async move {
            let key = || (name.store.clone(), name.name.clone(), name.version);
            let Some(row) = transaction.get_for_update(groups, key()).await? else {
                return Ok(Err(FeatureError::new(Reason::GroupMissing, name.to_string())));
            };
            let changed = definition_of::<GroupDefinition>(&row).and_then(|mut definition| {
                add_missing(&mut definition, features)?;
                as_json(&definition)
            });
            let text = match changed {
                Ok(text) => text,
                Err(error) => return Ok(Err(error)),
            };
            let set = [("definition", Assignment::Set((&text).into()))];
            transaction.update(groups, key(), &set).await?;
            Ok(Ok(()))
        });
        stored.await??;
        self.group(name).await
    }

    /// The table with the feature's column, which somebody may have added already.
    async fn add_column(&self, table: &Table, feature: &Feature) -> Result<Table> {
        let known = |table: &Table| {
            let column = table.definition().column_index(&feature.name)?;
            Some(table.definition().columns[usize::from(column)].column_type)
        };
        let wanted = feature.feature_type.column_type();
        if known(table) == Some(wanted) {
            return Ok(Table::clone(table));
        }
        let column = Column::new(&feature.name, wanted).nullable();
        let error = match self.client.add_column(table, column).await {
            Ok(table) => return Ok(table),
            Err(error) => error,
        };
        let table = self.newest_table(table.database(), table.name()).await?;
        if known(&table) == Some(wanted) { Ok(table) } else { Err(error.into()) }
    }

    /// A table after the newest map was fetched.
    async fn newest_table(&self, database: &str, name: &str) -> Result<Table> {
        let tables = self.client.tables().await?;
        let found = tables.into_iter().find(|table| table.database() == database && table.name() == name);
        let none = || FeatureError::new(Reason::GroupMissing, format!("there is no table {database}.{name}"));
        found.ok_or_else(none)
    }

    async fn find(&self, table: &Table, name: &Versioned) -> Result<Option<(RowVersion, Row)>> {
        let key = (name.store.clone(), name.name.clone(), name.version);
        Ok(self.client.get(table, key).await?.map(|row| (row.version(), row)))
    }

    /// The group of this name.
    ///
    /// # Errors
    /// `GroupMissing`, or `StoreMissing` when nothing is in the store.
    pub async fn group(&self, name: &Versioned) -> Result<Group> {
        match self.find(&self.groups, name).await? {
            Some((_, row)) => self.group_of(&row).await,
            None => Err(self.missing(Reason::GroupMissing, name).await),
        }
    }

    /// The error for a group or view that is not there.
    async fn missing(&self, reason: Reason, name: &Versioned) -> FeatureError {
        match self.groups(Some(&name.store)).await {
            Ok(groups) if groups.is_empty() => {
                FeatureError::new(Reason::StoreMissing, format!("feature store '{}'", name.store))
            }
            Ok(_) => FeatureError::new(reason, name.to_string()),
            Err(error) => error,
        }
    }

    /// Definitions of all groups, or of those in a store.
    ///
    /// # Errors
    /// The cluster cannot be read.
    pub async fn groups(&self, store: Option<&str>) -> Result<Vec<GroupDefinition>> {
        self.definitions(&self.groups, store, None).await
    }

    /// Definitions of all views, or of those in a store.
    ///
    /// # Errors
    /// The cluster cannot be read.
    pub async fn views(&self, store: Option<&str>) -> Result<Vec<ViewDefinition>> {
        self.definitions(&self.views, store, None).await
    }

    async fn definitions<T: serde::de::DeserializeOwned>(
        &self,
        table: &Table,
        store: Option<&str>,
        name: Option<&str>,
    ) -> Result<Vec<T>> {
        let mut scan = self.client.scan(table);
        if let Some(store) = store {
            scan = scan.filter(col("store").eq(store));
        }
        if let Some(name) = name {
            scan = scan.filter(col("name").eq(name));
        }
        let mut rows = scan.rows().await?;
        rows.sort_by_cached_key(|row| format!("{:?}", &row.values()[..3]));
        rows.iter().map(definition_of).collect()
    }

    /// The newest version of a group.
    ///
    /// # Errors
    /// `GroupMissing`.
    pub async fn newest_group(&self, store: &str, name: &str) -> Result<Versioned> {
        let groups: Vec<GroupDefinition> = self.definitions(&self.groups, Some(store), Some(name)).await?;
        let newest = groups.iter().map(|group| group.version).max();
        let none = || FeatureError::new(Reason::GroupMissing, format!("'{name}' in store '{store}'"));
        newest.map(|version| Versioned::new(store, name, version)).ok_or_else(none)
    }

    /// The newest version of a view.
    ///
    /// # Errors
    /// `ViewMissing`.
    pub async fn newest_view(&self, store: &str, name: &str) -> Result<Versioned> {
        let views: Vec<ViewDefinition> = self.definitions(&self.views, Some(store), Some(name)).await?;
        let newest = views.iter().map(|view| view.version).max();
        let none = || FeatureError::new(Reason::ViewMissing, format!("'{name}' in store '{store}'"));
        newest.map(|version| Versioned::new(store, name, version)).ok_or_else(none)
    }

    /// Creates a view; one that exists with the same definition is as good. Its groups stay locked until the view is
    /// there, so that none of them is dropped meanwhile.
    ///
    /// # Errors
    /// `InvalidDefinition`, `GroupMissing`, `FeatureMissing`; `Exists` when it has another definition.
    pub async fn create_view(&self, definition: &ViewDefinition) -> Result<()> {
        let mut groups = Vec::with_capacity(definition.sources.len());
        for source in &definition.sources {
            let name = Versioned::new(&definition.store, &source.group, source.version);
            groups.push(self.group(&name).await?.definition);
        }
        definition.check(&groups)?;
        let text = as_json(definition)?;
        let (group_table, views) = (&self.groups, &self.views);
        let inserted = self.client.transaction(|transaction| {
            let (text, definition) = (text.clone(), definition.clone());
            async move {
                for source in &definition.sources {
                    let key = (definition.store.clone(), source.group.clone(), source.version);
                    if transaction.get_for_share(group_table, key).await?.is_none() {
                        return Err(duet_client::Error::new(ErrorCode::RowNotFound, &source.group));
                    }
                }
                let ViewDefinition { store, name, version, .. } = definition;
                let row = [store.into(), name.into(), version.into(), 0.into(), text];
                transaction.insert(views, row).await?;
                Ok(())
            }
        });
        match inserted.await {
            Ok(()) => Ok(()),
            Err(error) if error.is(ErrorCode::DuplicateKey) => {
                let known = self.view(&definition.versioned()).await?;
                if known.1 == *definition {
                    return Ok(());
                }
                let message = format!("view {}; a change needs a new version", definition.versioned());
                Err(FeatureError::new(Reason::Exists, message))
            }
            Err(error) if error.is(ErrorCode::RowNotFound) => {
                Err(FeatureError::new(Reason::GroupMissing, error.message))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A view and the version of the row that holds it.
    ///
    /// # Errors
    /// `ViewMissing`, or `StoreMissing` when nothing is in the store.
    pub async fn view(&self, name: &Versioned) -> Result<(RowVersion, ViewDefinition)> {
        match self.find(&self.views, name).await? {
            Some((version, row)) => Ok((version, definition_of(&row)?)),
            None => Err(self.missing(Reason::ViewMissing, name).await),
        }
    }

    /// Drops a view.
    ///
    /// # Errors
    /// `ViewMissing`.
    pub async fn drop_view(&self, name: &Versioned) -> Result<()> {
        let key = (name.store.clone(), name.name.clone(), name.version);
        match self.client.delete(&self.views, key).await {
            Err(error) if error.is(ErrorCode::RowNotFound) => {
                Err(self.missing(Reason::ViewMissing, name).await)
            }
            deleted => Ok(deleted.map(|_| ())?),
        }
    }

    /// Drops a group with its rows.
    ///
    /// # Errors
    /// `GroupMissing`; `InUse` while a view has features of it.
    pub async fn drop_group(&self, name: &Versioned) -> Result<()> {
        let group = self.group(name).await?;
        let transaction = self.client.begin();
        let key = || (name.store.clone(), name.name.clone(), name.version);
        // Nobody creates a view of it while its row is locked.
        let locked = transaction.get_for_update(&self.groups, key()).await;
        let views = match locked {
            Ok(_) => self.views(Some(&name.store)).await,
            Err(error) => Err(error.into()),
        };
        let uses = |view: &ViewDefinition| {
            view.sources.iter().any(|source| source.group == name.name && source.version == name.version)
        };
        match views.map(|views| views.into_iter().find(uses)) {
            Ok(None) => {
                transaction.delete(&self.groups, key()).await?;
                transaction.commit().await?;
                let table = format!("{}.{}", name.store, group.definition.table_name());
                Ok(self.client.drop_table(&table).await?)
            }
            Ok(Some(view)) => {
                transaction.rollback().await?;
                let message = format!("view {} has features of {name}", view.versioned());
                Err(FeatureError::new(Reason::InUse, message))
            }
            Err(error) => {
                transaction.rollback().await?;
                Err(error)
            }
        }
    }

    /// Resolves a view for serving.
    ///
    /// # Errors
    /// As [`FeatureStore::view`]; `GroupMissing`.
    pub async fn prepare(&self, name: &Versioned) -> Result<PreparedView> {
        let (version, definition) = self.view(name).await?;
        let mut groups = Vec::with_capacity(definition.sources.len());
        for source in &definition.sources {
            let name = Versioned::new(&definition.store, &source.group, source.version);
            groups.push(self.group(&name).await?);
        }
        PreparedView::new(self.client.clone(), version, definition, &groups)
    }

    /// Resolves features of groups that no view names together, in this order; for requests that list their features.
    ///
    /// # Errors
    /// `GroupMissing`, `FeatureMissing`, `InvalidDefinition`.
    pub async fn prepare_features(&self, definition: ViewDefinition) -> Result<PreparedView> {
        let mut groups = Vec::with_capacity(definition.sources.len());
        for source in &definition.sources {
            let name = Versioned::new(&definition.store, &source.group, source.version);
            groups.push(self.group(&name).await?);
        }
        PreparedView::new(self.client.clone(), RowVersion::default(), definition, &groups)
    }

    /// Something that writes rows of a group.
    ///
    /// # Errors
    /// As [`FeatureStore::group`].
    pub async fn writer(&self, name: &Versioned) -> Result<GroupWriter> {
        Ok(GroupWriter::new(self.client.clone(), self.group(name).await?))
    }

    /// Rows of an ingestion that are known to be written, by its name; 0 for one that was never begun.
    ///
    /// # Errors
    /// The cluster cannot be read.
    pub async fn progress(&self, ingestion: &str) -> Result<u64> {
        let row = self.client.get(&self.progress, ingestion).await?;
        let rows: Option<i64> = row.map_or(Ok(None), |row| row.get("rows"))?;
        Ok(rows.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0))
    }

    /// Notes how many rows of an ingestion are written.
    ///
    /// # Errors
    /// The cluster cannot be written.
    pub async fn note_progress(&self, ingestion: &str, rows: u64) -> Result<()> {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        self.client.upsert(&self.progress, [("key", ingestion.into()), ("rows", rows.into())]).await?;
        Ok(())
    }

    /// Forgets an ingestion that is complete.
    ///
    /// # Errors
    /// The cluster cannot be written.
    pub async fn forget_progress(&self, ingestion: &str) -> Result<()> {
        match self.client.delete(&self.progress, ingestion).await {
            Err(error) if error.is(ErrorCode::RowNotFound) => Ok(()),
            deleted => Ok(deleted.map(|_| ())?),
        }
    }
}
