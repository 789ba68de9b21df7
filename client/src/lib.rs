//! The native client of the Duet row store.
