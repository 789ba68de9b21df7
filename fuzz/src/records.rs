//! Records and log files from invented bytes.

use crate::input::Input;
use duet_protocol::error::ErrorCode;
use duet_protocol::layout::TableLayout;
use duet_protocol::record::{
    ClusterState, ClusterStatus, LOG_HEADER_BYTES, ManagementChange, ManagementCommand, ManagementSnapshot,
    RECORD_HEADER_BYTES, UserChange, UserList, encode_log_block, read_log,
};
use duet_protocol::schema::TableDefinition;

/// Most blocks of an invented log.
const MOST_BLOCKS: usize = 4;

/// The first byte chooses what the rest is: bytes as they are, a payload to put into an envelope, or payloads of a log.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(3) {
        0 => check_raw(input.rest()),
        1 => check_payload(input.rest()),
        _ => check_log(&mut input),
    }
}

fn check_raw(bytes: &[u8]) {
    check_all(bytes);
    let _ = read_log(bytes);
}

/// Puts the payload into an envelope of every kind.
fn check_payload(payload: &[u8]) {
    for kind in 0..=7 {
        check_all(&envelope(kind, payload));
    }
}

/// An intact envelope around a payload that may be anything.
pub fn envelope(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD_HEADER_BYTES + payload.len());
    bytes.extend_from_slice(b"DUETREC\0");
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&1_u16.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// Decodes as every kind. Whether any kind took it.
pub fn check_all(bytes: &[u8]) -> bool {
    let state = check(bytes, ClusterState::from_record, ClusterState::to_record, |state| {
        state.check().expect("checked while it was decoded");
        assert!(state.partition_of(u64::MAX).is_some() && state.partition_of(0).is_some());
    });
    let status = check(bytes, ClusterStatus::from_record, ClusterStatus::to_record, |_| ());
    let definition = check(bytes, TableDefinition::from_record, TableDefinition::to_record, |definition| {
        assert_eq!(definition.validate().is_ok(), TableLayout::new(definition).is_ok());
    });
    let command = check(bytes, ManagementCommand::from_record, ManagementCommand::to_record, |_| ());
    let snapshot = check(bytes, ManagementSnapshot::from_record, ManagementSnapshot::to_record, |_| ());
    let change = check(bytes, UserChange::from_record, UserChange::to_record, |_| ());
    let users = check(bytes, UserList::from_record, UserList::to_record, |_| ());
    let management = check(bytes, ManagementChange::from_record, ManagementChange::to_record, |_| ());
    state || status || definition || command || snapshot || change || users || management
}

/// What can be decoded can be encoded, and is then the same for good.
fn check<T>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, ErrorCode>,
    encode: impl Fn(&T) -> Result<Vec<u8>, ErrorCode>,
    inspect: impl Fn(&T),
) -> bool {
    let Ok(value) = decode(bytes) else { return false };
    inspect(&value);
    // Compared as bytes: defaults of columns may be NaN, which equals nothing.
    let first = encode(&value).expect("what was decoded can be encoded");
    let second = encode(&decode(&first).expect("what was encoded can be decoded")).expect("again");
    assert_eq!(first, second);
    true
}

/// A log whose blocks are intact around payloads that may be anything, and that may end early.
fn check_log(input: &mut Input<'_>) {
    let cut = usize::from(input.byte());
    let mut log = Vec::new();
    for number in 1..=1 + input.below(MOST_BLOCKS) as u64 {
        let length = usize::from(input.short());
        append_block(&mut log, number, input.take(length));
    }
    log.truncate(log.len() - cut.min(log.len()));
    let Ok(contents) = read_log(&log) else { return };
    assert!(contents.intact_bytes <= log.len() as u64);
    let mut again = Vec::new();
    for (number, block) in (1..).zip(&contents.blocks) {
        again.extend(
            encode_log_block(number, again.len() as u64, block).expect("what was read can be written"),
        );
    }
    assert_eq!(read_log(&again).expect("what was written can be read").blocks, contents.blocks);
}

/// Appends a block with intact header around `payload`.
fn append_block(log: &mut Vec<u8>, number: u64, payload: &[u8]) {
    let start = log.len();
    log.extend_from_slice(b"DUETMLOG");
    log.extend_from_slice(&number.to_le_bytes());
    log.extend_from_slice(&(start as u64).to_le_bytes());
    log.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    log.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let checksum = crc32c::crc32c(&log[start..]);
    log.extend_from_slice(&checksum.to_le_bytes());
    log.extend_from_slice(&[0; LOG_HEADER_BYTES - 36]);
    log.extend_from_slice(payload);
    log.resize(log.len().next_multiple_of(8), 0);
}
