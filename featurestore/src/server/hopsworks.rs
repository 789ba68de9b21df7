//! Feature vectors in the form that users of Hopsworks know.

use super::answer::{Answer, write_failures};
use super::{App, parse};
use crate::json::{read_value, write_integer, write_text, write_value};
use crate::vectors::Vector;
use crate::{
    FeatureError, FeatureValue, GroupStatus, PreparedView, ReadOptions, Reason, Result, Vectors, Versioned,
    time,
};
use duet_client::{Value, ValueRef};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SingleRequest {
    feature_store_name: String,
    feature_view_name: String,
    feature_view_version: i32,
    #[serde(default)]
    entries: Option<Map<String, Json>>,
    #[serde(default)]
    passed_features: Option<Map<String, Json>>,
    #[serde(default)]
    metadata_options: Option<MetadataOptions>,
    #[serde(default)]
    options: Option<Options>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchRequest {
    feature_store_name: String,
    feature_view_name: String,
    feature_view_version: i32,
    #[serde(default)]
    entries: Vec<Json>,
    #[serde(default)]
    passed_features: Option<Vec<Json>>,
    #[serde(default)]
    metadata_options: Option<MetadataOptions>,
    #[serde(default)]
    options: Option<Options>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataOptions {
    #[serde(default)]
    feature_name: bool,
    #[serde(default)]
    feature_type: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    #[serde(default)]
    validate_passed_features: bool,
    #[serde(default)]
    include_detailed_status: bool,
    /// Ours: event time and age of each group's row.
    #[serde(default)]
    include_freshness: bool,
    /// Ours: the rows of a vector are from one moment.
    #[serde(default)]
    consistent: bool,
}

/// A row as it was asked for.
struct Wanted {
    keys: Vec<Value>,
    /// Features that the request itself brings, by their position.
    passed: Vec<(usize, Json)>,
}

impl Wanted {
    fn of(
        view: &PreparedView,
        entries: &Map<String, Json>,
        passed: Option<&Map<String, Json>>,
        validate: bool,
    ) -> Result<Wanted> {
        if entries.is_empty() {
            return Err(FeatureError::new(Reason::NoKey, "'entries' is empty"));
        }
        if let Some(unknown) = entries.keys().find(|name| !view.keys().iter().any(|key| key.name == **name)) {
            return Err(FeatureError::new(
                Reason::WrongKey,
                format!("'{unknown}' is no serving key of the view"),
            ));
        }
        let key = |key: &crate::ServingKey| match entries.get(&key.name) {
            None => {
                Err(FeatureError::new(Reason::WrongKey, format!("the serving key '{}' is missing", key.name)))
            }
            Some(Json::Null) => {
                Err(FeatureError::new(Reason::WrongKey, format!("the serving key '{}' is null", key.name)))
            }
            Some(value) => read_value(&key.name, key.feature_type.column_type(), value),
        };
        let keys = view.keys().iter().map(key).collect::<Result<Vec<Value>>>()?;
        let mut given = Vec::new();
        for (name, value) in passed.into_iter().flatten() {
            let Some(position) = view.feature(name) else {
                let message = format!("'{name}' is no feature that the view serves");
                return Err(FeatureError::new(Reason::FeatureMissing, message));
            };
            if validate {
                let column = view.features()[position].feature_type.column_type();
                read_value(name, column, value)
                    .map_err(|error| FeatureError::new(Reason::WrongPassedFeature, error.message))?;
            }
            given.push((position, value.clone()));
        }
        Ok(Wanted { keys, passed: given })
    }
}

/// `POST /0.1.0/feature_store`
pub(super) async fn single(app: &App, bytes: &[u8]) -> Result<Answer> {
    let request: SingleRequest = parse(bytes)?;
    let name =
        Versioned::new(&request.feature_store_name, &request.feature_view_name, request.feature_view_version);
    let view = app.views.view(&app.store, &name).await?;
    let options = request.options.unwrap_or_default();
    let entries = request.entries.unwrap_or_default();
    let passed = request.passed_features.as_ref();
    let wanted = Wanted::of(&view, &entries, passed, options.validate_passed_features)?;
    let vectors = view.get(&wanted.keys, &read_options(options)).await?;
    let Some(vector) = vectors.vector(0) else {
        return Err(FeatureError::new(Reason::Database, "the row was not read"));
    };
    if let Some(error) = vector.failure() {
        return Err(error.clone());
    }
    let mut out = Vec::with_capacity(64 + view.features().len() * 12);
    out.extend_from_slice(b"{\"features\":");
    let mut tally = Tally::default();
    write_features(&mut out, &view, &vector, &wanted, &mut tally);
    out.extend_from_slice(b",\"metadata\":");
    write_metadata(&mut out, &view, request.metadata_options);
    out.extend_from_slice(b",\"status\":");
    write_text(&mut out, status(&vector));
    if options.include_detailed_status {
        out.extend_from_slice(b",\"detailedStatus\":");
        write_detailed(&mut out, &view, &vector);
    }
    if options.include_freshness {
        out.extend_from_slice(b",\"freshness\":");
        write_freshness(&mut out, &view, &vector, vectors.read_at());
    }
    out.push(b'}');
    tally.report(app, &view, vectors.read_at());
    Ok(Answer::json(out))
}

/// `POST /0.1.0/batch_feature_store`
pub(super) async fn batch(app: &App, bytes: &[u8]) -> Result<Answer> {
    let request: BatchRequest = parse(bytes)?;
    let name =
        Versioned::new(&request.feature_store_name, &request.feature_view_name, request.feature_view_version);
    let view = app.views.view(&app.store, &name).await?;
    let options = request.options.unwrap_or_default();
    let rows = request.entries.len();
    check_count(app, rows)?;
    if rows == 0 {
        return Err(FeatureError::new(Reason::NoKey, "'entries' is empty"));
    }
    let passed = request.passed_features.filter(|passed| !passed.is_empty());
    if passed.as_ref().is_some_and(|passed| passed.len() != rows) {
        let message = "'passedFeatures' and 'entries' must be of the same length";
        return Err(FeatureError::new(Reason::WrongPassedFeature, message));
    }
    let wanted = request.entries.iter().enumerate().map(|(row, entry)| {
        let object = |value: &Json, reason, what| match value {
            Json::Object(map) => Ok(Some(map.clone())),
            Json::Null => Ok(None),
            _ => Err(FeatureError::new(reason, format!("{what} is no object"))),
        };
        let entry = object(entry, Reason::WrongKey, "the entry")?.unwrap_or_default();
        let given = passed.as_ref().map(|passed| &passed[row]);
        let given = given.map(|given| object(given, Reason::WrongPassedFeature, "what is passed"));
        let given = given.transpose()?.flatten();
        Wanted::of(&view, &entry, given.as_ref(), options.validate_passed_features)
    });
    let wanted: Vec<Result<Wanted>> = wanted.collect();
    let asked: Vec<&[Value]> =
        wanted.iter().filter_map(|wanted| Some(wanted.as_ref().ok()?.keys.as_slice())).collect();
    let vectors = view.get_many(asked, &read_options(options)).await?;
    Ok(write_batch(app, &view, &vectors, &wanted, request.metadata_options, options))
}

fn write_batch(
    app: &App,
    view: &PreparedView,
    vectors: &Vectors,
    wanted: &[Result<Wanted>],
    metadata: Option<MetadataOptions>,
    options: Options,
) -> Answer {
    let mut out = Vec::with_capacity(256 + wanted.len() * (8 + view.features().len() * 12));
    let (mut statuses, mut detailed, mut freshness) = (Vec::new(), Vec::new(), Vec::new());
    let mut failures: Vec<(usize, FeatureError)> = Vec::new();
    let mut tally = Tally::default();
    let mut next = 0;
    out.extend_from_slice(b"{\"features\":[");
    for (row, wanted) in wanted.iter().enumerate() {
        for list in [&mut out, &mut statuses, &mut detailed, &mut freshness] {
            if row > 0 {
                list.push(b',');
            }
        }
        let found = match wanted {
            Err(error) => Err(error.clone()),
            Ok(wanted) => {
                let position = next;
                next += 1;
                let unread = || FeatureError::new(Reason::Database, "the row was not read");
                match vectors.vector(position) {
                    None => Err(vectors.error(position).cloned().unwrap_or_else(unread)),
                    Some(vector) => match vector.failure() {
                        Some(error) => Err(error.clone()),
                        None => Ok((wanted, vector)),
                    },
                }
            }
        };
        match found {
            Ok((wanted, vector)) => {
                write_features(&mut out, view, &vector, wanted, &mut tally);
                write_text(&mut statuses, status(&vector));
                if options.include_detailed_status {
                    write_detailed(&mut detailed, view, &vector);
                }
                if options.include_freshness {
                    write_freshness(&mut freshness, view, &vector, vectors.read_at());
                }
            }
            Err(error) => {
                out.extend_from_slice(b"null");
                statuses.extend_from_slice(b"\"ERROR\"");
                detailed.extend_from_slice(b"null");
                freshness.extend_from_slice(b"null");
                failures.push((row, error));
            }
        }
    }
    out.extend_from_slice(b"],\"metadata\":");
    write_metadata(&mut out, view, metadata);
    out.extend_from_slice(b",\"status\":[");
    out.extend_from_slice(&statuses);
    out.push(b']');
    for (wanted, name, list) in [
        (options.include_detailed_status, "detailedStatus", detailed),
        (options.include_freshness, "freshness", freshness),
    ] {
        if wanted {
            out.extend_from_slice(format!(",\"{name}\":[").as_bytes());
            out.extend_from_slice(&list);
            out.push(b']');
        }
    }
    let failed = write_failures(&mut out, failures.iter().map(|(row, error)| (*row, error)));
    out.push(b'}');
    tally.report(app, view, vectors.read_at());
    Answer::json(out).with_failures(failed)
}

/// Refuses more rows than the server takes.
pub(super) fn check_count(app: &App, rows: usize) -> Result<()> {
    if rows <= app.options.entities {
        return Ok(());
    }
    let message = format!("{rows} rows were asked for; at most {} are taken", app.options.entities);
    Err(FeatureError::new(Reason::TooLarge, message))
}

fn read_options(options: Options) -> ReadOptions {
    ReadOptions { consistent: options.consistent, ignore_ttl: false }
}

/// Values served by their status.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) present: u64,
    pub(super) null: u64,
    pub(super) not_found: u64,
    pub(super) outside_max_age: u64,
    pub(super) invalid: u64,
    pub(super) oldest: Option<i64>,
}

impl Tally {
    pub(super) fn see(&mut self, value: &FeatureValue<'_>) {
        match value {
            FeatureValue::Present(_) => self.present += 1,
            FeatureValue::Null => self.null += 1,
            FeatureValue::NotFound => self.not_found += 1,
            FeatureValue::OutsideMaxAge => self.outside_max_age += 1,
            FeatureValue::Failed => self.invalid += 1,
        }
    }

    pub(super) fn see_times(&mut self, vector: &Vector<'_>, groups: usize) {
        let times = (0..groups).filter_map(|group| vector.event_time(group));
        self.oldest = times.chain(self.oldest).min();
    }

    pub(super) fn report(&self, app: &App, view: &PreparedView, now: i64) {
        let name = &view.definition().name;
        let counts = [
            ("PRESENT", self.present),
            ("NULL_VALUE", self.null),
            ("NOT_FOUND", self.not_found),
            ("OUTSIDE_MAX_AGE", self.outside_max_age),
            ("INVALID", self.invalid),
        ];
        app.metrics.served(name, &counts);
        if let Some(oldest) = self.oldest {
            app.metrics.freshness(name, now.saturating_sub(oldest) as f64 / 1e6);
        }
    }
}

fn write_features(
    out: &mut Vec<u8>,
    view: &PreparedView,
    vector: &Vector<'_>,
    wanted: &Wanted,
    tally: &mut Tally,
) {
    tally.see_times(vector, view.groups().len());
    out.push(b'[');
    for (position, feature) in view.features().iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        if let Some((_, given)) = wanted.passed.iter().find(|(passed, _)| *passed == position) {
            out.extend_from_slice(given.to_string().as_bytes());
            continue;
        }
        let value = vector.value(position);
        tally.see(&value);
        match (value, feature.key) {
            (FeatureValue::Present(value), _) => write_value(out, &value),
            // A key is known without a row.
            (_, Some(key)) => write_value(out, &ValueRef::from(&wanted.keys[key])),
            (_, None) => out.extend_from_slice(b"null"),
        }
    }
    out.push(b']');
}

fn write_metadata(out: &mut Vec<u8>, view: &PreparedView, options: Option<MetadataOptions>) {
    let options = options.unwrap_or_default();
    if !options.feature_name && !options.feature_type {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'[');
    for (position, feature) in view.features().iter().enumerate() {
        out.extend_from_slice(if position > 0 { b",{" } else { b"{" });
        if options.feature_name {
            out.extend_from_slice(b"\"featureName\":");
            write_text(out, &feature.name);
        }
        if options.feature_type {
            out.extend_from_slice(if options.feature_name {
                b",\"featureType\":"
            } else {
                b"\"featureType\":"
            });
            write_text(out, feature.feature_type.name());
        }
        out.push(b'}');
    }
    out.push(b']');
}

fn status(vector: &Vector<'_>) -> &'static str {
    if vector.is_complete() { "COMPLETE" } else { "MISSING" }
}

fn write_detailed(out: &mut Vec<u8>, view: &PreparedView, vector: &Vector<'_>) {
    out.push(b'[');
    for (position, group) in view.groups().iter().enumerate() {
        out.extend_from_slice(if position > 0 { b",{\"featureGroupId\":" } else { b"{\"featureGroupId\":" });
        write_integer(out, group.id);
        out.extend_from_slice(b",\"httpStatus\":");
        write_integer(
            out,
            match vector.status(position) {
                GroupStatus::Present => 200,
                GroupStatus::NotFound | GroupStatus::OutsideMaxAge => 404,
                GroupStatus::Failed(error) => i64::from(error.status()),
            },
        );
        out.push(b'}');
    }
    out.push(b']');
}

/// `[{"featureGroupId":1,"status":"PRESENT","eventTime":"…","ageSeconds":1.5}]`
fn write_freshness(out: &mut Vec<u8>, view: &PreparedView, vector: &Vector<'_>, now: i64) {
    out.push(b'[');
    for (position, group) in view.groups().iter().enumerate() {
        out.extend_from_slice(if position > 0 { b",{\"featureGroupId\":" } else { b"{\"featureGroupId\":" });
        write_integer(out, group.id);
        out.extend_from_slice(b",\"status\":");
        write_text(
            out,
            match vector.status(position) {
                GroupStatus::Present => "PRESENT",
                GroupStatus::NotFound => "NOT_FOUND",
                GroupStatus::OutsideMaxAge => "OUTSIDE_MAX_AGE",
                GroupStatus::Failed(_) => "INVALID",
            },
        );
        if let Some(event_time) = vector.event_time(position) {
            out.extend_from_slice(b",\"eventTime\":\"");
            time::write_timestamp(out, event_time, ' ');
            out.extend_from_slice(b"\",\"ageSeconds\":");
            write_value(out, &ValueRef::Double(now.saturating_sub(event_time) as f64 / 1e6));
        }
        out.push(b'}');
    }
    out.push(b']');
}
