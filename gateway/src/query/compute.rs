//! Expressions of MySQL as functions of DataFusion: the evaluator of the fast path gives their values, so that they mean the same on both.

use crate::error::SqlError;
use crate::expression::kinds::Known;
use crate::expression::{Environment, Expression, Facts};
use crate::memory::{Memory, content_bytes};
use crate::query::run::engine_error;
use crate::query::types::{Builder, Reader, data_type, truths};
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use duet_client::{Column, ColumnType, Value};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows for which it is worth sorting long IN lists.
const ROWS_TO_PREPARE_FOR: usize = 32;
/// Rows that are computed before it is looked whether anybody waits for them.
const ROWS_WITHOUT_A_LOOK: usize = 256;

/// What expressions see besides their row.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The session.
    pub facts: Facts,
    /// Values of the parameters.
    pub parameters: Vec<Value>,
    /// Where values that are computed get their memory, until the engine counts them.
    pub memory: Option<Memory>,
    /// Set when nobody waits for the statement any more.
    pub ended: Arc<AtomicBool>,
}

/// Sets its sign when it is dropped: what is computed without a pause looks at that, for the end of its task comes only in a pause.
#[derive(Debug)]
pub struct EndsWith(pub Arc<AtomicBool>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Surroundings {
    /// What types of expressions over these columns depend on.
    pub fn known<'a>(&'a self, columns: &'a [Column]) -> Known<'a> {
        let user_variables = Some(&self.facts.user_variables);
        Known { columns, parameters: &self.parameters, aggregates: &[], user_variables }
    }

    /// For an evaluation.
    pub fn environment(&self) -> Environment<'_> {
        Environment::new(&self.parameters, &self.facts)
    }
}

/// An expression over the function's arguments.
#[derive(Debug)]
pub struct Compute {
    expression: Expression,
    /// Types of the arguments.
    arguments: Vec<Option<ColumnType>>,
    /// Type of the value; meaningless for a truth.
    result: Option<ColumnType>,
    /// Whether the truth of the expression is wanted, not its value.
    truth: bool,
    data_type: DataType,
    surroundings: Arc<Surroundings>,
    name: String,
    signature: Signature,
}

impl PartialEq for Compute {
    fn eq(&self, other: &Compute) -> bool {
        self.expression == other.expression
            && self.arguments == other.arguments
            && self.result == other.result
            && self.truth == other.truth
    }
}

impl Eq for Compute {}

impl Hash for Compute {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.truth.hash(state);
    }
}

impl Compute {
    /// The value of an expression, or its truth, whose columns are the arguments.
    ///
    /// # Errors
    /// 1235 for types that the engine lacks.
    pub fn call(
        expression: Expression,
        arguments: Vec<(Expr, Option<ColumnType>)>,
        result: Option<ColumnType>,
        truth: bool,
        surroundings: &Arc<Surroundings>,
    ) -> crate::error::Result<Expr> {
        let name = crate::query::describe::describe(&expression);
        let volatility = match expression.has_random() {
            true => Volatility::Volatile,
            false => Volatility::Immutable,
        };
        let (expressions, types): (Vec<_>, Vec<_>) = arguments.into_iter().unzip();
        let compute = Compute {
            data_type: if truth { DataType::Boolean } else { data_type(result)? },
            expression,
            arguments: types,
            result,
            truth,
            surroundings: Arc::clone(surroundings),
            name,
            signature: match expressions.is_empty() {
                true => Signature::nullary(volatility),
                false => Signature::variadic_any(volatility),
            },
        };
        Ok(ScalarUDF::new_from_impl(compute).call(expressions))
    }

    /// The expression over the arguments, and whether its truth is meant.
    pub fn expression(&self) -> (&Expression, bool) {
        (&self.expression, self.truth)
    }

    fn rows(&self, arrays: &[ArrayRef], rows: usize) -> crate::error::Result<ArrayRef> {
        let readers: Vec<Reader<'_>> = arrays
            .iter()
            .zip(&self.arguments)
            .map(|(array, column_type)| Reader::new(array.as_ref() as &dyn Array, *column_type))
            .collect();
        let mut row = Vec::with_capacity(readers.len());
        let environment = self.surroundings.environment();
        let prepared = match rows {
            ROWS_TO_PREPARE_FOR.. => self.expression.prepared(&environment),
            _ => None,
        };
        let expression = prepared.as_ref().unwrap_or(&self.expression);
        let mut found = Vec::new();
        let mut builder = Builder::new(self.result)?;
        let mut held = self.surroundings.memory.as_ref().map(Memory::hold);
        for index in 0..rows {
            if index % ROWS_WITHOUT_A_LOOK == 0 && self.surroundings.ended.load(Ordering::Relaxed) {
                return Err(SqlError::interrupted("Query execution was interrupted"));
            }
            row.clear();
            row.extend(readers.iter().map(|reader| reader.value(index)));
            let environment = environment.with_row(&row);
            match self.truth {
                true => found.push(expression.truth(&environment)?),
                false => {
                    let value = expression.evaluate(&environment)?;
                    if let (bytes @ 1.., Some(held)) = (content_bytes(&value), &mut held) {
                        held.grow(bytes)?;
                    }
                    builder.add(&value)?;
                }
            }
        }
        Ok(if self.truth { truths(found) } else { builder.finish() })
    }
}

impl ScalarUDFImpl for Compute {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)))
            && !self.expression.has_random();
        let rows = if constant { 1 } else { arguments.number_rows };
        let arrays: Vec<ArrayRef> =
            arguments.args.iter().map(|argument| argument.to_array(rows)).collect::<Result<_>>()?;
        let array = self.rows(&arrays, rows).map_err(engine_error)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
            false => Ok(ColumnarValue::Array(array)),
        }
    }
}
