//! Description of the endpoints for machines.

use serde_json::{Value, json};

/// What there is: method, path, sentence, names in the path, and an example of the body.
fn endpoints() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let rows = json!({"rows": [{"id": 1, "x": 2.5}]});
    vec![
        ("get", "/health", "Empty when the server answers.", Value::Null),
        ("get", "/metrics", "Figures in the text format of Prometheus.", Value::Null),
        ("get", "/openapi.json", "This description.", Value::Null),
        ("get", "/0.1.0/ping", "Empty when the server answers.", Value::Null),
        (
            "post",
            "/0.1.0/feature_store",
            "One feature vector.",
            json!({"featureStoreName": "fsdb", "featureViewName": "sample_2", "featureViewVersion": 1,
                "entries": {"id1": 36}, "passedFeatures": {},
                "metadataOptions": {"featureName": true, "featureType": true},
                "options": {"validatePassedFeatures": false, "includeDetailedStatus": true,
                    "includeFreshness": false, "consistent": false}}),
        ),
        (
            "post",
            "/0.1.0/batch_feature_store",
            "Feature vectors in the order of the entries; a failed row is null.",
            json!({"featureStoreName": "fsdb", "featureViewName": "sample_2", "featureViewVersion": 1,
                "entries": [{"id1": 36}, {"id1": 37}]}),
        ),
        (
            "post",
            "/0.1.0/{database}/{table}/pk-read",
            "A row of any table by its primary key.",
            json!({"filters": [{"column": "id", "value": 1}],
                "readColumns": [{"column": "x", "dataReturnType": "default"}], "operationId": "a"}),
        ),
        (
            "post",
            "/0.1.0/batch",
            "Rows of any tables by their primary keys, with a code for each.",
            json!({"operations": [{"method": "POST", "relative-url": "db/table/pk-read",
                "body": {"filters": [{"column": "id", "value": 1}]}}]}),
        ),
        (
            "post",
            "/get-online-features",
            "Features by entity, feature by feature.",
            json!({"features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": [1001, 1002]},
                "full_feature_names": false}),
        ),
        (
            "post",
            "/push",
            "Writes rows of a feature group.",
            json!({"push_source_name": "driver_hourly_stats",
                "df": {"driver_id": [1001], "conv_rate": [0.5]}, "to": "online"}),
        ),
        (
            "post",
            "/write-to-online-store",
            "Writes rows of a feature group.",
            json!({"feature_view_name": "driver_hourly_stats", "df": {"driver_id": [1001]}}),
        ),
        ("get", "/feature_groups", "Definitions of all feature groups.", Value::Null),
        (
            "post",
            "/feature_groups",
            "Creates a feature group.",
            json!({"store": "shop", "name": "users", "version": 1, "primaryKey": ["id"], "eventTime": "at",
                "ttlSeconds": 86400, "features": [{"name": "id", "type": "bigint"},
                {"name": "at", "type": "timestamp"}, {"name": "x", "type": "double"}]}),
        ),
        ("delete", "/feature_groups/{store}/{name}/{version}", "Drops a feature group.", Value::Null),
        (
            "post",
            "/feature_groups/{store}/{name}/{version}/features",
            "Adds features without a new version.",
            json!({"features": [{"name": "y", "type": "double"}]}),
        ),
        ("post", "/feature_groups/{store}/{name}/{version}/rows", "Writes rows, whole or in part.", rows),
        (
            "post",
            "/feature_groups/{store}/{name}/{version}/delete",
            "Deletes rows.",
            json!({"keys": [{"id": 1}]}),
        ),
        (
            "post",
            "/feature_groups/{store}/{name}/{version}/stream",
            "Writes rows as they come, one JSON object a line, or batches of Arrow (application/vnd.apache.arrow.stream).",
            json!({"id": 1, "x": 2.5}),
        ),
        ("get", "/feature_views", "Definitions of all feature views.", Value::Null),
        (
            "post",
            "/feature_views",
            "Creates a feature view.",
            json!({"store": "shop", "name": "ranking", "version": 1,
                "sources": [{"group": "users", "version": 1}],
                "features": [{"source": 0, "feature": "x"}]}),
        ),
        ("delete", "/feature_views/{store}/{name}/{version}", "Drops a feature view.", Value::Null),
    ]
}

/// An OpenAPI 3.0 document.
pub(super) fn description() -> String {
    let mut paths = serde_json::Map::new();
    for (method, path, summary, example) in endpoints() {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<Value> = names
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let mut operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {
                "200": {"description": "Done; x-duet-failures tells how many rows of several failed."},
                "default": {"description": "An error.", "content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Error"}}}},
            },
        });
        if !example.is_null() {
            operation["requestBody"] = json!({"content": {"application/json": {"example": example}}});
        }
        if let Some(item) = paths.entry(path).or_insert_with(|| json!({})).as_object_mut() {
            item.insert(method.to_owned(), operation);
        }
    }
    let error = json!({"type": "object", "required": ["code", "reason", "message"], "properties": {
        "code": {"type": "integer"}, "reason": {"type": "string"}, "message": {"type": "string"}}});
    json!({
        "openapi": "3.0.3",
        "info": {"title": "Duet feature server", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": {"Error": error},
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"}},
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::super::route::Route;
    use super::*;
    use axum::http::Method;

    #[test]
    fn what_is_described_is_there() {
        for (method, path, _, _) in endpoints() {
            let path = path.replace("{version}", "1");
            let method: Method = method.to_uppercase().parse().expect("a method");
            Route::of(&method, &path).expect("an endpoint");
        }
        let description: Value = serde_json::from_str(&description()).expect("JSON");
        assert_eq!(description["openapi"], "3.0.3");
        assert!(Route::of(&Method::GET, "/nothing").is_err());
        assert!(Route::of(&Method::DELETE, "/feature_groups/a/b/x").is_err());
    }
}
