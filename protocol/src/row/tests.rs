use crate::layout::TableLayout;
use crate::row::{RowError, RowView};
use crate::schema::{ColumnType, TableDefinition};
use crate::value::Value;

fn planes() -> TableLayout {
    let definition = TableDefinition::builder("nycflights", "planes")
        .required("tailnum", ColumnType::Varchar { characters: 10 })
        .nullable("year", ColumnType::SmallInt)
        .required("seats", ColumnType::IntUnsigned)
        .nullable("model", ColumnType::Varchar { characters: 20 })
        .primary_key(["tailnum"])
        .build()
        .unwrap();
    TableLayout::new(&definition).unwrap()
}

#[test]
fn a_row_comes_back() {
    let layout = planes();
    let row = [Value::from("N14228"), Value::from(1999), Value::from(149_u32), Value::from("737-824")];
    let (mut key, mut value) = (Vec::new(), Vec::new());
    layout.encode_row(&row, &mut key, &mut value).unwrap();
    layout.validate_key(&key).unwrap();
    layout.validate_value(&value).unwrap();
    assert_eq!(RowView::new(&layout, &key, &value).to_values().unwrap(), row);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let layout = planes();
    let row = [Value::from("N14228"), Value::from(40_000), Value::from(149_u32), Value::Null];
    let (mut key, mut value) = (vec![1], vec![2]);
    let error = layout.encode_row(&row, &mut key, &mut value).unwrap_err();
    assert!(matches!(error, RowError::OutOfRange { .. }));
    assert_eq!(error.to_string(), "column 'year' is SMALLINT, which cannot hold 40000");
    assert_eq!((key, value), (vec![1], vec![2]));
}
