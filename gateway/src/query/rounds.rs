//! The bound of WITH RECURSIVE: a condition that is true until it was asked too often.

use crate::error::SqlError;
use crate::query::run::engine_error;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most batches of rows of one recursive table; each round has one at least.
const MAX_BATCHES: usize = 10_000;

#[derive(Debug)]
struct Rounds {
    asked: AtomicUsize,
    signature: Signature,
}

impl PartialEq for Rounds {
    fn eq(&self, other: &Rounds) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Rounds {}

impl std::hash::Hash for Rounds {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).hash(state);
    }
}

impl ScalarUDFImpl for Rounds {
    fn name(&self) -> &'static str {
        "bounded rounds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.asked.fetch_add(1, Ordering::Relaxed) >= MAX_BATCHES {
            return Err(engine_error(SqlError {
                code: 3_636,
                state: "HY000",
                message: format!("Recursive query aborted after {MAX_BATCHES} iterations"),
            }));
        }
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }
}

/// The condition, asked for every batch with a column of its rows.
pub fn bounded(column: Expr) -> Expr {
    let rounds = Rounds { asked: AtomicUsize::new(0), signature: Signature::any(1, Volatility::Volatile) };
    ScalarUDF::new_from_impl(rounds).call(vec![column])
}
