//! Keys, value images, update and scan programs from invented bytes.

use crate::input::Input;
use crate::tables::{FuzzTable, TABLES};
use duet_protocol::row::RowView;
use duet_protocol::scan_program::{Aggregation, CompiledScan};
use duet_protocol::update::{apply_update, update_result_value, validate_update};

/// Takes a table, a key, a program and an image out of the bytes and checks each, and the program on the image.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let table = &TABLES[input.below(TABLES.len())];
    let (key, program) = (input.string(), input.string());
    let image = input.rest();
    check_key(table, key);
    let image_is_valid = check_image(table, key, image);
    check_program(table, program, image, image_is_valid);
    check_scan(table, program, key, image);
}

/// Whatever passes the check can be evaluated on any row.
fn check_scan(table: &FuzzTable, program: &[u8], key: &[u8], image: &[u8]) {
    let Ok(scan) = CompiledScan::new(&table.layout, program) else { return };
    let row = RowView::new(&table.layout, key, image);
    let _ = scan.matches(row);
    scan.project(row, &mut Vec::new());
    if let Some(mut aggregation) = Aggregation::new(&scan) {
        let _ = aggregation.add(row);
        aggregation.finish(|_, _| {});
    }
}

/// Whether the key is valid; then it is the only encoding of its values.
pub fn check_key(table: &FuzzTable, key: &[u8]) -> bool {
    let layout = &table.layout;
    let decoded = layout.decode_key(key);
    let valid = layout.validate_key(key).is_ok();
    assert_eq!(valid, decoded.is_ok(), "checking and reading agree");
    let _ = layout.partition_hash(key);
    if let Ok(values) = decoded {
        let mut again = Vec::new();
        layout.encode_key(&values, &mut again).expect("decoded values can be encoded");
        assert_eq!(again, key, "two encodings of one key");
    }
    valid
}

/// Whether the image is valid; then it is the only encoding of its values. Reading never panics, valid or not.
pub fn check_image(table: &FuzzTable, key: &[u8], image: &[u8]) -> bool {
    let layout = &table.layout;
    let valid = layout.validate_value(image).is_ok();
    let view = RowView::new(layout, key, image);
    let values = view.to_values();
    if valid && layout.validate_key(key).is_ok() {
        let values = values.expect("a valid row can be read");
        let (mut key_again, mut image_again) = (Vec::new(), Vec::new());
        layout.encode_row(&values, &mut key_again, &mut image_again).expect("read values can be encoded");
        assert_eq!((&key_again[..], &image_again[..]), (key, image), "two encodings of one row");
    }
    valid
}

/// A program that is refused is not applied; one that is applied leaves a valid image.
fn check_program(table: &FuzzTable, program: &[u8], image: &[u8], image_is_valid: bool) {
    let layout = &table.layout;
    let valid = validate_update(layout, program).is_ok();
    let mut updated = Vec::new();
    let applied = apply_update(layout, image, program, &mut updated);
    if let Ok(result) = applied {
        assert!(valid, "a refused program was applied");
        for index in 0..layout.column_count() {
            let _ = update_result_value(layout, index as u16, result.as_bytes());
        }
        if image_is_valid {
            layout.validate_value(&updated).expect("an update leaves a valid image");
        }
    }
    for index in 0..=layout.column_count() {
        let _ = update_result_value(layout, index as u16, program);
    }
}
