//! Programs against a plain reference that works on values.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::layout::TableLayout;
use crate::row::strategies::{damage, damaged, table_with_rows};
use crate::row::{RowView, TableLayouts};
use crate::schema::{Column, ColumnType, Table, TableDefinition, TableState};
use crate::value::Value;

/// A small generator (xorshift): filters are drawn with it, for they depend on table and rows.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

/// Whole part and fraction in units of 10^-38, in the order of the numbers; `None` for what is no exact number.
fn exact(value: &Value) -> Option<(i128, i128)> {
    match value {
        Value::Int(number) => Some((i128::from(*number), 0)),
        Value::UInt(number) => Some((i128::from(*number), 0)),
        Value::Decimal { unscaled, scale } => {
            let unit = 10_i128.pow(u32::from(*scale));
            Some((unscaled.div_euclid(unit), unscaled.rem_euclid(unit) * 10_i128.pow(38 - u32::from(*scale))))
        }
        // Only compared with integers, for which any fraction is as good as another.
        Value::Double(number) => Some((number.floor() as i128, i128::from(number.fract() != 0.0))),
        _ => None,
    }
}

fn double(value: &Value) -> f64 {
    match value {
        Value::Float(number) => f64::from(*number),
        Value::Double(number) => *number,
        Value::Int(number) => *number as f64,
        Value::UInt(number) => *number as f64,
        _ => panic!("no number"),
    }
}

fn reference_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Float(_) | Value::Double(_), _) => double(left).partial_cmp(&double(right)).expect("no NaN"),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Time(left), Value::Time(right))
        | (Value::DateTime(left), Value::DateTime(right))
        | (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        _ => exact(left).expect("a number").cmp(&exact(right).expect("a number")),
    }
}

/// `decisive` if one of the filters is that, unknown if one is unknown, else the other one.
fn decided(filters: &[Filter<u16>], row: &[Value], decisive: bool) -> Option<bool> {
    let truths: Vec<Option<bool>> = filters.iter().map(|one| reference(one, row)).collect();
    if truths.contains(&Some(decisive)) {
        return Some(decisive);
    }
    if truths.contains(&None) { None } else { Some(!decisive) }
}

fn reference(filter: &Filter<u16>, row: &[Value]) -> Option<bool> {
    let of = |column: &u16| &row[usize::from(*column)];
    match filter {
        Filter::Compare { column, .. } | Filter::In { column, .. } | Filter::Prefix { column, .. }
            if of(column).is_null() && !matches!(filter, Filter::In { values, .. } if values.is_empty()) =>
        {
            None
        }
        Filter::Compare { column, comparison, value } => {
            let order = reference_order(of(column), value);
            Some(match comparison {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
            })
        }
        Filter::IsNull(column) => Some(of(column).is_null()),
        Filter::IsNotNull(column) => Some(!of(column).is_null()),
        Filter::In { column, values } => {
            Some(values.iter().any(|value| reference_order(of(column), value).is_eq()))
        }
        Filter::Prefix { column, prefix } => Some(match (of(column), prefix) {
            (Value::Text(text), Value::Text(prefix)) => text.starts_with(prefix.as_str()),
            (Value::Bytes(bytes), Value::Bytes(prefix)) => bytes.starts_with(prefix),
            _ => panic!("no text"),
        }),
        Filter::And(all) => decided(all, row, false),
        Filter::Or(any) => decided(any, row, true),
        Filter::Not(inner) => reference(inner, row).map(|truth| !truth),
    }
}

/// A constant to compare a column with: mostly a value of some row, now and then a number of another kind.
fn constant(
    random: &mut Random,
    column_type: ColumnType,
    column: usize,
    rows: &[Vec<Value>],
) -> Option<Value> {
    let values: Vec<&Value> = rows.iter().map(|row| &row[column]).filter(|value| !value.is_null()).collect();
    let of_row = (*values.get(random.below(values.len()))?).clone();
    if random.below(3) > 0 {
        return Some(of_row);
    }
    let is_whole = column_type.is_numeric() && !matches!(of_row, Value::Float(_) | Value::Double(_));
    Some(match random.below(6) {
        0 if is_whole => Value::Int(i64::MIN),
        1 if is_whole => Value::UInt(u64::MAX),
        2 if is_whole => Value::Decimal { unscaled: random.below(2_000) as i128 - 1_000, scale: 2 },
        3 if is_whole => Value::Decimal { unscaled: i128::MAX, scale: random.below(39) as u8 },
        4 if is_whole => Value::Decimal { unscaled: i128::MIN, scale: random.below(39) as u8 },
        5 if is_whole && !matches!(column_type, ColumnType::Decimal { .. }) => {
            Value::Double(random.below(600) as f64 / 2.0 - 150.0)
        }
        _ if matches!(column_type, ColumnType::Float | ColumnType::Double) => {
            Value::Int(random.below(5) as i64 - 2)
        }
        _ => match of_row {
            Value::Text(text) => Value::Text(text.chars().take(random.below(3)).chain(['\0']).collect()),
            Value::Bytes(mut bytes) => {
                bytes.truncate(random.below(3));
                Value::Bytes(bytes)
            }
            Value::Date(days) => Value::Date(days.saturating_add(1)),
            Value::Time(microseconds) => Value::Time(microseconds.saturating_sub(1)),
            other => other,
        },
    })
}

fn filter(
    random: &mut Random,
    definition: &TableDefinition,
    rows: &[Vec<Value>],
    depth: usize,
) -> Filter<u16> {
    if depth > 0 && random.below(2) == 0 {
        let many = |random: &mut Random| {
            (0..random.below(4)).map(|_| filter(random, definition, rows, depth - 1)).collect()
        };
        return match random.below(3) {
            0 => Filter::And(many(random)),
            1 => Filter::Or(many(random)),
            _ => !filter(random, definition, rows, depth - 1),
        };
    }
    let index = random.below(definition.columns.len());
    let (column, column_type) = (index as u16, definition.columns[index].column_type);
    let comparable = !matches!(column_type, ColumnType::Json | ColumnType::Vector { .. });
    let choice = random.below(8);
    let value = constant(random, column_type, index, rows).filter(|_| comparable);
    match (choice, value) {
        (0, _) => Filter::IsNull(column),
        (_, None) | (1, _) => Filter::IsNotNull(column),
        (2, Some(_)) => {
            let values = (0..random.below(4)).filter_map(|_| constant(random, column_type, index, rows));
            Filter::In { column, values: values.collect() }
        }
        (3, Some(Value::Text(text))) => {
            let prefix = text.chars().take(random.below(3)).collect();
            Filter::Prefix { column, prefix: Value::Text(prefix) }
        }
        (3, Some(Value::Bytes(mut bytes))) => {
            bytes.truncate(random.below(3));
            Filter::Prefix { column, prefix: Value::Bytes(bytes) }
        }
        (_, Some(value)) => {
            let comparison = [
                Comparison::Equal,
                Comparison::NotEqual,
                Comparison::Less,
                Comparison::LessOrEqual,
                Comparison::Greater,
                Comparison::GreaterOrEqual,
            ][random.below(6)];
            Filter::Compare { column, comparison, value }
        }
    }
}

/// Keys and value images of rows.
fn encoded(layout: &TableLayout, rows: &[Vec<Value>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let encode = |row: &Vec<Value>| {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        layout.encode_row(row, &mut key, &mut value).expect("fits");
        (key, value)
    };
    rows.iter().map(encode).collect()
}

fn bytes_of(layout: &TableLayout, program: &ScanProgram) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_program(layout, program, &mut bytes).expect("fits the table");
    bytes
}

/// Columns whose values can be compared.
fn comparable(definition: &TableDefinition) -> Vec<u16> {
    let types = definition.columns.iter().enumerate();
    types
        .filter(|(_, column)| !matches!(column.column_type, ColumnType::Json | ColumnType::Vector { .. }))
        .map(|(index, _)| index as u16)
        .collect()
}

fn aggregates(random: &mut Random, definition: &TableDefinition) -> Vec<Aggregate> {
    let columns = comparable(definition);
    let mut aggregates = vec![Aggregate { function: Function::Count, column: None }];
    for _ in 0..random.below(5) {
        let column = columns[random.below(columns.len())];
        let numeric = definition.columns[usize::from(column)].column_type.is_numeric();
        let function = match random.below(4) {
            0 => Function::Count,
            1 if numeric => Function::Sum,
            2 => Function::Minimum,
            _ => Function::Maximum,
        };
        aggregates.push(Aggregate { function, column: Some(column) });
    }
    aggregates
}

/// An aggregate of values, page by page, as exact as it can be; `None` when a sum does not fit.
fn reference_aggregate(aggregate: Aggregate, pages: &[Vec<&Vec<Value>>]) -> Option<Value> {
    let of = |row: &&Vec<Value>| match aggregate.column {
        Some(column) => row[usize::from(column)].clone(),
        None => Value::UInt(1),
    };
    let page_values = |page: &Vec<&Vec<Value>>| {
        page.iter().map(of).filter(|value| !value.is_null()).collect::<Vec<Value>>()
    };
    let values: Vec<Value> = pages.iter().flat_map(page_values).collect();
    if aggregate.function == Function::Count {
        return Some(Value::UInt(values.len() as u64));
    }
    let Some(first) = values.first() else { return Some(Value::Null) };
    Some(match aggregate.function {
        Function::Count => unreachable!("counted above"),
        Function::Minimum => {
            values.iter().min_by(|left, right| reference_order(left, right)).expect("some").clone()
        }
        Function::Maximum => {
            values.iter().max_by(|left, right| reference_order(left, right)).expect("some").clone()
        }
        Function::Sum if matches!(first, Value::Float(_) | Value::Double(_)) => {
            let page_sum =
                |page: &Vec<&Vec<Value>>| page_values(page).iter().map(double).reduce(|a, b| a + b);
            Value::Double(pages.iter().filter_map(page_sum).reduce(|a, b| a + b).expect("some"))
        }
        Function::Sum => {
            let (mut sum, mut common) = (0_i128, 0);
            for value in &values {
                let (number, scale) = match value {
                    Value::Int(number) => (i128::from(*number), 0),
                    Value::UInt(number) => (i128::from(*number), 0),
                    Value::Decimal { unscaled, scale } => (*unscaled, *scale),
                    _ => panic!("no number"),
                };
                sum = sum.checked_add(number).filter(|sum| sum.unsigned_abs() < 10_u128.pow(38))?;
                common = scale;
            }
            Value::Decimal { unscaled: sum, scale: common }
        }
    })
}

/// Equal, or equal in spite of -0 or NaN.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Double(left), Value::Double(right)) => left == right || (left.is_nan() && right.is_nan()),
        _ => left == right,
    }
}

proptest! {
    #[test]
    fn filters_agree_with_the_reference((definition, rows) in table_with_rows(8), seed in 1..u64::MAX) {
        let layout = TableLayout::new(&definition).expect("valid");
        let mut random = Random(seed);
        let images = encoded(&layout, &rows);
        for _ in 0..8 {
            let filter = filter(&mut random, &definition, &rows, 3);
            let program = ScanProgram { filter: Some(filter.clone()), ..ScanProgram::default() };
            let bytes = bytes_of(&layout, &program);
            let compiled = CompiledScan::new(&layout, &bytes).expect("what is encoded can be read");
            for (row, (key, value)) in rows.iter().zip(&images) {
                let expected = reference(&filter, row) == Some(true);
                prop_assert_eq!(compiled.matches(RowView::new(&layout, key, value)), expected, "{:?} of {:?}", &filter, row);
            }
        }
    }

    #[test]
    fn result_columns_are_canonical_images((definition, rows) in table_with_rows(3), seed in 1..u64::MAX) {
        let layout = TableLayout::new(&definition).expect("valid");
        let mut random = Random(seed);
        let columns: Vec<u16> =
            (0..1 + random.below(6)).map(|_| random.below(definition.columns.len()) as u16).collect();
        let program = ScanProgram { columns: columns.clone(), ..ScanProgram::default() };
        let bytes = bytes_of(&layout, &program);
        let compiled = CompiledScan::new(&layout, &bytes).expect("valid");
        let picked = columns.iter().map(|column| definition.columns[usize::from(*column)].clone());
        let result = TableLayout::without_key(picked.collect());
        for (row, (key, value)) in rows.iter().zip(encoded(&layout, &rows)) {
            let mut image = Vec::new();
            prop_assert!(compiled.project(RowView::new(&layout, &key, &value), &mut image));
            result.validate_value(&image).expect("canonical");
            let values = RowView::new(&result, &[], &image).to_values().expect("readable");
            let expected: Vec<Value> = columns.iter().map(|column| row[usize::from(*column)].clone()).collect();
            prop_assert_eq!(values, expected);
        }
    }

    #[test]
    fn aggregates_agree_with_the_reference(
        (definition, rows) in table_with_rows(24),
        seed in 1..u64::MAX,
    ) {
        let layout = TableLayout::new(&definition).expect("valid");
        let mut random = Random(seed);
        let columns = comparable(&definition);
        let grouping: Vec<u16> = (0..random.below(3)).map(|_| columns[random.below(columns.len())]).collect();
        let aggregates = aggregates(&mut random, &definition);
        let program =
            ScanProgram { filter: None, columns: grouping.clone(), aggregates: Some(aggregates.clone()) };
        let bytes = bytes_of(&layout, &program);
        let compiled = CompiledScan::new(&layout, &bytes).expect("valid");
        // Few distinct rows, so that groups have more than one.
        let chosen: Vec<Vec<Value>> = (0..30).map(|_| rows[random.below(5)].clone()).collect();
        let images = encoded(&layout, &chosen);
        let page_rows = 1 + random.below(12);
        let mut merger = Merger::new(&layout, &program, 1_000).expect("valid");
        let mut overflow = false;
        for page in images.chunks(page_rows) {
            let mut aggregation = Aggregation::new(&compiled).expect("aggregates are wanted");
            overflow |= page.iter().any(|(key, value)| aggregation.add(RowView::new(&layout, key, value)).is_err());
            aggregation.finish(|group, values| overflow |= merger.add(group, values).is_err());
        }
        let mut groups: BTreeMap<String, Vec<Vec<&Vec<Value>>>> = BTreeMap::new();
        let pages = chosen.chunks(page_rows).count();
        let name = |row: &[Value]| {
            let canonical = |value: &Value| match value {
                Value::Float(number) => Value::Float(number + 0.0),
                Value::Double(number) => Value::Double(number + 0.0),
                other => other.clone(),
            };
            format!("{:?}", row.iter().map(canonical).collect::<Vec<_>>())
        };
        let group_of = |row: &Vec<Value>| {
            name(&grouping.iter().map(|column| row[usize::from(*column)].clone()).collect::<Vec<_>>())
        };
        for (number, page) in chosen.chunks(page_rows).enumerate() {
            for row in page {
                groups.entry(group_of(row)).or_insert_with(|| vec![Vec::new(); pages])[number].push(row);
            }
        }
        if overflow {
            // Which partial sum overflows depends on the pages; some sum must be near the limit.
            let huge = |row: &Vec<Value>| {
                row.iter().any(|value| matches!(value, Value::Decimal { unscaled, .. } if unscaled.unsigned_abs() > 10_u128.pow(36)))
            };
            prop_assert!(chosen.iter().any(huge));
            return Ok(());
        }
        let found = merger.finish().expect("well formed");
        prop_assert_eq!(found.len(), groups.len());
        for row in found {
            let (group, values) = row.split_at(grouping.len());
            let pages = groups.get(&name(group)).expect("a group of the rows");
            for (aggregate, value) in aggregates.iter().zip(values) {
                let expected = reference_aggregate(*aggregate, pages);
                // The reference adds in another order, which may overflow where the pages do not.
                if let Some(expected) = expected {
                    prop_assert!(same(value, &expected), "{:?}: {} not {}", aggregate, value, expected);
                }
            }
        }
    }

    #[test]
    fn damaged_programs_are_refused_or_evaluated(
        (definition, rows) in table_with_rows(2),
        seed in 1..u64::MAX,
        damage in damage(),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let layout = TableLayout::new(&definition).expect("valid");
        let mut random = Random(seed);
        let aggregates = (random.below(2) == 0).then(|| aggregates(&mut random, &definition));
        let program = ScanProgram {
            filter: Some(filter(&mut random, &definition, &rows, 3)),
            columns: comparable(&definition),
            aggregates,
        };
        let bytes = bytes_of(&layout, &program);
        for bytes in [damaged(&bytes, &damage), noise.clone()] {
            let Ok(compiled) = CompiledScan::new(&layout, &bytes) else { continue };
            // Neither do damaged rows harm.
            for (key, value) in encoded(&layout, &rows) {
                for (key, value) in [(key.clone(), value.clone()), (damaged(&key, &damage), damaged(&value, &damage))] {
                    let _ = compiled.matches(RowView::new(&layout, &key, &value));
                    compiled.project(RowView::new(&layout, &key, &value), &mut Vec::new());
                    if let Some(mut aggregation) = Aggregation::new(&compiled) {
                        let _ = aggregation.add(RowView::new(&layout, &key, &value));
                        aggregation.finish(|_, _| {});
                    }
                }
            }
        }
        let mut merger = Merger::new(&layout, &program, 3).expect("valid");
        let _ = merger.add(&noise, &damaged(&noise, &damage));
    }
}

fn table() -> TableDefinition {
    TableDefinition::builder("test", "things")
        .required("id", ColumnType::BigInt)
        .column(Column::new("small", ColumnType::TinyInt).nullable())
        .column(Column::new("price", ColumnType::Decimal { precision: 38, scale: 2 }).nullable())
        .column(Column::new("rate", ColumnType::Double).nullable())
        .column(Column::new("name", ColumnType::Varchar { characters: 10 }).nullable())
        .column(Column::new("json", ColumnType::Json).nullable())
        .primary_key(["id"])
        .build()
        .expect("valid")
}

fn refused(filter: Filter<u16>) -> ScanError {
    let layout = TableLayout::new(&table()).expect("valid");
    let program = ScanProgram { filter: Some(filter), ..ScanProgram::default() };
    let mut bytes = vec![7];
    let error = encode_program(&layout, &program, &mut bytes).expect_err("refused");
    assert_eq!(bytes, [7], "nothing is left of what is refused");
    error
}

fn equals(column: u16, value: impl Into<Value>) -> Filter<u16> {
    Filter::Compare { column, comparison: Comparison::Equal, value: value.into() }
}

/// Whoever names a long column a hundred times would get rows that no frame can carry.
#[test]
fn long_columns_are_not_repeated_at_will() {
    let layout = TableLayout::new(&table()).expect("valid");
    let of_columns = |columns| ScanProgram { columns, ..ScanProgram::default() };
    let least = Aggregate { function: Function::Minimum, column: Some(4) };
    let count = Aggregate { function: Function::Count, column: Some(5) };
    let of_aggregates = |aggregates| ScanProgram { aggregates: Some(aggregates), ..ScanProgram::default() };
    for (program, fits) in [
        (of_columns(vec![5; 7]), true),
        (of_columns(vec![5; 8]), false),
        (of_columns([5, 4, 1].repeat(170)), false),
        (of_columns([0, 1, 2, 3, 4].repeat(100)), true),
        (of_aggregates(vec![least; 64]), true),
        (of_aggregates(vec![count; 64]), true),
    ] {
        let bytes = bytes_of(&layout, &program);
        assert_eq!(CompiledScan::new(&layout, &bytes).is_ok(), fits, "{program:?}");
    }
}

#[test]
fn errors_name_the_column() {
    let cases = [
        (equals(9, 1), 202, "the table has no column number 9; it has 6"),
        (equals(1, "x"), 207, "column 'small' is TINYINT and cannot be compared with text"),
        (
            equals(1, Value::Null),
            208,
            "column 'small' is compared with NULL, which is never true; ask whether it is NULL",
        ),
        (equals(3, f64::NAN), 209, "column 'rate' is compared with NaN"),
        (
            equals(5, Value::Json("1".into())),
            206,
            "column 'json' is JSON, whose values cannot be compared or grouped",
        ),
        (
            Filter::Prefix { column: 1, prefix: Value::from("1") },
            210,
            "column 'small' is TINYINT; only text and bytes have prefixes",
        ),
    ];
    for (filter, code, text) in cases {
        let error = refused(filter);
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    }
    let mut deep = equals(1, 1);
    for _ in 0..10_000 {
        deep = !deep;
    }
    assert_eq!(refused(deep), ScanError::FilterTooLarge);
    assert_eq!(refused(Filter::Or(vec![equals(1, 1); 129])), ScanError::FilterTooLarge);
    let names: Vec<Value> = (0..10_000).map(|number| Value::Text(format!("{number}"))).collect();
    assert!(matches!(refused(Filter::In { column: 4, values: names }), ScanError::ProgramTooLarge { .. }));
    let layout = TableLayout::new(&table()).expect("valid");
    let sum = Aggregate { function: Function::Sum, column: Some(4) };
    let program = ScanProgram { aggregates: Some(vec![sum]), ..ScanProgram::default() };
    let error = encode_program(&layout, &program, &mut Vec::new()).expect_err("no number");
    assert_eq!(error.to_string(), "column 'name' is VARCHAR(10); only numbers can be summed");
}

#[test]
fn not_a_number_is_greater_than_all_numbers() {
    let layout = TableLayout::new(&table()).expect("valid");
    let row = [1.into(), Value::Null, Value::Null, f64::NAN.into(), Value::Null, Value::Null];
    let (key, value) = encoded(&layout, &[row.to_vec()]).remove(0);
    for (comparison, expected) in [
        (Comparison::Greater, true),
        (Comparison::GreaterOrEqual, true),
        (Comparison::NotEqual, true),
        (Comparison::Equal, false),
        (Comparison::Less, false),
    ] {
        let filter = Filter::Compare { column: 3, comparison, value: f64::INFINITY.into() };
        let bytes = bytes_of(&layout, &ScanProgram { filter: Some(filter), ..ScanProgram::default() });
        assert_eq!(
            CompiledScan::new(&layout, &bytes).expect("valid").matches(RowView::new(&layout, &key, &value)),
            expected
        );
    }
}

#[test]
fn sums_that_do_not_fit_are_errors() {
    let layout = TableLayout::new(&table()).expect("valid");
    let huge = Value::Decimal { unscaled: 6 * 10_i128.pow(37), scale: 2 };
    let row = [1.into(), Value::Null, huge, Value::Null, Value::Null, Value::Null];
    let images = encoded(&layout, &[row.to_vec()]);
    let (key, value) = &images[0];
    let sum = Aggregate { function: Function::Sum, column: Some(2) };
    let program = ScanProgram { aggregates: Some(vec![sum]), ..ScanProgram::default() };
    let bytes = bytes_of(&layout, &program);
    let compiled = CompiledScan::new(&layout, &bytes).expect("valid");
    let mut page = Aggregation::new(&compiled).expect("aggregates");
    page.add(RowView::new(&layout, key, value)).expect("fits");
    assert_eq!(page.add(RowView::new(&layout, key, value)).expect_err("does not fit").code(), 212);
    let mut merger = Merger::new(&layout, &program, 1).expect("valid");
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let mut page = Aggregation::new(&compiled).expect("aggregates");
        page.add(RowView::new(&layout, key, value)).expect("fits");
        page.finish(|group, values| outcomes.push(merger.add(group, values)));
    }
    assert_eq!(outcomes[0], Ok(()));
    assert!(matches!(outcomes[1], Err(ScanError::SumOverflow { .. })));
}

#[test]
fn golden_program() {
    let layout = TableLayout::new(&table()).expect("valid");
    let filter = Filter::Compare { column: 1, comparison: Comparison::Greater, value: Value::Int(7) };
    let count = Aggregate { function: Function::Count, column: None };
    let program = ScanProgram { filter: Some(filter), columns: vec![1], aggregates: Some(vec![count]) };
    let bytes =
        [[1, 2, 1, 0, 1, 0, 1, 0].as_slice(), &[1, 0], &[1, 0, 0xff, 0xff], &[5, 0, 1, 0, 1, 0, 0, 0, 7]];
    assert_eq!(bytes_of(&layout, &program), bytes.concat());
}

#[test]
fn aggregates_of_no_rows() {
    let layout = TableLayout::new(&table()).expect("valid");
    let of = |function, column| Aggregate { function, column };
    let aggregates =
        vec![of(Function::Count, None), of(Function::Sum, Some(1)), of(Function::Maximum, Some(4))];
    let mut program = ScanProgram { aggregates: Some(aggregates), ..ScanProgram::default() };
    let merger = Merger::new(&layout, &program, 1).expect("valid");
    assert_eq!(merger.finish(), Ok(vec![vec![Value::UInt(0), Value::Null, Value::Null]]));
    program.columns = vec![1];
    assert_eq!(Merger::new(&layout, &program, 1).expect("valid").finish(), Ok(vec![]));
}

#[test]
fn averages_are_rounded_half_away_from_zero() {
    let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
    assert_eq!(average(&decimal(10, 0), 4), decimal(25_000, 4));
    assert_eq!(average(&decimal(2, 0), 3), decimal(6_667, 4));
    assert_eq!(average(&decimal(-2, 0), 3), decimal(-6_667, 4));
    assert_eq!(average(&decimal(1, 2), 20_000), decimal(1, 6));
    assert_eq!(average(&decimal(-1, 2), 20_000), decimal(-1, 6));
    assert_eq!(average(&decimal(1, 2), 20_001), decimal(0, 6));
    // As many digits as there is room for.
    assert_eq!(average(&decimal(10_i128.pow(38) - 1, 0), 1), decimal(10_i128.pow(38) - 1, 0));
    assert_eq!(average(&Value::Double(3.0), 2), Value::Double(1.5));
    assert_eq!(average(&Value::Null, 0), Value::Null);
}

#[test]
fn rows_of_older_versions_have_the_defaults_of_new_columns() {
    let mut versions = Table::created(1, 1, table());
    versions.state = TableState::Active;
    let mut layouts = TableLayouts::default();
    layouts.extend(&versions).expect("valid");
    let row = [1.into(), Value::Int(4), Value::Null, Value::Null, Value::from("text"), Value::Null];
    let (key, value) = encoded(layouts.of(1).expect("known"), &[row.to_vec()]).remove(0);
    // So many that the null bits need a further byte, which moves the fixed part.
    for number in 0..9 {
        let column = Column::new(format!("extra{number}"), ColumnType::Int).default_value(number);
        versions.begin_column(column).expect("valid");
        versions.finish_column();
    }
    versions.begin_column(Column::new("label", ColumnType::Text).default_value("new")).expect("valid");
    versions.finish_column();
    versions.begin_column(Column::new("open", ColumnType::Int).nullable()).expect("valid");
    layouts.extend(&versions).expect("valid");
    let newest = layouts.of(versions.newest_version()).expect("known");
    let first = row.len() as u16;
    let (extra, label, open) = (first + 7, first + 9, first + 10);
    let equal = |column, value: Value| Filter::Compare { column, comparison: Comparison::Equal, value };
    let old = RowView::new(layouts.of(1).expect("known"), &key, &value);
    let filters = [
        (equal(extra, Value::Int(7)), true),
        (equal(extra, Value::Int(8)), false),
        (equal(label, "new".into()), true),
        (equal(1, Value::Int(4)), true),
        (Filter::IsNull(open), true),
        (Filter::In { column: label, values: vec!["new".into(), "old".into()] }, true),
    ];
    for (filter, expected) in filters {
        let bytes = bytes_of(newest, &ScanProgram { filter: Some(filter), ..ScanProgram::default() });
        assert_eq!(CompiledScan::new(newest, &bytes).expect("valid").matches(old), expected);
    }
    let program = ScanProgram { columns: vec![label, 1, extra, open], ..ScanProgram::default() };
    let bytes = bytes_of(newest, &program);
    let mut image = Vec::new();
    assert!(CompiledScan::new(newest, &bytes).expect("valid").project(old, &mut image));
    let picked = [label, 1, extra, open].map(|column| newest_column(&versions, column));
    let result = TableLayout::without_key(picked.to_vec());
    let values = RowView::new(&result, &[], &image).to_values().expect("readable");
    assert_eq!(values, ["new".into(), Value::Int(4), Value::Int(7), Value::Null]);

    let of = |function, column| Aggregate { function, column: Some(column) };
    let aggregates = vec![of(Function::Maximum, label), of(Function::Sum, extra), of(Function::Count, open)];
    let program = ScanProgram { filter: None, columns: vec![label], aggregates: Some(aggregates) };
    let bytes = bytes_of(newest, &program);
    let compiled = CompiledScan::new(newest, &bytes).expect("valid");
    let mut page = Aggregation::new(&compiled).expect("aggregates");
    page.add(old).expect("fits");
    page.add(old).expect("fits");
    let mut merger = Merger::new(newest, &program, 10).expect("valid");
    page.finish(|group, values| merger.add(group, values).expect("fits"));
    let sum = Value::Decimal { unscaled: 14, scale: 0 };
    assert_eq!(merger.finish(), Ok(vec![vec!["new".into(), "new".into(), sum, Value::UInt(0)]]));
}

fn newest_column(table: &Table, index: u16) -> Column {
    let definition = table.definition_of(table.newest_version()).expect("known");
    definition.columns[usize::from(index)].clone()
}
