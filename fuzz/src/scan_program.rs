//! Scan programs from invented bytes, on rows that are valid and on rows that are not, and what a client makes of the pages.

use crate::input::Input;
use crate::tables::{FuzzTable, TABLES};
use duet_protocol::row::RowView;
use duet_protocol::scan_program::{Aggregate, Aggregation, CompiledScan, Function, Merger, ScanProgram};
use duet_protocol::value::Value;

/// Takes a table, bytes of damage and a program out of the bytes. What is accepted must be evaluated on every row without
/// harm, and the same answer must come of the same rows, however they are dealt to pages.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let table = &TABLES[input.below(TABLES.len())];
    let (key, image) = (input.string(), input.string());
    let program = input.rest();
    check(table, key, image, program);
}

/// Whether the program is accepted.
pub fn check(table: &FuzzTable, key: &[u8], image: &[u8], program: &[u8]) -> bool {
    let Ok(scan) = CompiledScan::new(&table.layout, program) else { return false };
    assert!(scan.row_cost() > 0, "every row is work");
    let rows = rows_of(table);
    for (key, image) in rows.iter().map(|(key, image)| (&key[..], &image[..])).chain([(key, image)]) {
        let row = RowView::new(&table.layout, key, image);
        let passed = scan.matches(row);
        assert_eq!(passed, scan.matches(row), "a filter has no memory");
        let mut result = Vec::new();
        let projected = scan.project(row, &mut result);
        assert!(projected || result.is_empty());
    }
    if scan.is_aggregation() {
        let whole = pages_of(table, &scan, &[&rows]);
        let dealt = pages_of(table, &scan, &[&rows[..1], &rows[1..]]);
        if let (Some(whole), Some(dealt)) = (whole, dealt) {
            assert_eq!(groups_of(&whole), groups_of(&dealt), "pages do not matter for groups");
        }
        damaged(table, &scan, key, image);
    }
    true
}

/// A full row, a sparse one, and the full one again.
fn rows_of(table: &FuzzTable) -> Vec<(Vec<u8>, Vec<u8>)> {
    let full = table.sample_row();
    let sparse: Vec<Value> = full
        .iter()
        .zip(&table.definition.columns)
        .map(|(value, column)| if column.nullable { Value::Null } else { value.clone() })
        .collect();
    let encode = |values: &[Value]| {
        let (mut key, mut image) = (Vec::new(), Vec::new());
        table.layout.encode_row(values, &mut key, &mut image).expect("samples fit");
        (key, image)
    };
    [&full, &sparse, &full].into_iter().map(|values| encode(values)).collect()
}

type Pages = Vec<(Vec<u8>, Vec<u8>)>;

/// Groups and partial aggregates of all pages; `None` when a sum overflows or a group is too large.
fn pages_of(
    table: &FuzzTable,
    scan: &CompiledScan<'_, '_>,
    pages: &[&[(Vec<u8>, Vec<u8>)]],
) -> Option<Pages> {
    let mut all = Vec::new();
    for page in pages {
        let mut aggregation = Aggregation::new(scan)?;
        for (key, image) in *page {
            aggregation.add(RowView::new(&table.layout, key, image)).ok()?;
        }
        aggregation.finish(|group, values| all.push((group.to_vec(), values.to_vec())));
    }
    Some(all)
}

fn groups_of(pages: &Pages) -> Vec<&[u8]> {
    let mut groups: Vec<&[u8]> = pages.iter().map(|(group, _)| &group[..]).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Rows that are not valid may make any result, which a merger refuses or takes.
fn damaged(table: &FuzzTable, scan: &CompiledScan<'_, '_>, key: &[u8], image: &[u8]) {
    let Some(mut aggregation) = Aggregation::new(scan) else { return };
    let _ = aggregation.add(RowView::new(&table.layout, key, image));
    for table in TABLES.iter() {
        let count = Aggregate { function: Function::Count, column: None };
        let program = ScanProgram { filter: None, columns: vec![0], aggregates: Some(vec![count]) };
        let Ok(mut merger) = Merger::new(&table.layout, &program, 2) else { continue };
        let _ = merger.add(key, image);
        let _ = merger.add(image, key);
        assert!(merger.groups() <= 2);
        if let Ok(rows) = merger.finish() {
            assert!(rows.iter().all(|row| row.len() == 2));
        }
        let _ = RowView::new(&table.layout, key, image).to_values();
    }
    aggregation.finish(|_, _| {});
}
