//! Aggregates of MySQL as those of DataFusion: exact sums, DISTINCT by MySQL's equality.

use crate::expression::{Accumulator as Counted, AggregateCall, AggregateFunction};
use crate::query::run::engine_error;
use crate::query::types::{Reader, data_type, scalar};
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use duet_client::{ColumnType, Value};
use std::hash::{Hash, Hasher};

/// An aggregate.
#[derive(Debug)]
pub struct Aggregate {
    call: AggregateCall,
    argument: Option<ColumnType>,
    result: Option<ColumnType>,
    data_type: DataType,
    name: String,
    signature: Signature,
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Aggregate) -> bool {
        self.call.function == other.call.function
            && self.call.distinct == other.call.distinct
            && self.call.listing == other.call.listing
            && self.argument == other.argument
            && self.result == other.result
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.call.distinct.hash(state);
    }
}

impl Aggregate {
    /// An aggregate of the values of a column.
    ///
    /// # Errors
    /// 1235 for types that the engine lacks.
    pub fn call(
        call: &AggregateCall,
        input: Expr,
        argument: Option<ColumnType>,
        result: Option<ColumnType>,
    ) -> crate::error::Result<Expr> {
        let distinct = if call.distinct { " distinct" } else { "" };
        let aggregate = Aggregate {
            call: AggregateCall { argument: None, ..call.clone() },
            argument,
            result,
            data_type: data_type(result)?,
            name: format!("{}{distinct}", call.function.name()),
            signature: Signature::any(1, Volatility::Immutable),
        };
        Ok(AggregateUDF::new_from_impl(aggregate).call(vec![input]))
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(State {
            counted: Counted::new(&self.call),
            argument: self.argument,
            result: self.result,
            can_retract: self.call.function == AggregateFunction::Sum && !self.call.distinct,
        }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = Field::new(arguments.name, self.data_type.clone(), true);
        Ok(vec![FieldRef::from(field)])
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        match self.call.function {
            AggregateFunction::Count => Ok(ScalarValue::Int64(Some(0))),
            AggregateFunction::BitAnd => Ok(ScalarValue::UInt64(Some(u64::MAX))),
            AggregateFunction::BitOr | AggregateFunction::BitXor => Ok(ScalarValue::UInt64(Some(0))),
            _ => ScalarValue::try_from(data_type),
        }
    }
}

#[derive(Debug)]
struct State {
    counted: Counted,
    argument: Option<ColumnType>,
    result: Option<ColumnType>,
    can_retract: bool,
}

impl Accumulator for State {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(array) = values.first() else { return Ok(()) };
        let reader = Reader::new(array.as_ref(), self.argument);
        for row in 0..array.len() {
            self.counted.add(reader.value(row)).map_err(engine_error)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value: Value = self.counted.result().map_err(engine_error)?;
        scalar(&value, self.result).map_err(engine_error)
    }

    fn size(&self) -> usize {
        size_of::<State>() + self.counted.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        // Plans have one partition, so that no states are ever merged.
        exec_err!("an aggregate of MySQL cannot be divided")
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(array) = values.first() else { return Ok(()) };
        let reader = Reader::new(array.as_ref(), self.argument);
        for row in 0..array.len() {
            self.counted.remove(&reader.value(row)).map_err(engine_error)?;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.can_retract
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        exec_err!("an aggregate of MySQL cannot be divided")
    }
}
