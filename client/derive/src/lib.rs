//! derive(Row) for the Duet client.
