//! The check of an operation that a client sent, before it leaves the coordinator.

use crate::coordinator::{Route, table_of};
use crate::ldm::Context;
use crate::map::{LocalTable, Role};
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::signal::SignalView;
use duet_protocol::signal::operate::{
    CLIENT_FLAGS, OPERATION_READ, OPERATION_READ_EXCLUSIVE, OPERATION_READ_SHARED, Operate,
};
use duet_protocol::signal::write::{OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT};
use duet_protocol::update::validate_update;

/// The node that leads a partition.
pub(crate) fn primary_of(context: &Context<'_>, partition: u16) -> u32 {
    match context.map.partitions[usize::from(partition)].role {
        Role::Primary { .. } => context.out.identity.sender.node,
        Role::Backup { primary } | Role::Elsewhere { primary } => primary,
    }
}

/// Checks an operation completely; its partition, the node that leads it, and the table unless that is a plain one.
pub(crate) fn check_operation<'m>(
    context: &Context<'m>,
    signal: &SignalView<'_>,
    body: &Operate,
) -> Result<(u16, u32, Option<&'m LocalTable>), (ErrorCode, String)> {
    let found = table_of(context, body.table.get(), body.table_version.get());
    let named = found.map_err(|route| match route {
        Route::Refused(code, detail) => (code, detail),
        Route::Here { .. } | Route::Node { .. } => (ErrorCode::Internal, String::new()),
    })?;
    let layout = named.layout;
    let table = context.map.tables.get(named.slot).and_then(Option::as_ref).filter(|table| !table.is_plain);
    let (key, value) = (signal.section(0), signal.section(1));
    if body.flags & !CLIENT_FLAGS != 0 {
        return Err((ErrorCode::InvalidRequest, "unknown flags".to_owned()));
    }
    if table.is_some_and(|table| table.is_hidden) && body.operation < OPERATION_READ {
        return Err((ErrorCode::HiddenTable, format!("table {}", body.table)));
    }
    layout.validate_key(key).map_err(|error| (ErrorCode::InvalidKey, error.to_string()))?;
    match body.operation {
        OPERATION_INSERT | OPERATION_UPSERT => {
            layout.validate_value(value).map_err(|error| (ErrorCode::InvalidRow, error.to_string()))?;
        }
        OPERATION_UPDATE => {
            validate_update(layout, value).map_err(|error| (ErrorCode::InvalidUpdate, error.to_string()))?;
        }
        OPERATION_DELETE | OPERATION_READ | OPERATION_READ_SHARED | OPERATION_READ_EXCLUSIVE
            if value.is_empty() => {}
        _ => {
            return Err((ErrorCode::InvalidRequest, "unknown operation or unexpected value".to_owned()));
        }
    }
    let hash = key_hash(key);
    let partition = context.map.partition_of(layout.partition_hash_from(key, hash));
    Ok((partition, primary_of(context, partition), table))
}
