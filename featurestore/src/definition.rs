//! Feature groups and feature views as their users define them.

use crate::{FeatureError, FeatureType, Reason, Result};
use duet_client::{Column, ColumnType, TableDefinition};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Longest name of a store, group or view, in bytes: `<name>_<version>` must be a name of a table.
const LONGEST_NAME: usize = 53;
/// Most features of a group.
const MOST_FEATURES: usize = 500;
/// Most groups of a view.
const MOST_GROUPS: usize = 64;
/// Most features of a view.
const MOST_VIEW_FEATURES: usize = 4_096;

fn invalid(message: impl Into<String>) -> FeatureError {
    FeatureError::new(Reason::InvalidDefinition, message)
}

/// Names are lower case, as in Hopsworks: letters, digits and underscores, and no digit first.
fn check_name(what: &str, name: &str) -> Result<()> {
    let letters = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let first = name.chars().next().is_some_and(|letter| !letter.is_ascii_digit());
    if first && name.len() <= LONGEST_NAME && name.chars().all(letters) {
        return Ok(());
    }
    Err(invalid(format!(
        "the {what} '{name}' must have 1 to {LONGEST_NAME} lower-case letters, digits and underscores, and no digit first"
    )))
}

/// Name and version in a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Versioned {
    /// Feature store: the database of the tables.
    pub store: String,
    /// Name of the group or view.
    pub name: String,
    /// Version, from 1 on.
    pub version: i32,
}

impl Versioned {
    /// A name of these parts.
    pub fn new(store: &str, name: &str, version: i32) -> Versioned {
        Versioned { store: store.to_owned(), name: name.to_owned(), version }
    }
}

impl std::fmt::Display for Versioned {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}_{}", self.store, self.name, self.version)
    }
}

/// A feature of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Name.
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub feature_type: FeatureType,
}

impl Feature {
    /// A feature of a type given by name.
    ///
    /// # Errors
    /// There is no such type.
    pub fn new(name: &str, feature_type: &str) -> Result<Feature> {
        Ok(Feature { name: name.to_owned(), feature_type: feature_type.parse()? })
    }
}

/// A feature group: a table of features of one kind of entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupDefinition {
    /// Feature store.
    pub store: String,
    /// Name.
    pub name: String,
    /// Version, from 1 on.
    pub version: i32,
    /// Names of the features that identify a row, in key order.
    pub primary_key: Vec<String>,
    /// Name of the feature that says when a row's event happened: a timestamp, date or bigint (seconds or milliseconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// Seconds after its event time at which a row is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// All features in order, those of key and event time among them.
    pub features: Vec<Feature>,
}

impl GroupDefinition {
    /// Store, name and version.
    pub fn versioned(&self) -> Versioned {
        Versioned::new(&self.store, &self.name, self.version)
    }

    /// `<name>_<version>`.
    pub fn table_name(&self) -> String {
        format!("{}_{}", self.name, self.version)
    }

    /// The feature of this name.
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.name == name)
    }

    /// Checks everything that a definition must keep, and makes the table of it.
    ///
    /// # Errors
    /// `InvalidDefinition`.
    pub fn table(&self) -> Result<TableDefinition> {
        check_name("store", &self.store)?;
        check_name("name", &self.name)?;
        if self.version < 1 {
            return Err(invalid("versions begin with 1"));
        }
        if self.features.len() > MOST_FEATURES {
            return Err(invalid(format!("a group has at most {MOST_FEATURES} features")));
        }
        if self.store == crate::catalogue::SYSTEM_DATABASE {
            return Err(invalid(format!("the store '{}' belongs to the system", self.store)));
        }
        let mut builder = TableDefinition::builder(&self.store, self.table_name());
        for feature in &self.features {
            check_name("feature", &feature.name)?;
            let column = Column::new(&feature.name, feature.feature_type.column_type());
            let in_key = self.primary_key.contains(&feature.name);
            builder = builder.column(if in_key { column } else { column.nullable() });
        }
        builder = builder.primary_key(&self.primary_key).comment("feature group");
        match (&self.event_time, self.ttl_seconds) {
            (None, Some(_)) => return Err(invalid("a time to live needs an event time")),
            (None, None) => {}
            (Some(name), ttl) => {
                let feature = self.feature(name);
                let feature = feature.ok_or_else(|| invalid(format!("there is no feature '{name}'")))?;
                match (feature.feature_type.column_type(), ttl) {
                    (_, Some(0)) => return Err(invalid("a time to live is at least one second")),
                    (ColumnType::Timestamp | ColumnType::Date | ColumnType::BigInt, Some(seconds)) => {
                        builder = builder.time_to_live(seconds, name);
                    }
                    (ColumnType::Timestamp | ColumnType::Date | ColumnType::BigInt, None) => {}
                    _ => return Err(invalid("the event time is a timestamp, date or bigint")),
                }
            }
        }
        builder.build().map_err(|error| invalid(error.to_string()))
    }
}

/// A group of a view, and how its rows are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ViewSource {
    /// Name of the group, in the store of the view.
    pub group: String,
    /// Version of the group.
    pub version: i32,
    /// In front of the names of its features and of its keys.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Serving keys of features of the group's primary key; those that are not named here are called as the feature, with
    /// the prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
}

impl ViewSource {
    /// A group without prefix.
    pub fn new(group: &str, version: i32) -> ViewSource {
        ViewSource { group: group.to_owned(), version, prefix: String::new(), keys: BTreeMap::new() }
    }

    /// Finds the group's rows by a serving key of another name.
    #[must_use]
    pub fn keyed(mut self, feature: &str, serving_key: &str) -> ViewSource {
        self.keys.insert(feature.to_owned(), serving_key.to_owned());
        self
    }

    /// Puts a prefix in front of names.
    #[must_use]
    pub fn prefixed(mut self, prefix: &str) -> ViewSource {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Name of the serving key for a feature of the primary key.
    pub fn serving_key(&self, feature: &str) -> String {
        self.keys.get(feature).cloned().unwrap_or_else(|| format!("{}{feature}", self.prefix))
    }
}

/// A feature of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ViewFeature {
    /// Position of its group among the sources of the view.
    pub source: usize,
    /// Name in the group.
    pub feature: String,
    /// What training predicts; left out when serving.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub label: bool,
}

impl ViewFeature {
    /// A feature of the source at this position.
    pub fn new(source: usize, feature: &str) -> ViewFeature {
        ViewFeature { source, feature: feature.to_owned(), label: false }
    }
}

/// A feature view: features of several groups in an order that never changes for a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ViewDefinition {
    /// Feature store.
    pub store: String,
    /// Name.
    pub name: String,
    /// Version, from 1 on.
    pub version: i32,
    /// The groups.
    pub sources: Vec<ViewSource>,
    /// The features in the order of the vector.
    pub features: Vec<ViewFeature>,
}

impl ViewDefinition {
    /// Store, name and version.
    pub fn versioned(&self) -> Versioned {
        Versioned::new(&self.store, &self.name, self.version)
    }

    /// Name of a feature in the vector.
    pub fn feature_name(&self, feature: &ViewFeature) -> String {
        let prefix = self.sources.get(feature.source).map_or("", |source| &source.prefix);
        format!("{prefix}{}", feature.feature)
    }

    /// Checks everything that a definition must keep, against the groups of its sources in their order.
    ///
    /// # Errors
    /// `InvalidDefinition`; `FeatureMissing`.
    pub fn check(&self, groups: &[GroupDefinition]) -> Result<()> {
        check_name("store", &self.store)?;
        check_name("name", &self.name)?;
        if self.version < 1 {
            return Err(invalid("versions begin with 1"));
        }
        if !(1..=MOST_GROUPS).contains(&self.sources.len()) || groups.len() != self.sources.len() {
            return Err(invalid(format!("a view has 1 to {MOST_GROUPS} groups")));
        }
        if !(1..=MOST_VIEW_FEATURES).contains(&self.features.len()) {
            return Err(invalid(format!("a view has 1 to {MOST_VIEW_FEATURES} features")));
        }
        let mut names = HashSet::new();
        for feature in &self.features {
            let group = groups.get(feature.source);
            let group = group.ok_or_else(|| invalid(format!("there is no source {}", feature.source)))?;
            if group.feature(&feature.feature).is_none() {
                let message = format!("group {} has no feature '{}'", group.versioned(), feature.feature);
                return Err(FeatureError::new(Reason::FeatureMissing, message));
            }
            let name = self.feature_name(feature);
            if !names.insert(name.clone()) {
                return Err(invalid(format!(
                    "two features are called '{name}'; give one of the groups a prefix"
                )));
            }
        }
        let mut keys: BTreeMap<String, &FeatureType> = BTreeMap::new();
        for (source, group) in self.sources.iter().zip(groups) {
            if let Some(wrong) = source.keys.keys().find(|key| !group.primary_key.contains(key)) {
                return Err(invalid(format!("'{wrong}' is not of the primary key of {}", group.versioned())));
            }
            for key in &group.primary_key {
                let Some(feature) = group.feature(key) else { continue };
                let name = source.serving_key(key);
                let column = |feature_type: &FeatureType| feature_type.column_type();
                let before = keys.insert(name.clone(), &feature.feature_type);
                let same = |before: &FeatureType| {
                    std::mem::discriminant(&column(before))
                        == std::mem::discriminant(&column(&feature.feature_type))
                };
                if before.is_some_and(|before| !same(before)) {
                    return Err(invalid(format!(
                        "the serving key '{name}' has two types; give one a prefix"
                    )));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, key: &str, key_type: &str) -> GroupDefinition {
        GroupDefinition {
            store: "shop".to_owned(),
            name: name.to_owned(),
            version: 1,
            primary_key: vec![key.to_owned()],
            event_time: Some("at".to_owned()),
            ttl_seconds: None,
            features: vec![
                Feature::new(key, key_type).expect("a type"),
                Feature::new("at", "timestamp").expect("a type"),
                Feature::new("x", "double").expect("a type"),
            ],
        }
    }

    #[test]
    fn groups_are_tables() {
        let table = group("user", "id", "bigint").table().expect("valid");
        assert_eq!((table.database.as_str(), table.name.as_str()), ("shop", "user_1"));
        assert!(!table.columns[0].nullable && table.columns[2].nullable);
        let with_ttl = GroupDefinition { ttl_seconds: Some(60), ..group("user", "id", "bigint") };
        assert_eq!(with_ttl.table().expect("valid").time_to_live.map(|ttl| ttl.seconds), Some(60));
        let refused = |change: fn(&mut GroupDefinition)| {
            let mut group = group("user", "id", "bigint");
            change(&mut group);
            assert_eq!(group.table().expect_err("refused").reason, Reason::InvalidDefinition);
        };
        refused(|group| group.name = "Upper".to_owned());
        refused(|group| group.store = crate::catalogue::SYSTEM_DATABASE.to_owned());
        refused(|group| group.version = 0);
        refused(|group| group.primary_key = vec!["none".to_owned()]);
        refused(|group| group.event_time = Some("x".to_owned()));
        refused(|group| (group.event_time, group.ttl_seconds) = (None, Some(5)));
        refused(|group| group.ttl_seconds = Some(0));
    }

    #[test]
    fn views_are_checked_against_their_groups() {
        let groups = [group("user", "id", "bigint"), group("item", "id", "string")];
        let view = ViewDefinition {
            store: "shop".to_owned(),
            name: "both".to_owned(),
            version: 1,
            sources: vec![ViewSource::new("user", 1), ViewSource::new("item", 1).prefixed("item_")],
            features: vec![ViewFeature::new(0, "x"), ViewFeature::new(1, "x")],
        };
        view.check(&groups).expect("valid");
        assert_eq!(view.feature_name(&view.features[1]), "item_x");
        let refused = |change: fn(&mut ViewDefinition)| {
            let mut view = view.clone();
            change(&mut view);
            view.check(&groups).expect_err("refused").reason
        };
        let mistyped =
            refused(|view| view.sources[1] = ViewSource::new("item", 1).prefixed("i_").keyed("id", "id"));
        assert_eq!(mistyped, Reason::InvalidDefinition);
        assert_eq!(refused(|view| view.features[1].source = 0), Reason::InvalidDefinition);
        assert_eq!(refused(|view| view.features[1].source = 7), Reason::InvalidDefinition);
        assert_eq!(refused(|view| view.features[0].feature = "y".to_owned()), Reason::FeatureMissing);
        assert_eq!(refused(|view| view.features.clear()), Reason::InvalidDefinition);
    }

    #[test]
    fn definitions_are_json() {
        let text = r#"{"store":"shop","name":"user","version":1,"primaryKey":["id"],"eventTime":"at","ttlSeconds":60,
            "features":[{"name":"id","type":"bigint"},{"name":"at","type":"timestamp"}]}"#;
        let read: GroupDefinition = serde_json::from_str(text).expect("a definition");
        assert_eq!(read.ttl_seconds, Some(60));
        let again = serde_json::to_string(&read).expect("JSON");
        assert_eq!(serde_json::from_str::<GroupDefinition>(&again).expect("a definition"), read);
        assert!(serde_json::from_str::<GroupDefinition>(&again.replace("bigint", "number")).is_err());
    }
}
