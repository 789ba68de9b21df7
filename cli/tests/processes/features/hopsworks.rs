//! Endpoints in the form that users of Hopsworks know, with the documented examples.

use super::Features;
use crate::http::{get, post};
use duet_client::{Client, ColumnType, Row, TableDefinition};
use serde_json::{Value, json};

fn with_view() -> Features {
    let features = Features::start(&[]);
    // The example names group 15.
    for number in 0..13 {
        features.group("fsdb", &format!("other{number}"), &["id"], None, &[("id", "int")]);
    }
    features.group("fsdb", "sample", &["id1"], None, &[("id1", "bigint"), ("ts", "date")]);
    let second = [("id1", "bigint"), ("data1", "bigint"), ("data2", "string"), ("target", "double")];
    assert_eq!(features.group("fsdb", "sample_more", &["id1"], None, &second), 15);
    let view = json!({"store": "fsdb", "name": "sample_2", "version": 1,
        "sources": [{"group": "sample", "version": 1}, {"group": "sample_more", "version": 1}],
        "features": [{"source": 0, "feature": "id1"}, {"source": 0, "feature": "ts"},
            {"source": 1, "feature": "data1"}, {"source": 1, "feature": "target", "label": true},
            {"source": 1, "feature": "data2"}]});
    let created = features.done("/feature_views", &view);
    assert_eq!(created, json!({"servingKeys": ["id1"], "features": ["id1", "ts", "data1", "data2"]}));
    let rows = json!({"rows": [{"id1": 36, "ts": "2022-01-24"}, {"id1": 37, "ts": "2022-01-25"}]});
    assert_eq!(features.done("/feature_groups/fsdb/sample/1/rows", &rows), json!({"written": 2, "older": 0}));
    let rows = json!({"rows": [{"id1": 37, "data1": -5, "data2": "a\"b", "target": 1.0}]});
    features.done("/feature_groups/fsdb/sample_more/1/rows", &rows);
    features
}

fn request() -> Value {
    json!({"featureStoreName": "fsdb", "featureViewName": "sample_2", "featureViewVersion": 1,
        "entries": {"id1": 36}, "passedFeatures": {},
        "metadataOptions": {"featureName": true, "featureType": true},
        "options": {"validatePassedFeatures": false, "includeDetailedStatus": true}})
}

fn changed(request: &Value, member: &str, value: Value) -> Value {
    let mut request = request.clone();
    request[member] = value;
    request
}

#[test]
fn vectors_come_as_documented_and_bad_requests_are_named() {
    const ONE: &str = "/0.1.0/feature_store";
    const MANY: &str = "/0.1.0/batch_feature_store";
    let features = with_view();
    assert_eq!(get(features.address(), "/0.1.0/ping").status, 200);
    let answer = features.done(ONE, &request());
    assert_eq!(answer["features"], json!([36, "2022-01-24", null, null]));
    assert_eq!(answer["metadata"][0], json!({"featureName": "id1", "featureType": "bigint"}));
    assert_eq!(answer["metadata"].as_array().map(Vec::len), Some(4), "labels are not served");
    assert_eq!(answer["status"], "MISSING");
    let detailed =
        json!([{"featureGroupId": 14, "httpStatus": 200}, {"featureGroupId": 15, "httpStatus": 404}]);
    assert_eq!(answer["detailedStatus"], detailed);

    // Without options there is nothing else.
    let plain = json!({"featureStoreName": "fsdb", "featureViewName": "sample_2", "featureViewVersion": 1,
        "entries": {"id1": 37}});
    let complete =
        json!({"features": [37, "2022-01-25", -5, "a\"b"], "metadata": null, "status": "COMPLETE"});
    assert_eq!(features.done(ONE, &plain), complete);
    // Passed features override, and a key is known without a row.
    let passed =
        changed(&changed(&plain, "entries", json!({"id1": 99})), "passedFeatures", json!({"data1": 7}));
    assert_eq!(features.done(ONE, &passed)["features"], json!([99, null, 7, null]));

    let refused = |member: &str, value: Value, status| {
        features.refused(ONE, &changed(&request(), member, value), status)
    };
    assert_eq!(refused("featureViewName", json!("none"), 404), 1);
    assert_eq!(refused("featureViewVersion", json!(2), 404), 1);
    assert_eq!(refused("featureStoreName", json!("none"), 404), 2);
    assert_eq!(refused("entries", json!({}), 400), 15);
    assert_eq!(refused("entries", json!({"id2": 1}), 400), 12);
    assert_eq!(refused("entries", json!({"id1": null}), 400), 12);
    assert_eq!(refused("entries", json!({"id1": "36"}), 415), 10);
    assert_eq!(refused("entries", json!({"id1": 1.5}), 400), 16);
    assert_eq!(refused("entries", json!(7), 400), 23);
    assert_eq!(refused("passedFeatures", json!({"none": 1}), 404), 11);
    assert_eq!(refused("passedFeatures", json!({"target": 1}), 404), 11, "labels cannot be passed");
    let strict = changed(&request(), "options", json!({"validatePassedFeatures": true}));
    assert_eq!(features.refused(ONE, &changed(&strict, "passedFeatures", json!({"data1": "x"})), 400), 13);

    // A bad row harms no other.
    let entries = json!([{"id1": 36}, {"id1": "x"}, {"id1": 37}, {}, null, 7, {"id1": 36}]);
    let batch = changed(&changed(&request(), "entries", entries), "passedFeatures", json!([]));
    let answer = post(features.address(), MANY, &batch);
    assert!(answer.head.contains("x-duet-failures: 4"), "{answer:?}");
    let answer = answer.json();
    let vectors = json!([
        [36, "2022-01-24", null, null],
        null,
        [37, "2022-01-25", -5, "a\"b"],
        null,
        null,
        null,
        [36, "2022-01-24", null, null]
    ]);
    assert_eq!(answer["features"], vectors);
    let statuses = json!(["MISSING", "ERROR", "COMPLETE", "ERROR", "ERROR", "ERROR", "MISSING"]);
    assert_eq!(answer["status"], statuses);
    assert_eq!(answer["detailedStatus"][0], detailed);
    assert_eq!(answer["failures"], 4);
    let codes: Vec<_> =
        answer["errors"].as_array().expect("a list").iter().map(|error| &error["code"]).collect();
    assert_eq!(codes, [10, 15, 15, 12]);
    let entries = changed(&request(), "entries", json!([{"id1": 36}, {"id1": 37}]));
    let passed = changed(&entries, "passedFeatures", json!([{"data1": 1}, {}]));
    assert_eq!(features.done(MANY, &passed)["features"][0], json!([36, "2022-01-24", 1, null]));
    assert_eq!(features.refused(MANY, &changed(&entries, "passedFeatures", json!([{}])), 400), 13);

    let fresh = changed(&plain, "options", json!({"includeFreshness": true, "consistent": true}));
    let statuses: Vec<Value> = features.done(ONE, &fresh)["freshness"].as_array().expect("a list").clone();
    assert!(statuses.iter().all(|group| group["status"] == "PRESENT"), "{statuses:?}");
}

#[test]
fn rows_are_read_by_primary_key_as_documented() {
    let features = Features::start(&[]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&features.cluster.nodes[0].listen).await.expect("connected");
        let definition = TableDefinition::builder("db", "table")
            .required("id", ColumnType::Int)
            .nullable("x", ColumnType::Int)
            .nullable("at", ColumnType::Timestamp)
            .primary_key(["id"])
            .build();
        let table = client.create_table(definition.expect("valid")).await.expect("created");
        let row = Row::new(&table).with("id", 1).and_then(|row| row.with("x", 2)).expect("columns");
        client.insert(&table, row).await.expect("inserted");
    });
    const PATH: &str = "/0.1.0/db/table/pk-read";
    let body = json!({"filters": [{"column": "id", "value": 1}],
        "readColumns": [{"column": "x", "dataReturnType": "default"}], "operationId": "a"});
    assert_eq!(features.done(PATH, &body), json!({"operationId": "a", "data": {"x": 2}}));
    let whole = json!({"filters": [{"column": "id", "value": 1}]});
    assert_eq!(features.done(PATH, &whole), json!({"data": {"id": 1, "x": 2, "at": null}}));
    let missing = json!({"filters": [{"column": "id", "value": 9}], "operationId": "b"});
    assert_eq!(post(features.address(), PATH, &missing).status, 404);
    let batch = json!({"operations": [{"method": "POST", "relative-url": "db/table/pk-read", "body": body}]});
    let expected =
        json!({"result": [{"code": 200, "message": "", "body": {"operationId": "a", "data": {"x": 2}}}]});
    assert_eq!(features.done("/0.1.0/batch", &batch), expected);
    let batch = json!({"operations": [
        {"relative-url": "db/table/pk-read", "body": missing},
        {"relative-url": "db/none/pk-read", "body": body},
        {"relative-url": "db/table", "body": body},
        {"relative-url": "db/table/pk-read", "body": {"filters": [{"column": "x", "value": 2}]}},
        {"relative-url": "db/table/pk-read", "body": body}]});
    let answer = features.done("/0.1.0/batch", &batch);
    let codes: Vec<_> = answer["result"].as_array().expect("a list").iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, [404, 404, 400, 400, 200]);
    assert_eq!(answer["failures"], 3);
    let refused = |body: Value, status| features.refused(PATH, &body, status);
    assert_eq!(refused(json!({"filters": []}), 400), 15);
    assert_eq!(refused(json!({"filters": [{"column": "id", "value": null}]}), 400), 12);
    assert_eq!(refused(json!({"filters": [{"column": "id", "value": "x"}]}), 415), 10);
    assert_eq!(refused(json!({"filters": [{"column": "id", "value": 1_u64 << 40}]}), 400), 16);
    let columns = json!({"filters": [{"column": "id", "value": 1}], "readColumns": [{"column": "none"}]});
    assert_eq!(refused(columns, 404), 11);
    // Hashes of keys are nobody's business.
    let key = json!({"filters": [{"column": "key", "value": ""}]});
    assert_eq!(features.refused("/0.1.0/duet_features/api_keys/pk-read", &key, 404), 28);
}
