//! Plans that statements of the same shape share, over all sessions.

use crate::plan::Plan;
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most plans that are kept.
const MAX_PLANS: usize = 4_096;
/// Longest shape that is kept.
const MAX_SHAPE_BYTES: usize = 16 << 10;

/// Database and shape of a statement.
pub type Shape = (String, String);

/// The plans.
#[derive(Debug, Default)]
pub struct Plans {
    plans: Mutex<FxHashMap<Shape, Arc<Plan>>>,
}

impl Plans {
    /// The plan of a shape.
    pub fn get(&self, shape: &Shape) -> Option<Arc<Plan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(shape).cloned()
    }

    /// Keeps a plan. When there are too many all are forgotten: those in use come back at once.
    pub fn put(&self, shape: Shape, plan: Arc<Plan>) {
        if shape.1.len() > MAX_SHAPE_BYTES {
            return;
        }
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MAX_PLANS {
            plans.clear();
        }
        plans.insert(shape, plan);
    }
}
