//! The demo's feature store: four groups and one view for predicting delays, served over HTTP.

use super::data::{DEMO_DATABASE, TABLES};
use super::verify::same;
use crate::import::definition::profile;
use crate::import::source::{Batch, Source};
use anyhow::{Context, Result, bail, ensure};
use duet_client::{Client, ColumnType, Table, Value, count, count_of, sum};
use duet_featurestore::server::{ServerOptions, serve};
use duet_featurestore::{
    Feature, FeatureStore, FeatureType, GroupDefinition, PreparedView, ReadOptions, Versioned,
    ViewDefinition, ViewFeature, ViewSource,
};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Where users of feature servers look.
const PORT: u16 = 4406;
/// Vectors of one request.
const VECTORS: usize = 1_024;
/// Name of the view.
const VIEW: &str = "flight_delay";

/// Groups that are files: table of the demo, name of the group.
const FILES: [(&str, &str); 3] = [("planes", "plane"), ("weather", "weather"), ("airports", "airport")];
/// Features of the view, by the position of their group.
const FEATURES: [(usize, &[&str]); 4] = [
    (0, &["year", "type", "manufacturer", "model", "engines", "seats", "engine"]),
    (1, &["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]),
    (2, &["lat", "lon", "alt"]),
    (3, &["name", "flights", "mean_dep_delay", "mean_arr_delay", "mean_distance"]),
];
/// Columns of flights that the serving keys come from, in the order of the view's keys.
const KEYS: [&str; 5] = ["tailnum", "origin", "time_hour", "dest", "carrier"];

type Rows = HashMap<String, HashMap<String, Value>>;

/// What is served.
pub struct Served {
    /// Groups and their rows.
    pub groups: Vec<(String, u64)>,
    /// Vectors equal to the source.
    pub equal: u64,
    /// Flights without a tail number, which have no vector.
    pub without_key: u64,
    /// Where the server listens.
    pub address: SocketAddr,
    /// The body of a request that has an answer.
    pub request: String,
}

fn source(table: &str) -> Result<Source> {
    TABLES.iter().find(|demo| demo.name == table).context("a table of the demo")?.source()
}

fn key_text(values: &[&Value]) -> String {
    let parts: Vec<String> = values.iter().map(ToString::to_string).collect();
    parts.join("\u{1f}")
}

/// Builds groups and view, and serves them; with `check` every vector is compared with its sources first.
///
/// # Errors
/// A sentence: the cluster does not answer, or a vector is not as it should be.
pub async fn build(client: &Client, check: bool, any_port: bool) -> Result<Served> {
    let store = FeatureStore::open(client.clone()).await?;
    let mut groups = Vec::new();
    let mut expected: Vec<Rows> = Vec::new();
    for (table, name) in FILES {
        let (rows, known) = file_group(&store, table, name).await?;
        groups.push((name.to_owned(), rows));
        expected.push(known);
    }
    let flights = client.table(&format!("{DEMO_DATABASE}.flights")).await?;
    groups.push(("carrier".to_owned(), carrier_group(&store, client, &flights).await?));
    let definition = view();
    store.create_view(&definition).await?;
    let prepared = store.prepare(&definition.versioned()).await?;
    let names: Vec<&str> = prepared.keys().iter().map(|key| key.name.as_str()).collect();
    ensure!(names == KEYS, "the serving keys are {names:?}");
    let (mut equal, mut without_key) = (0, 0);
    if check {
        expected.push(expected_carriers()?);
        (equal, without_key) = compare(&prepared, &expected).await?;
    }
    let address = listen(&store, any_port).await?;
    let served = Served { groups, equal, without_key, address, request: request() };
    let answered = ask(address, &served.request).await?;
    ensure!(answered.contains("\"status\":\"COMPLETE\""), "the feature server answers {answered}");
    Ok(served)
}

fn view() -> ViewDefinition {
    let features =
        FEATURES.iter().flat_map(|(source, names)| names.iter().map(|name| ViewFeature::new(*source, name)));
    ViewDefinition {
        store: DEMO_DATABASE.to_owned(),
        name: VIEW.to_owned(),
        version: 1,
        sources: vec![
            ViewSource::new("plane", 1).prefixed("plane_").keyed("tailnum", "tailnum"),
            ViewSource::new("weather", 1),
            ViewSource::new("airport", 1).prefixed("dest_").keyed("faa", "dest"),
            ViewSource::new("carrier", 1).prefixed("carrier_").keyed("carrier", "carrier"),
        ],
        features: features.collect(),
    }
}

/// A flight of the demo as a request of one vector.
fn request() -> String {
    let entries = serde_json::json!({"tailnum": "N14228", "origin": "EWR", "time_hour": "2013-01-01 10:00:00",
        "dest": "IAH", "carrier": "UA"});
    serde_json::json!({"featureStoreName": DEMO_DATABASE, "featureViewName": VIEW, "featureViewVersion": 1,
        "entries": entries, "metadataOptions": {"featureName": true}})
    .to_string()
}

/// Rows of a batch as values by column, for a group of these columns.
fn values(batch: &Batch, columns: &[ColumnType], row: usize) -> Result<Vec<Value>> {
    let value = |(index, column): (usize, &ColumnType)| {
        batch.cell(index, row).to_value(*column).map_err(|reason| anyhow::anyhow!("{reason}"))
    };
    columns.iter().enumerate().map(value).collect()
}

/// A group that holds a file; its rows, and what each of them is by its key.
async fn file_group(store: &FeatureStore, table: &str, name: &str) -> Result<(u64, Rows)> {
    let demo = TABLES.iter().find(|demo| demo.name == table).context("a table of the demo")?;
    let source = demo.source()?;
    let profiles = profile(&source, |_| {})?;
    let features = source.columns().iter().zip(profiles).map(|((column, _), profile)| Feature {
        name: column.clone(),
        feature_type: FeatureType::of_column(profile.column_type()),
    });
    let definition = GroupDefinition {
        store: DEMO_DATABASE.to_owned(),
        name: name.to_owned(),
        version: 1,
        primary_key: demo.key_columns(),
        // The hour of a weather report is part of its key.
        event_time: (name == "weather").then(|| "time_hour".to_owned()),
        ttl_seconds: None,
        features: features.collect(),
    };
    store.create_group(&definition).await?;
    let writer = store.writer(&definition.versioned()).await?;
    let names: Vec<&str> = definition.features.iter().map(|feature| feature.name.as_str()).collect();
    let columns = writer.columns(names.iter().copied())?;
    let types: Vec<ColumnType> =
        definition.features.iter().map(|feature| feature.feature_type.column_type()).collect();
    let (mut written, mut known) = (0, Rows::new());
    for batch in source.batches()? {
        let batch = batch?;
        let rows = (0..batch.rows()).map(|row| values(&batch, &types, row)).collect::<Result<Vec<_>>>()?;
        let report = writer.upsert(&columns, &rows).await?;
        if let Some((row, error)) = report.failures().next() {
            bail!("row {row} of {table}: {error}");
        }
        written += report.written() as u64;
        for row in rows {
            let row: HashMap<String, Value> = names.iter().map(|name| (*name).to_owned()).zip(row).collect();
            let key: Vec<&Value> = demo.key.iter().filter_map(|name| row.get(*name)).collect();
            known.insert(key_text(&key), row);
        }
    }
    Ok((written, known))
}

/// A group of aggregates that the data nodes compute from all flights.
async fn carrier_group(store: &FeatureStore, client: &Client, flights: &Table) -> Result<u64> {
    let features = [
        ("carrier", "string(16)"),
        ("name", "string"),
        ("flights", "bigint"),
        ("mean_dep_delay", "double"),
        ("mean_arr_delay", "double"),
        ("mean_distance", "double"),
    ];
    let features =
        features.iter().map(|(name, kind)| Feature::new(name, kind)).collect::<Result<Vec<_>, _>>()?;
    let definition = GroupDefinition {
        store: DEMO_DATABASE.to_owned(),
        name: "carrier".to_owned(),
        version: 1,
        primary_key: vec!["carrier".to_owned()],
        event_time: None,
        ttl_seconds: None,
        features,
    };
    store.create_group(&definition).await?;
    let aggregates = client
        .scan(flights)
        .aggregate([
            count(),
            sum("dep_delay"),
            count_of("dep_delay"),
            sum("arr_delay"),
            count_of("arr_delay"),
            sum("distance"),
        ])
        .group_by(["carrier"])
        .rows()
        .await?;
    let airlines = client.table(&format!("{DEMO_DATABASE}.airlines")).await?;
    let writer = store.writer(&definition.versioned()).await?;
    let columns = writer.columns(definition.features.iter().map(|feature| feature.name.as_str()))?;
    let mut rows = Vec::new();
    for row in &aggregates {
        let [carrier, flights, dep, deps, arr, arrs, distance] = row.values() else {
            bail!("an aggregate has {} values", row.values().len());
        };
        let airline = client.get(&airlines, carrier.clone()).await?;
        let name = airline.and_then(|row| row.value("name").cloned()).unwrap_or_default();
        let mean = |sum: &Value, count: &Value| mean(number(sum), number(count));
        rows.push(vec![
            carrier.clone(),
            name,
            number(flights).map_or(Value::Null, |count| Value::Int(count as i64)),
            mean(dep, deps),
            mean(arr, arrs),
            mean(distance, flights),
        ]);
    }
    let report = writer.upsert(&columns, &rows).await?;
    ensure!(report.written() == rows.len(), "not every carrier was written");
    Ok(rows.len() as u64)
}

/// A whole number of any type.
fn number(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some((*number).into()),
        Value::UInt(number) => Some((*number).into()),
        Value::Decimal { unscaled, scale: 0 } => Some(*unscaled),
        _ => None,
    }
}

fn mean(sum: Option<i128>, count: Option<i128>) -> Value {
    match (sum, count) {
        (Some(sum), Some(count)) if count > 0 => Value::Double(sum as f64 / count as f64),
        _ => Value::Null,
    }
}

/// The same aggregates, from the file.
fn expected_carriers() -> Result<Rows> {
    let flights = source("flights")?;
    let column = |name: &str| {
        let found = flights.columns().iter().position(|(column, _)| column == name);
        found.with_context(|| format!("flights have no '{name}'"))
    };
    let (carrier, measured) =
        (column("carrier")?, [column("dep_delay")?, column("arr_delay")?, column("distance")?]);
    let text = ColumnType::Varchar { characters: 16 };
    // Flights, and of each measured column sum and count.
    let mut sums: HashMap<String, (i128, [(i128, i128); 3])> = HashMap::new();
    for batch in flights.batches()? {
        let batch = batch?;
        for row in 0..batch.rows() {
            let name =
                batch.cell(carrier, row).to_value(text).map_err(|reason| anyhow::anyhow!("{reason}"))?;
            let (flights, sums) = sums.entry(name.to_string()).or_default();
            *flights += 1;
            for (column, (sum, count)) in measured.iter().zip(sums) {
                let value = batch.cell(*column, row).to_value(ColumnType::BigInt);
                if let Some(value) = number(&value.map_err(|reason| anyhow::anyhow!("{reason}"))?) {
                    *sum += value;
                    *count += 1;
                }
            }
        }
    }
    let airlines = source("airlines")?;
    let mut names = HashMap::new();
    for batch in airlines.batches()? {
        let batch = batch?;
        for row in 0..batch.rows() {
            let values = values(&batch, &[text, ColumnType::Varchar { characters: 100 }], row)?;
            names.insert(values[0].to_string(), values[1].clone());
        }
    }
    let rows = sums.into_iter().map(|(carrier, (flights, sums))| {
        let [dep, arr, distance] = sums.map(|(sum, count)| mean(Some(sum), Some(count)));
        let row = [
            ("name", names.get(&carrier).cloned().unwrap_or_default()),
            ("flights", Value::Int(flights as i64)),
            ("mean_dep_delay", dep),
            ("mean_arr_delay", arr),
            ("mean_distance", distance),
        ];
        (carrier, row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    });
    Ok(rows.collect())
}

/// Reads the vector of every flight and compares it with the files. Equal vectors, and flights without tail number.
async fn compare(view: &PreparedView, expected: &[Rows]) -> Result<(u64, u64)> {
    let flights = source("flights")?;
    let position = |name: &str| {
        let found = flights.columns().iter().position(|(column, _)| column == name);
        found.with_context(|| format!("flights have no '{name}'"))
    };
    let positions = KEYS.iter().map(|name| position(name)).collect::<Result<Vec<_>>>()?;
    let types: Vec<ColumnType> = view.keys().iter().map(|key| key.feature_type.column_type()).collect();
    let (mut equal, mut without_key) = (0, 0);
    for batch in flights.batches()? {
        let batch = batch?;
        let mut keys: Vec<Vec<Value>> = Vec::with_capacity(batch.rows());
        for row in 0..batch.rows() {
            let value = |(index, column): (&usize, &ColumnType)| {
                batch.cell(*index, row).to_value(*column).map_err(|reason| anyhow::anyhow!("{reason}"))
            };
            let key: Vec<Value> = positions.iter().zip(&types).map(value).collect::<Result<_>>()?;
            if key[0] == Value::Null {
                without_key += 1;
            } else {
                keys.push(key);
            }
        }
        for chunk in keys.chunks(VECTORS) {
            let options = ReadOptions::default();
            let vectors = view.get_many(chunk.iter().map(Vec::as_slice), &options).await?;
            for (row, key) in chunk.iter().enumerate() {
                let vector = vectors.vector(row).with_context(|| format!("no vector for {key:?}"))?;
                compare_one(key, &vector.values(), expected)?;
                equal += 1;
            }
        }
    }
    Ok((equal, without_key))
}

fn compare_one(key: &[Value], found: &[Value], expected: &[Rows]) -> Result<()> {
    let [tailnum, origin, hour, dest, carrier] = key else { bail!("a key has {} parts", key.len()) };
    let keys = [key_text(&[tailnum]), key_text(&[origin, hour]), key_text(&[dest]), key_text(&[carrier])];
    let wanted = FEATURES.iter().flat_map(|(source, names)| {
        let row = expected[*source].get(&keys[*source]);
        names.iter().map(move |name| (*name, row.and_then(|row| row.get(*name)).unwrap_or(&Value::Null)))
    });
    for ((name, wanted), found) in wanted.zip(found) {
        ensure!(same(wanted, &found.into()), "'{name}' of {key:?} is {found} and should be {wanted}");
    }
    Ok(())
}

/// Serves until the demo ends, at the usual port where that is free and not any will do.
async fn listen(store: &FeatureStore, any_port: bool) -> Result<SocketAddr> {
    let port = if any_port { 0 } else { PORT };
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(listener) => listener,
        Err(_) => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the feature server cannot listen")?
        }
    };
    let address = listener.local_addr()?;
    let options = ServerOptions { project: DEMO_DATABASE.to_owned(), ..ServerOptions::default() };
    tokio::spawn(serve(store.clone(), options, vec![listener], std::future::pending()));
    Ok(address)
}

/// Posts a request of one vector, as the printed `curl` does.
async fn ask(address: SocketAddr, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /0.1.0/feature_store HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The command that asks for a vector.
pub fn curl(served: &Served) -> String {
    format!("curl -s http://{}/0.1.0/feature_store -d '{}'", served.address, served.request)
}

/// Store, view and version, for people.
pub fn view_name() -> Versioned {
    Versioned::new(DEMO_DATABASE, VIEW, 1)
}
