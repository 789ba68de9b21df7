//! Plans that statements of the same shape share, over all sessions.

use crate::plan::Plan;
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most plans that are kept.
const MAX_PLANS: usize = 8_192;
/// Longest shape that is kept.
const MAX_SHAPE_BYTES: usize = 16 << 10;

/// Plans by the shapes of statements, for each database by its name.
type ByShape = FxHashMap<String, FxHashMap<String, Arc<Plan>>>;

/// The plans.
#[derive(Debug, Default)]
pub struct Plans {
    plans: Mutex<ByShape>,
}

impl Plans {
    /// The plan of a shape, where the database is the one chosen.
    pub fn get(&self, database: &str, shape: &str) -> Option<Arc<Plan>> {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.get(database)?.get(shape).cloned()
    }

    /// Keeps a plan. When there are too many all are forgotten: those in use come back at once.
    pub fn put(&self, database: &str, shape: String, plan: Arc<Plan>) {
        if shape.len() > MAX_SHAPE_BYTES {
            return;
        }
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.values().map(FxHashMap::len).sum::<usize>() >= MAX_PLANS {
            plans.clear();
        }
        plans.entry(database.to_owned()).or_default().insert(shape, plan);
    }
}
