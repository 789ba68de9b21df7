//! API keys: stored as hashes, revocable within a second.

use crate::catalogue::FeatureStore;
use crate::{FeatureError, Reason, Result, time};
use duet_client::{Assignment, ErrorCode, Value, col};
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a look-up of a key holds: half of the time within which a revoked key must be refused everywhere.
const FRESH: Duration = Duration::from_millis(500);
/// Most keys remembered, valid or not; then all are forgotten.
const MOST_KEYS: usize = 4_096;
/// Longest key looked at, in bytes.
const LONGEST_KEY: usize = 256;

type Hash = [u8; 32];

/// Keys are random and long, so that a plain hash tells nothing about them.
fn hash(key: &[u8]) -> Hash {
    Sha256::digest(key).into()
}

/// Makes a new key and returns it; only its hash is kept.
///
/// # Errors
/// The cluster cannot be written, or the system gives no random numbers.
pub async fn create_key(store: &FeatureStore, name: &str) -> Result<String> {
    let mut random = [0_u8; 24];
    let failed = |error| FeatureError::new(Reason::Database, format!("no random numbers: {error}"));
    getrandom::fill(&mut random).map_err(failed)?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("duet_{digits}");
    let row = [
        ("key", Value::Bytes(hash(key.as_bytes()).to_vec())),
        ("name", name.into()),
        ("created", Value::Timestamp(time::now_microseconds())),
        ("revoked", false.into()),
    ];
    store.client().insert(&store.api_keys, row).await?;
    Ok(key)
}

/// Revokes all keys of this name: every server refuses them within a second. How many there were.
///
/// # Errors
/// The cluster cannot be written.
pub async fn revoke_key(store: &FeatureStore, name: &str) -> Result<usize> {
    let rows = store.client().scan(&store.api_keys).filter(col("name").eq(name)).rows().await?;
    let mut revoked = 0;
    for row in rows {
        let Some(key) = row.value("key") else { continue };
        let set = [("revoked", Assignment::Set(true.into()))];
        match store.client().update(&store.api_keys, key.clone(), &set).await {
            Err(error) if error.is(ErrorCode::RowNotFound) => {}
            updated => {
                updated?;
                revoked += 1;
            }
        }
    }
    Ok(revoked)
}

/// What is known of keys that were shown.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: Mutex<FxHashMap<Hash, (bool, Instant)>>,
}

impl Keys {
    /// Refuses a request without a valid key.
    pub(crate) async fn check(&self, store: &FeatureStore, key: Option<&[u8]>) -> Result<()> {
        let refused = |message: &str| Err(FeatureError::new(Reason::Unauthorized, message));
        let Some(key) = key.filter(|key| key.len() <= LONGEST_KEY) else {
            return refused("send it in the header X-API-KEY");
        };
        let hash = hash(key);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).copied();
        let valid = match known.filter(|(_, at)| at.elapsed() < FRESH) {
            Some((valid, _)) => valid,
            None => {
                // The clock starts before the look-up: a key revoked meanwhile is not known for longer.
                let at = Instant::now();
                let row = store.client().get(&store.api_keys, Value::Bytes(hash.to_vec())).await?;
                let revoked: Option<bool> = row.map_or(Ok(None), |row| row.get("revoked"))?;
                let valid = revoked == Some(false);
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= MOST_KEYS {
                    known.clear();
                }
                known.insert(hash, (valid, at));
                valid
            }
        };
        if valid { Ok(()) } else { refused("this key is unknown or revoked") }
    }
}
