//! Feature vectors and writes in the form that users of Feast know.

use super::answer::{Answer, write_failures};
use super::feast_columns::{GroupColumns, NO_TIME, PRESENT, write_list};
use super::hopsworks::{Tally, check_count};
use super::rows::report_answer;
use super::{App, parse};
use crate::json::{read_value, write_text};
use crate::vectors::Vector;
use crate::{FeatureError, PreparedView, ReadOptions, Reason, Result};
use duet_client::Value;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    features: Option<Vec<String>>,
    #[serde(default)]
    feature_service: Option<String>,
    entities: Columns,
    #[serde(default)]
    full_feature_names: bool,
}

/// Lists of values by name, in the order of the request.
struct Columns(Vec<(String, Vec<Json>)>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Columns, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Columns;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object of lists")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = map.next_entry()? {
                    columns.push(column);
                }
                Ok(Columns(columns))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Columns {
    /// Number of rows, which all columns must have.
    fn rows(&self) -> Result<usize> {
        let rows = self.0.first().map_or(0, |(_, values)| values.len());
        match self.0.iter().find(|(_, values)| values.len() != rows) {
            None => Ok(rows),
            Some((name, values)) => {
                let message = format!("'{name}' has {} values, others have {rows}", values.len());
                Err(FeatureError::new(Reason::InvalidRequest, message))
            }
        }
    }

    fn column(&self, name: &str) -> Option<&Vec<Json>> {
        self.0.iter().find(|(column, _)| column == name).map(|(_, values)| values)
    }
}

/// `POST /get-online-features`
pub(super) async fn online_features(app: &App, bytes: &[u8]) -> Result<Answer> {
    let request: Request = parse(bytes)?;
    let rows = request.entities.rows()?;
    check_count(app, rows)?;
    let project = &app.options.project;
    let view = match (&request.feature_service, &request.features) {
        (Some(service), _) => app.views.newest(&app.store, project, service).await?,
        (None, Some(features)) => {
            let listed = features.iter().map(|feature| split(feature)).collect::<Result<Vec<_>>>()?;
            app.views.listed(&app.store, project, &listed, request.full_feature_names).await?
        }
        (None, None) => {
            let message = "'features' or 'feature_service' says what is wanted";
            return Err(FeatureError::new(Reason::InvalidRequest, message));
        }
    };
    let mut columns = Vec::with_capacity(view.keys().len());
    for key in view.keys() {
        let missing =
            || FeatureError::new(Reason::WrongKey, format!("the join key '{}' is missing", key.name));
        columns.push(request.entities.column(&key.name).ok_or_else(missing)?);
    }
    let read = |row: usize| -> Result<Vec<Value>> {
        let value = |(key, column): (&crate::ServingKey, &&Vec<Json>)| match &column[row] {
            Json::Null => {
                Err(FeatureError::new(Reason::WrongKey, format!("the join key '{}' is null", key.name)))
            }
            value => read_value(&key.name, key.feature_type.column_type(), value),
        };
        view.keys().iter().zip(&columns).map(value).collect()
    };
    let keys: Vec<Result<Vec<Value>>> = (0..rows).map(read).collect();
    let asked: Vec<&[Value]> = keys.iter().filter_map(|key| Some(key.as_ref().ok()?.as_slice())).collect();
    let options = ReadOptions { consistent: false, ignore_ttl: app.options.feast_compatible };
    let vectors = view.get_many(asked, &options).await?;
    let mut found: Vec<Result<Vector<'_>>> = Vec::with_capacity(rows);
    let mut next = 0;
    for key in &keys {
        found.push(match key {
            Err(error) => Err(error.clone()),
            Ok(_) => {
                next += 1;
                let unread = || FeatureError::new(Reason::Database, "the row was not read");
                let failed = || vectors.error(next - 1).cloned().unwrap_or_else(unread);
                vectors.vector(next - 1).ok_or_else(failed)
            }
        });
    }
    let answer = write_columns(app, &view, &request, &found, vectors.read_at());
    Ok(answer)
}

/// `group:feature`
fn split(feature: &str) -> Result<(String, String)> {
    match feature.split_once(':') {
        Some((group, name)) if !group.is_empty() && !name.is_empty() => {
            Ok((group.to_owned(), name.to_owned()))
        }
        _ => {
            Err(FeatureError::new(Reason::FeatureMissing, format!("'{feature}' is not written view:feature")))
        }
    }
}

fn write_columns(
    app: &App,
    view: &PreparedView,
    request: &Request,
    rows: &[Result<Vector<'_>>],
    now: i64,
) -> Answer {
    let entities = &request.entities.0;
    let columns = entities.len() + view.features().len();
    let mut out = Vec::with_capacity(128 + columns * (64 + rows.len() * 48));
    out.extend_from_slice(b"{\"metadata\":{\"feature_names\":[");
    for (position, (name, _)) in entities.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_text(&mut out, name);
    }
    for feature in view.features() {
        out.push(b',');
        if request.full_feature_names {
            let group = &view.groups()[feature.group];
            let column = &group.table.definition().columns[usize::from(feature.column)].name;
            write_text(&mut out, &format!("{}__{column}", group.name.name));
        } else {
            write_text(&mut out, &feature.name);
        }
    }
    out.extend_from_slice(b"]},\"results\":[");
    for (position, (_, values)) in entities.iter().enumerate() {
        out.extend_from_slice(if position > 0 { b",{\"values\":[" } else { b"{\"values\":[" });
        for (row, value) in values.iter().enumerate() {
            if row > 0 {
                out.push(b',');
            }
            out.extend_from_slice(value.to_string().as_bytes());
        }
        out.extend_from_slice(b"],\"statuses\":[");
        write_list(&mut out, rows.iter().map(|_| PRESENT));
        out.extend_from_slice(b"],\"event_timestamps\":[");
        write_list(&mut out, rows.iter().map(|_| NO_TIME));
        out.extend_from_slice(b"]}");
    }
    let mut tally = Tally::default();
    let compatible = app.options.feast_compatible;
    let groups: Vec<GroupColumns> =
        (0..view.groups().len()).map(|group| GroupColumns::of(group, rows)).collect();
    for position in 0..view.features().len() {
        let group = &groups[view.features()[position].group];
        group.write_feature(&mut out, position, rows, compatible, &mut tally);
    }
    for vector in rows.iter().flatten() {
        tally.see_times(vector, view.groups().len());
    }
    out.push(b']');
    let failures = rows.iter().enumerate().filter_map(|(row, vector)| match vector {
        Err(error) => Some((row, error)),
        Ok(vector) => vector.failure().map(|error| (row, error)),
    });
    let failed = write_failures(&mut out, failures);
    out.push(b'}');
    tally.report(app, view, now);
    Answer::json(out).with_failures(failed)
}

#[derive(Deserialize)]
struct PushRequest {
    push_source_name: String,
    df: Columns,
    #[serde(default)]
    to: Option<String>,
}

#[derive(Deserialize)]
struct WriteRequest {
    feature_view_name: String,
    df: Columns,
}

/// `POST /push`
pub(super) async fn push(app: &App, bytes: &[u8]) -> Result<Answer> {
    let request: PushRequest = parse(bytes)?;
    match request.to.as_deref() {
        None | Some("online") => write(app, &request.push_source_name, &request.df).await,
        Some(other) => {
            let message = format!("there is only an online store, and 'to' is '{other}'");
            Err(FeatureError::new(Reason::InvalidRequest, message))
        }
    }
}

/// `POST /write-to-online-store`
pub(super) async fn write_to_online_store(app: &App, bytes: &[u8]) -> Result<Answer> {
    let request: WriteRequest = parse(bytes)?;
    write(app, &request.feature_view_name, &request.df).await
}

async fn write(app: &App, group: &str, df: &Columns) -> Result<Answer> {
    let rows = df.rows()?;
    check_count(app, rows)?;
    let name = app.store.newest_group(&app.options.project, group).await?;
    let writer = app.store.writer(&name).await?;
    let columns = writer.columns(df.0.iter().map(|(name, _)| name.as_str()))?;
    let definition = writer.group().table.definition();
    let read = |row: usize| -> Result<Vec<Value>> {
        let value = |(column, (name, values)): (&u16, &(String, Vec<Json>))| {
            read_value(name, definition.columns[usize::from(*column)].column_type, &values[row])
        };
        columns.iter().zip(&df.0).map(value).collect()
    };
    let rows: Vec<Result<Vec<Value>>> = (0..rows).map(read).collect();
    let outcomes = super::rows::write(&writer, &columns, rows).await?;
    Ok(report_answer(app, &writer, &outcomes))
}
