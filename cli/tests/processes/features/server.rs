//! Limits, keys, streams and the end of the feature server.

use super::Features;
use crate::cluster::{run_to_end, wait_for};
use crate::http::{get, post, request};
use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::ipc::writer::StreamWriter;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;

#[test]
fn keys_can_be_revoked_and_limits_hold() {
    let mut features = Features::start(&["--api-keys", "--body-limit", "64KiB", "--entity-limit", "100"]);
    let connect = features.cluster.nodes[0].listen.clone();
    let tool = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_duet"))
            .args(["features", "key"])
            .args(arguments)
            .args(["--connect", &connect])
            .output()
            .expect("the binary exists");
        (output.status.success(), String::from_utf8(output.stdout).expect("text").trim().to_owned())
    };
    let (made, key) = tool(&["create", "somebody"]);
    assert!(made && key.starts_with("duet_"), "{key}");
    let address = features.address().to_owned();
    let ping = |key: &str| {
        let header = if key.is_empty() { String::new() } else { format!("X-API-KEY: {key}\r\n") };
        request(&address, "GET", "/0.1.0/ping", &header, b"").status
    };
    assert_eq!((ping(""), ping("wrong"), ping(&key)), (401, 401, 200));
    assert_eq!(get(&address, "/health").status, 200, "health needs no key");
    let with_key =
        |path: &str, body: &[u8]| request(&address, "POST", path, &format!("X-API-KEY: {key}\r\n"), body);
    let large = with_key("/get-online-features", &vec![b' '; 65_537]);
    assert_eq!((large.status, large.json()["code"].as_u64()), (413, Some(24)));
    let ids: Vec<i64> = (0..101).collect();
    let many = json!({"features": ["x:y"], "entities": {"id": ids}}).to_string();
    assert_eq!(with_key("/get-online-features", many.as_bytes()).status, 413);
    for broken in ["", "{", "[]", "null", "{\"entities\":{}}", "\u{0}"] {
        assert_eq!(with_key("/get-online-features", broken.as_bytes()).status, 400, "{broken:?}");
        assert_eq!(with_key("/0.1.0/feature_store", broken.as_bytes()).status, 400, "{broken:?}");
        assert_eq!(with_key("/0.1.0/batch", broken.as_bytes()).status, 400, "{broken:?}");
        assert_eq!(with_key("/feature_groups", broken.as_bytes()).status, 400, "{broken:?}");
    }
    assert_eq!(with_key("/nothing", b"").status, 404);
    assert!(tool(&["revoke", "somebody"]).0);
    wait_for("the key to be refused", || (ping(&key) == 401).then_some(()));
    assert!(!tool(&["revoke", "nobody"]).0);
    let description = get(&address, "/openapi.json").json();
    assert!(description["paths"]["/get-online-features"]["post"].is_object());
    let refused = "feast_feature_server_request_total{endpoint=\"/0.1.0/ping\",status=\"401\"}";
    assert!(features.metric(refused).is_some_and(|count| count >= 3.0));
    features.server.signal("TERM");
    let ended = wait_for("the server to end", || features.server.child.try_wait().expect("waitable"));
    assert_eq!(ended.code(), Some(0));
    let (code, error) = run_to_end(&["features", "--listen", "0.0.0.0:0", "--connect", &connect]);
    assert!(code == Some(1) && error.contains("--api-keys"), "{error}");
}

/// Users of these numbers with a name, but for every seventh, as a stream of Arrow in two batches.
fn arrow_stream(ids: std::ops::Range<i64>) -> Vec<u8> {
    let middle = i64::midpoint(ids.start, ids.end);
    let batch = |ids: std::ops::Range<i64>| {
        let name = |id: i64| (id % 7 > 0).then(|| format!("n{id}"));
        let none: Float64Array = ids.clone().map(|_| None::<f64>).collect();
        let at = TimestampMillisecondArray::from_iter_values(ids.clone().map(|_| 1_704_240_000_000));
        let columns: [(&str, ArrayRef); 4] = [
            ("ID", Arc::new(Int32Array::from_iter_values(ids.clone().map(|id| id as i32)))),
            ("at", Arc::new(at)),
            ("x", Arc::new(none)),
            ("name", Arc::new(StringArray::from_iter(ids.map(name)))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
            .expect("a batch")
    };
    let first = batch(ids.start..middle);
    let mut writer = StreamWriter::try_new(Vec::new(), &first.schema()).expect("a writer");
    writer.write(&first).expect("written");
    writer.write(&batch(middle..ids.end)).expect("written");
    writer.into_inner().expect("ended")
}

#[test]
fn streams_and_files_come_in() {
    let features = Features::start(&[]);
    let columns = [("id", "bigint"), ("at", "timestamp"), ("x", "double"), ("name", "string")];
    features.group("shop", "users", &["id"], Some("at"), &columns);
    let mut lines = String::new();
    for number in 0..5_000 {
        let (id, second) = (number % 4_000, number / 4_000);
        lines += &format!("{{\"id\":{id},\"at\":\"2024-01-01 00:00:0{second}\",\"x\":{number}}}\n");
    }
    lines += "\n{\"id\":1}\nnonsense\n{\"id\":70,\"at\":\"2023-01-01\",\"x\":0}\n{\"id\":71,\"at\":\"2024-01-02\",\"name\":\"last\"}";
    let answer =
        request(features.address(), "POST", "/feature_groups/shop/users/1/stream", "", lines.as_bytes());
    let totals = answer.json();
    let count = |name: &str| totals[name].as_u64().expect("a number");
    assert_eq!(count("written") + count("older"), 5_002, "{totals}");
    assert!(count("older") >= 1 && count("failures") == 2, "{totals}");
    let errors = totals["errors"].as_array().expect("a list");
    assert_eq!(
        (errors[0]["row"].as_u64(), errors[1]["row"].as_u64()),
        (Some(5_000), Some(5_001)),
        "{totals}"
    );
    let read = |id: i64| {
        let body = json!({"filters": [{"column": "id", "value": id}]});
        features.done("/0.1.0/shop/users_1/pk-read", &body)["data"].clone()
    };
    assert_eq!(read(71), json!({"id": 71, "at": "2024-01-02 00:00:00", "x": 4071.0, "name": "last"}));
    assert_eq!(read(70)["x"], 4070.0);
    let count = "duet_features_ingest_freshness_seconds_count{feature_group=\"users\"}";
    assert!(features.metric(count).is_some_and(|count| count >= 1.0));

    // The same rows once more with a newer time, as batches of Arrow.
    let (body, columns) = (arrow_stream(0..3_000), "application/vnd.apache.arrow.stream");
    let send = |body: &[u8]| {
        let head = format!("Content-Type: {columns}\r\n");
        request(features.address(), "POST", "/feature_groups/shop/users/1/stream", &head, body)
    };
    let answer = send(&body);
    assert_eq!(
        answer.json(),
        json!({"written": 3_000, "older": 0, "failures": 0, "errors": []}),
        "{answer:?}"
    );
    assert_eq!(read(2_999), json!({"id": 2_999, "at": "2024-01-03 00:00:00", "x": null, "name": "n2999"}));
    assert_eq!(read(0)["name"], Value::Null);
    assert_eq!(read(3_500)["x"], 3_500.0);
    for broken in [&body[..body.len() / 2], b"nonsense", &body[8..]] {
        assert!(matches!(send(broken).status, 400 | 413));
    }

    // The same group from a file, and a new one with types of its own.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rows.csv");
    let report = directory.path().join("bad.csv");
    let mut text = "id,at,score\n".to_owned();
    for number in 0..20_000 {
        text += &format!("{},2024-01-01 00:00:{:02},{}.5\n", number / 2, number % 2, number);
    }
    text += "7,2024-01-01 00:00:00,abc\n,2024-01-01 00:00:00,1\n8,2999-01-01 00:00:00,1\n9,2023-12-31 00:00:00,1\n";
    std::fs::write(&file, text).expect("writable");
    let connect = &features.cluster.nodes[0].listen;
    let ingest = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_duet"))
            .args(["features", "ingest", &file.display().to_string(), "--connect", connect])
            .args(["--report", &report.display().to_string()])
            .args(more)
            .output()
            .expect("the binary exists");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
    };
    let (code, said) = ingest(&["--group", "shop.users"]);
    assert!(code == Some(1) && said.contains("'score'"), "{said}");
    let group = ["--group", "shop.scores", "--key", "id", "--event-time", "at"];
    let (code, said) = ingest(&group);
    // Text makes the column text, so that only the key and the times are wrong.
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("2 bad"), "{said}");
    let bad = std::fs::read_to_string(&report).expect("readable");
    assert!(bad.contains(",20003,") && bad.contains(",20004,") && bad.contains("in the future"), "{bad}");
    let body = json!({"filters": [{"column": "id", "value": 9}]});
    let row = post(features.address(), "/0.1.0/shop/scores_1/pk-read", &body).json();
    assert_eq!(row["data"], json!({"id": 9, "at": "2024-01-01 00:00:01", "score": "19.5"}));
    // Once more changes nothing: equal times are written again, older ones are dropped.
    assert_eq!(ingest(&group).0, Some(3));
}
