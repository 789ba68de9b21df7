//! Endpoints in the form that users of Feast know, with the documented examples.

use super::Features;
use crate::http::{get, post, request};
use serde_json::{Value, json};

const READ: &str = "/get-online-features";
const TIME: &str = "2024-11-21T00:00:00Z";

fn with_drivers(arguments: &[&str]) -> Features {
    let features = Features::start(arguments);
    let columns = [
        ("driver_id", "bigint"),
        ("event_timestamp", "timestamp"),
        ("conv_rate", "double"),
        ("avg_daily_trips", "int"),
    ];
    features.group("default", "driver_hourly_stats", &["driver_id"], Some("event_timestamp"), &columns);
    let df = json!({"driver_id": [1001, 1002], "event_timestamp": [TIME, TIME], "conv_rate": [0.115, 0.839],
        "avg_daily_trips": [7, null]});
    let pushed = json!({"push_source_name": "driver_hourly_stats", "df": df, "to": "online"});
    assert_eq!(features.done("/push", &pushed), json!({"written": 2, "older": 0}));
    features
}

fn wanted() -> Value {
    json!({"features": ["driver_hourly_stats:conv_rate", "driver_hourly_stats:avg_daily_trips"],
        "entities": {"driver_id": [1001, 1002, 9999]}, "full_feature_names": false})
}

#[test]
fn features_come_as_documented() {
    let features = with_drivers(&["--feast-listen", "127.0.0.1:0"]);
    let health = get(features.address(), "/health");
    assert_eq!((health.status, health.body.as_str()), (200, ""));
    let zero = "1970-01-01T00:00:00Z";
    let expected = json!({
        "metadata": {"feature_names": ["driver_id", "conv_rate", "avg_daily_trips"]},
        "results": [
            {"values": [1001, 1002, 9999], "statuses": ["PRESENT", "PRESENT", "PRESENT"],
                "event_timestamps": [zero, zero, zero]},
            {"values": [0.115, 0.839, null], "statuses": ["PRESENT", "PRESENT", "NOT_FOUND"],
                "event_timestamps": [TIME, TIME, zero]},
            {"values": [7, null, null], "statuses": ["PRESENT", "NULL_VALUE", "NOT_FOUND"],
                "event_timestamps": [TIME, TIME, zero]},
        ]
    });
    // Whatever the content type is.
    let body = wanted().to_string();
    let answer = request(features.address(), "POST", READ, "Content-Type: text/odd\r\n", body.as_bytes());
    assert_eq!((answer.status, answer.json()), (200, expected.clone()));
    assert_eq!(
        features.metric("feast_online_features_status_total{feature_view=\"listed\",status=\"NOT_FOUND\"}"),
        Some(2.0)
    );

    let mut full = wanted();
    full["full_feature_names"] = json!(true);
    let names = ["driver_id", "driver_hourly_stats__conv_rate", "driver_hourly_stats__avg_daily_trips"];
    assert_eq!(features.done(READ, &full)["metadata"]["feature_names"], json!(names));

    // A service is a view.
    let view = json!({"store": "default", "name": "drivers", "version": 1,
        "sources": [{"group": "driver_hourly_stats", "version": 1}],
        "features": [{"source": 0, "feature": "conv_rate"}, {"source": 0, "feature": "avg_daily_trips"}]});
    features.done("/feature_views", &view);
    let service = json!({"feature_service": "drivers", "entities": {"driver_id": [1001, 1002, 9999]}});
    assert_eq!(features.done(READ, &service), expected);

    let refused = |body: Value, status| features.refused(READ, &body, status);
    let entities = json!({"driver_id": [1001]});
    assert_eq!(refused(json!({"feature_service": "none", "entities": entities}), 404), 1);
    assert_eq!(refused(json!({"features": ["none:x"], "entities": entities}), 404), 3);
    assert_eq!(refused(json!({"features": ["driver_hourly_stats:none"], "entities": entities}), 404), 11);
    assert_eq!(refused(json!({"features": ["odd"], "entities": entities}), 404), 11);
    let conv_rate = json!(["driver_hourly_stats:conv_rate"]);
    assert_eq!(refused(json!({"features": conv_rate, "entities": {"customer": [1]}}), 400), 12);
    assert_eq!(refused(json!({"features": conv_rate, "entities": {"driver_id": [1], "x": []}}), 400), 23);
    assert_eq!(refused(json!({"entities": entities}), 400), 23);
    // A bad entity harms no other, and is counted.
    let some =
        features.done(READ, &json!({"features": conv_rate, "entities": {"driver_id": [null, 1001, "x"]}}));
    assert_eq!(some["results"][1]["values"], json!([null, 0.115, null]));
    assert_eq!(some["results"][1]["statuses"], json!(["INVALID", "PRESENT", "INVALID"]));
    assert_eq!(some["failures"], 2);
}

#[test]
fn older_events_are_dropped_and_bad_rows_are_named() {
    let features = with_drivers(&["--feast-compatible"]);
    let push = |df: Value| {
        features
            .done("/write-to-online-store", &json!({"feature_view_name": "driver_hourly_stats", "df": df}))
    };
    let value = |id: i64| {
        let one = json!({"features": ["driver_hourly_stats:conv_rate", "driver_hourly_stats:avg_daily_trips"],
            "entities": {"driver_id": [id]}});
        let results = features.done(READ, &one)["results"].clone();
        (results[1]["values"][0].clone(), results[2]["values"][0].clone(), results[2]["statuses"][0].clone())
    };
    // A stored null is PRESENT for those who want it so.
    assert_eq!(value(1002), (json!(0.839), Value::Null, json!("PRESENT")));
    let older =
        push(json!({"driver_id": [1001], "event_timestamp": ["2024-11-20 23:59:59"], "conv_rate": [0.0]}));
    assert_eq!(older, json!({"written": 0, "older": 1}));
    assert_eq!(value(1001).0, json!(0.115));
    // A part of a newer row leaves the other columns alone.
    let newer =
        push(json!({"driver_id": [1001], "event_timestamp": ["2024-11-21 00:00:01"], "conv_rate": [0.5]}));
    assert_eq!(newer, json!({"written": 1, "older": 0}));
    assert_eq!((value(1001).0, value(1001).1), (json!(0.5), json!(7)));
    // Of one key in one call the newest counts.
    let twice = json!({"driver_id": [5, 5, 5], "event_timestamp": ["2024-01-02", "2024-01-03", "2024-01-01"],
        "conv_rate": [2.0, 3.0, 1.0]});
    assert_eq!(push(twice), json!({"written": 1, "older": 2}));
    assert_eq!(value(5).0, json!(3.0));
    let bad = push(json!({"driver_id": [null, 7, "x", 8, 9], "conv_rate": [1.0, 1.0, 1.0, "NaN", 1.0],
        "event_timestamp": [TIME, "2999-01-01", TIME, TIME, TIME]}));
    assert_eq!((&bad["written"], &bad["failures"]), (&json!(1), &json!(4)));
    let codes: Vec<_> =
        bad["errors"].as_array().expect("a list").iter().map(|error| &error["code"]).collect();
    assert_eq!(codes, [12, 16, 10, 10]);
    assert_eq!(value(9).0, json!(1.0));

    let refused = |df: Value, status| {
        let body = json!({"feature_view_name": "driver_hourly_stats", "df": df});
        features.refused("/write-to-online-store", &body, status)
    };
    assert_eq!(refused(json!({"driver_id": [1], "event_timestamp": [TIME], "none": [1]}), 404), 11);
    assert_eq!(refused(json!({"event_timestamp": [TIME]}), 400), 12);
    assert_eq!(refused(json!({"driver_id": [1], "conv_rate": [1.0]}), 400), 16);
    let offline = json!({"push_source_name": "driver_hourly_stats", "df": {}, "to": "offline"});
    assert_eq!(features.refused("/push", &offline, 400), 23);
    let nowhere = post(features.address(), "/push", &json!({"push_source_name": "none", "df": {}}));
    assert_eq!(nowhere.status, 404);
}
