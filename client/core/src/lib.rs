//! Routing, batching and transaction state of the Duet client, without IO.
