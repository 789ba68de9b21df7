//! Definitions of groups and views, and rows of groups, over HTTP.

use super::answer::Answer;
use super::hopsworks::check_count;
use super::rows::{report_answer, write_objects};
use super::{App, parse};
use crate::json::read_value;
use crate::{Feature, FeatureError, GroupDefinition, Reason, Result, RowOutcome, Versioned, ViewDefinition};
use duet_client::Value;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

fn answer(value: &Json) -> Answer {
    Answer::json(value.to_string())
}

/// `GET /feature_groups`
pub(super) async fn groups(app: &App) -> Result<Answer> {
    Ok(answer(&json!(app.store.groups(None).await?)))
}

/// `GET /feature_views`
pub(super) async fn views(app: &App) -> Result<Answer> {
    Ok(answer(&json!(app.store.views(None).await?)))
}

fn definition<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T> {
    parse(bytes).map_err(|error| FeatureError::new(Reason::InvalidDefinition, error.message))
}

/// `POST /feature_groups`
pub(super) async fn create_group(app: &App, bytes: &[u8]) -> Result<Answer> {
    let definition: GroupDefinition = definition(bytes)?;
    let group = app.store.create_group(&definition).await?;
    app.views.forget();
    Ok(answer(&json!({ "featureGroupId": group.id })))
}

/// `POST /feature_views`
pub(super) async fn create_view(app: &App, bytes: &[u8]) -> Result<Answer> {
    let definition: ViewDefinition = definition(bytes)?;
    app.store.create_view(&definition).await?;
    app.views.forget();
    let view = app.store.prepare(&definition.versioned()).await?;
    let keys: Vec<&str> = view.keys().iter().map(|key| key.name.as_str()).collect();
    let features: Vec<&str> = view.features().iter().map(|feature| feature.name.as_str()).collect();
    Ok(answer(&json!({ "servingKeys": keys, "features": features })))
}

#[derive(Deserialize)]
struct FeaturesRequest {
    features: Vec<Feature>,
}

/// `POST /feature_groups/{store}/{name}/{version}/features`
pub(super) async fn add_features(app: &App, name: &Versioned, bytes: &[u8]) -> Result<Answer> {
    let request: FeaturesRequest = definition(bytes)?;
    let group = app.store.add_features(name, &request.features).await?;
    app.views.forget();
    Ok(answer(&json!(group.definition)))
}

/// `DELETE /feature_groups/{store}/{name}/{version}`
pub(super) async fn drop_group(app: &App, name: &Versioned) -> Result<Answer> {
    app.store.drop_group(name).await?;
    app.views.forget();
    Ok(answer(&json!({})))
}

/// `DELETE /feature_views/{store}/{name}/{version}`
pub(super) async fn drop_view(app: &App, name: &Versioned) -> Result<Answer> {
    app.store.drop_view(name).await?;
    app.views.forget();
    Ok(answer(&json!({})))
}

#[derive(Deserialize)]
struct RowsRequest {
    rows: Vec<Json>,
}

/// `POST /feature_groups/{store}/{name}/{version}/rows`
pub(super) async fn upsert(app: &App, name: &Versioned, bytes: &[u8]) -> Result<Answer> {
    let request: RowsRequest = parse(bytes)?;
    check_count(app, request.rows.len())?;
    let writer = app.store.writer(name).await?;
    let rows: Vec<Result<Json>> = request.rows.into_iter().map(Ok).collect();
    let outcomes = write_objects(&writer, &rows).await?;
    Ok(report_answer(app, &writer, &outcomes))
}

#[derive(Deserialize)]
struct DeleteRequest {
    keys: Vec<Map<String, Json>>,
}

/// `POST /feature_groups/{store}/{name}/{version}/delete`
pub(super) async fn delete(app: &App, name: &Versioned, bytes: &[u8]) -> Result<Answer> {
    let request: DeleteRequest = parse(bytes)?;
    check_count(app, request.keys.len())?;
    let writer = app.store.writer(name).await?;
    let definition = writer.group().table.definition();
    let read = |key: &Map<String, Json>| -> Result<Vec<Value>> {
        if key.len() != definition.primary_key.len() {
            return Err(FeatureError::new(Reason::WrongKey, "exactly the primary key is to be given"));
        }
        let value = |index: &u16| {
            let column = &definition.columns[usize::from(*index)];
            let missing = || FeatureError::new(Reason::WrongKey, format!("'{}' is missing", column.name));
            read_value(&column.name, column.column_type, key.get(&column.name).ok_or_else(missing)?)
        };
        definition.primary_key.iter().map(value).collect()
    };
    let (mut outcomes, mut good, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    for key in &request.keys {
        outcomes.push(match read(key) {
            Ok(values) => {
                good.push(values);
                positions.push(outcomes.len());
                RowOutcome::Written
            }
            Err(error) => RowOutcome::Failed(error),
        });
    }
    let report = writer.delete(&good).await?;
    for (position, outcome) in positions.into_iter().zip(report.outcomes) {
        outcomes[position] = outcome;
    }
    let mut answer = report_answer(app, &writer, &outcomes);
    // What was written is gone.
    let text = String::from_utf8_lossy(&answer.body).replacen("{\"written\":", "{\"deleted\":", 1);
    answer.body = text.into_bytes();
    Ok(answer)
}
