//! `derive(Row)` and typed tables.

use crate::server::{Server, users};
use duet_client::{
    Client, Column, ColumnType, Date, Decimal, ErrorCode, Row, TableDefinition, TableRow, Timestamp, Value,
    col,
};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Row, Debug, Clone, PartialEq)]
#[duet(table = "air.flights")]
struct Flight {
    #[duet(partition_key)]
    day: Date,
    #[duet(key, length = 2)]
    carrier: String,
    #[duet(key, rename = "flight")]
    number: u16,
    delay: Option<i16>,
    #[duet(length = 6)]
    tail: Option<String>,
    departed: Timestamp,
    #[duet(column_type = ColumnType::Decimal { precision: 10, scale: 2 })]
    fare: Decimal,
    embedding: [f32; 3],
}

#[derive(Row, Debug, PartialEq)]
#[duet(table = "flights")]
struct Wrong {
    #[duet(key)]
    id: i64,
    r#type: String,
}

fn flight(number: u16) -> Flight {
    Flight {
        day: Date(15_000),
        carrier: "UA".to_owned(),
        number,
        delay: (number.is_multiple_of(2)).then_some(-3),
        tail: Some("N14228".to_owned()),
        departed: Timestamp(1_357_034_400_000_000),
        fare: Decimal { unscaled: 12_345, scale: 2 },
        embedding: [1.0, -0.5, 0.25],
    }
}

#[test]
fn a_struct_describes_its_table() {
    let definition = Flight::definition().expect("valid");
    assert_eq!((definition.database.as_str(), definition.name.as_str()), ("air", "flights"));
    assert_eq!(definition.primary_key, [0, 1, 2]);
    assert_eq!(definition.partition_key, [0]);
    let types: Vec<ColumnType> = definition.columns.iter().map(|column| column.column_type).collect();
    assert_eq!(
        types,
        [
            ColumnType::Date,
            ColumnType::Varchar { characters: 2 },
            ColumnType::SmallIntUnsigned,
            ColumnType::SmallInt,
            ColumnType::Varchar { characters: 6 },
            ColumnType::Timestamp,
            ColumnType::Decimal { precision: 10, scale: 2 },
            ColumnType::Vector { dimensions: 3 },
        ]
    );
    let nullable: Vec<bool> = definition.columns.iter().map(|column| column.nullable).collect();
    assert_eq!(nullable, [false, false, false, true, true, false, false, false]);
    assert_eq!(Flight::column_names()[2], "flight");
    let wrong = Wrong::definition().expect("valid");
    assert_eq!((wrong.database.as_str(), Wrong::column_names()), ("default", &["id", "type"][..]));
}

#[tokio::test]
async fn structs_are_rows() {
    let server = Server::start();
    let client = Client::connect(&server.seed()).await.expect("the fake answers");
    let flights = client.create_typed_table::<Flight>().await.expect("new");
    flights.insert(&flight(1)).await.expect("new");
    let many: Vec<Flight> = (2..1_500).map(flight).collect();
    flights.upsert_many(&many).await.expect("written");
    let key = |number: u16| (Date(15_000), "UA", number);
    assert_eq!(flights.get(key(2)).await.expect("answered"), Some(flight(2)));
    assert_eq!(flights.get(key(9_999)).await.expect("answered"), None);
    let found = flights.get_many([key(1), key(9_999), key(1_499)]).await.expect("answered");
    assert_eq!(found, [Some(flight(1)), None, Some(flight(1_499))]);
    let (mut row, version) = flights.get_versioned(key(1)).await.expect("answered").expect("there");
    row.delay = Some(120);
    flights.replace_if_version(&row, version).await.expect("that version");
    let again = flights.replace_if_version(&row, version).await.expect_err("another version");
    assert!(again.is(ErrorCode::VersionMismatch));
    let dynamic = client.get(flights.table(), key(1)).await.expect("answered").expect("there");
    assert_eq!(dynamic.get::<i16>("delay").expect("not null"), 120);
    flights.delete(key(1)).await.expect("there");
    let mut scan = flights.scan();
    let mut count = 0;
    while scan
        .next_page(|_, view| {
            let row = flights.decode(&view).expect("fits");
            assert_eq!(row, flight(row.number));
            count += 1;
        })
        .await
        .expect("answered")
    {}
    assert_eq!(count, 1_498);
    let mut few = flights.find(col("flight").between(10, 19).and(col("carrier").eq("UA"))).limit(4);
    let mut found = 0;
    while let Some(row) = few.next().await.expect("answered") {
        assert_eq!(row, flight(row.number));
        assert!((10..20).contains(&row.number));
        found += 1;
    }
    assert_eq!(found, 4);
}

#[derive(Row, Debug, PartialEq)]
#[duet(table = "shop.notes")]
struct Note {
    #[duet(key)]
    id: i64,
    text: String,
}

#[tokio::test]
async fn columns_that_are_left_out_take_the_current_time() {
    let server = Server::start();
    let client = Client::connect(&server.seed()).await.expect("the fake answers");
    let definition = TableDefinition::builder("shop", "notes")
        .required("id", ColumnType::BigInt)
        .required("text", ColumnType::Text)
        .column(Column::new("created", ColumnType::Timestamp).current_time_on_insert(0))
        .column(Column::new("precise", ColumnType::DateTime).current_time_on_insert(6))
        .column(Column::new("touched", ColumnType::Timestamp).nullable().current_time_on_update(6))
        .primary_key(["id"])
        .build()
        .expect("valid");
    let table = client.create_table(definition).await.expect("new");
    assert_eq!(
        table.definition().columns[2].current_time.map(|rule| rule.to_string()).as_deref(),
        Some("CURRENT_TIMESTAMP")
    );
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_micros()).expect("soon enough")
    };
    let before = now();
    let notes = client.typed_table::<Note>().await.expect("fits");
    notes.insert(&Note { id: 1, text: "typed".into() }).await.expect("new");
    let pairs = [("id", Value::Int(2)), ("text", Value::from("pairs"))];
    client.insert(&table, pairs).await.expect("new");
    let row = duet_client::Row::new(&table).with("id", 3_i64).and_then(|row| row.with("text", "row"));
    client.insert(&table, row.expect("columns")).await.expect("new");
    let after = now();
    for id in 1..=3_i64 {
        let row = client.get(&table, id).await.expect("answered").expect("there");
        let (Value::Timestamp(created), Value::DateTime(precise)) = (&row.values()[2], &row.values()[3])
        else {
            panic!("{row:?}")
        };
        assert!((before..=after).contains(precise), "{before} {precise} {after}");
        assert_eq!(*created, precise - precise % 1_000_000, "one time, cut to seconds");
        assert_eq!(row.values()[4], Value::Null);
    }
    // What is given stays, and a change leaves times alone.
    let given = [("id", Value::Int(4)), ("text", Value::from("")), ("created", Value::Timestamp(5))];
    client.insert(&table, given).await.expect("new");
    let row = client.get(&table, 4_i64).await.expect("answered").expect("there");
    assert_eq!(row.value("created"), Some(&Value::Timestamp(5)));
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_refused() {
    let server = Server::start();
    let client = Client::connect(&server.seed()).await.expect("the fake answers");
    assert!(client.typed_table::<Wrong>().await.expect_err("no table").is(ErrorCode::TableNotFound));
    let definition = TableDefinition::builder("default", "flights")
        .required("id", ColumnType::BigInt)
        .primary_key(["id"])
        .build()
        .expect("valid");
    client.create_table(definition).await.expect("new");
    let error = client.typed_table::<Wrong>().await.expect_err("a column is missing");
    assert!(error.is(ErrorCode::InvalidSchema) && error.message.contains("type"), "{error}");
}

/// The error of opening a table that does not fit `T`.
async fn refusal<T: TableRow>(client: &Client) -> String {
    let error = client.typed_table::<T>().await.expect_err("the struct does not fit");
    assert!(error.is(ErrorCode::InvalidSchema), "{error}");
    error.message
}

mod shapes {
    use duet_client::Row;

    macro_rules! shape {
        ($name:ident { $($(#[$attribute:meta])* $field:ident: $field_type:ty),* $(,)? }) => {
            #[derive(Row, Debug, Clone, PartialEq)]
            #[duet(table = "shop.users")]
            pub struct $name { $($(#[$attribute])* pub $field: $field_type),* }
        };
    }

    shape!(Whole { #[duet(key)] id: i64, #[duet(length = 64)] name: String, credit: Option<i32> });
    shape!(OtherKey {
        id: i64,
        #[duet(key)]
        name: String
    });
    shape!(LongerKey {
        #[duet(key)]
        id: i64,
        #[duet(key)]
        name: String
    });
    shape!(OtherType {
        #[duet(key)]
        id: i64,
        #[duet(rename = "name")]
        title: u32
    });
    shape!(NarrowType {
        #[duet(key)]
        id: i32,
        name: String
    });
    shape!(NotAnOption {
        #[duet(key)]
        id: i64,
        credit: i32
    });
    shape!(IdAndName {
        #[duet(key)]
        id: i64,
        name: String
    });
    shape!(IdAndCredit { #[duet(key)] id: i64, credit: Option<i64> });
    shape!(Impossible {
        #[duet(key)]
        id: i64,
        #[duet(column_type = duet_client::ColumnType::Date)]
        day: String
    });
}

#[tokio::test]
async fn a_struct_that_does_not_fit_is_refused_when_the_table_is_opened() {
    let server = Server::start();
    let client = Client::connect(&server.seed()).await.expect("the fake answers");
    let error = client.create_typed_table::<shapes::Impossible>().await.expect_err("a text is no date");
    assert!(error.is(ErrorCode::InvalidSchema) && error.message.contains("'day' is DATE"), "{error}");
    client.create_table(users()).await.expect("new");
    let message = refusal::<shapes::OtherKey>(&client).await;
    assert!(message.contains("primary key is (id)") && message.contains("are (name)"), "{message}");
    let message = refusal::<shapes::LongerKey>(&client).await;
    assert!(message.contains("primary key is (id)") && message.contains("are (id, name)"), "{message}");
    let message = refusal::<shapes::OtherType>(&client).await;
    assert!(message.contains("'name' is VARCHAR(64)") && message.contains("'title: u32'"), "{message}");
    let message = refusal::<shapes::NarrowType>(&client).await;
    assert!(message.contains("'id' is BIGINT") && message.contains("'id: i32'"), "{message}");
    let message = refusal::<shapes::NotAnOption>(&client).await;
    assert!(message.contains("'credit' is nullable") && message.contains("Option<i32>"), "{message}");
    client.typed_table::<shapes::Whole>().await.expect("it fits");
}

#[tokio::test]
async fn a_struct_with_some_of_the_columns_never_wipes_out_the_others() {
    use duet_client::{Assignment, ValueRef};
    let server = Server::start();
    let client = Client::connect(&server.seed()).await.expect("the fake answers");
    let whole = client.create_typed_table::<shapes::Whole>().await.expect("new");
    let ada = shapes::Whole { id: 1, name: "Ada".to_owned(), credit: Some(5) };
    let written = whole.upsert(&ada).await.expect("all columns are there");

    let part = client.typed_table::<shapes::IdAndName>().await.expect("it fits");
    let row = shapes::IdAndName { id: 1, name: "Eve".to_owned() };
    assert_eq!(part.get(1).await.expect("answered").expect("there").name, "Ada");
    let refused = [
        part.upsert(&row).await.map(|_| ()),
        part.upsert_many([&row]).await,
        part.replace_if_version(&row, written.version).await.map(|_| ()),
    ];
    for error in refused.map(|refused| refused.expect_err("the credit would be lost")) {
        assert!(error.is(ErrorCode::InvalidRequest) && error.message.contains("'credit'"), "{error}");
        assert!(error.message.contains("`update`"), "{error}");
    }
    assert_eq!(whole.get(1).await.expect("answered"), Some(ada));
    part.update(1, &[("name", Assignment::Set(ValueRef::from("Eve")))]).await.expect("there");
    let eve = shapes::Whole { id: 1, name: "Eve".to_owned(), credit: Some(5) };
    assert_eq!(whole.get(1).await.expect("answered"), Some(eve));

    part.insert(&shapes::IdAndName { id: 2, name: "Bob".to_owned() }).await.expect("the credit may be NULL");
    let bob = shapes::Whole { id: 2, name: "Bob".to_owned(), credit: None };
    assert_eq!(whole.get(2).await.expect("answered"), Some(bob));
    let nameless = client.typed_table::<shapes::IdAndCredit>().await.expect("it fits");
    let error = nameless.insert(&shapes::IdAndCredit { id: 3, credit: None }).await.expect_err("no name");
    assert!(error.is(ErrorCode::InvalidRequest) && error.message.contains("'name'"), "{error}");
}

#[tokio::test]
async fn a_table_is_opened_or_created() {
    let server = Server::start();
    let client = Client::connect(&server.seed()).await.expect("the fake answers");
    let first = client.open_or_create_typed_table::<shapes::Whole>().await.expect("created");
    let second = client.open_or_create_typed_table::<shapes::Whole>().await.expect("opened");
    assert_eq!(first.table().id(), second.table().id());
    assert!(
        client.create_typed_table::<shapes::Whole>().await.expect_err("there").is(ErrorCode::TableExists)
    );
    let error = client.open_or_create_typed_table::<shapes::OtherKey>().await.expect_err("another key");
    assert!(error.is(ErrorCode::InvalidSchema), "{error}");
}
