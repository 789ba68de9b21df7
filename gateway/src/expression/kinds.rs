//! Types of expressions, for the columns of results.

use super::{AggregateCall, AggregateFunction, Expression, Function, Unit};
use crate::value::arithmetic::{Operator, QUOTIENT_DIGITS};
use crate::value::number::MAX_SCALE;
use duet_client::{Column, ColumnType, Value};
use std::collections::BTreeMap;

/// Characters of a text whose length is not known.
const SOME_CHARACTERS: u32 = 1_024;

/// What types depend on.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Columns of the table.
    pub columns: &'a [Column],
    /// Values of the parameters, if they are known.
    pub parameters: &'a [Value],
    /// Aggregates of the statement.
    pub aggregates: &'a [AggregateCall],
    /// Variables of the session, if they are known.
    pub user_variables: Option<&'a BTreeMap<String, Value>>,
}

fn of_value(value: &Value) -> Option<ColumnType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) | Value::Int(_) => ColumnType::BigInt,
        Value::UInt(_) => ColumnType::BigIntUnsigned,
        Value::Float(_) => ColumnType::Float,
        Value::Double(_) => ColumnType::Double,
        Value::Decimal { scale, .. } => ColumnType::Decimal { precision: 38, scale: *scale },
        Value::Text(text) => ColumnType::Varchar { characters: (text.chars().count() as u32).max(1) },
        Value::Bytes(bytes) => ColumnType::Varbinary { bytes: (bytes.len() as u32).max(1) },
        Value::Date(_) => ColumnType::Date,
        Value::Time(_) => ColumnType::Time,
        Value::DateTime(_) => ColumnType::DateTime,
        Value::Timestamp(_) => ColumnType::Timestamp,
        Value::Json(_) => ColumnType::Json,
        Value::Vector(floats) => ColumnType::Vector { dimensions: floats.len() as u32 },
    })
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Class {
    Integer { unsigned: bool },
    Decimal { scale: u8 },
    Double,
}

fn class(column_type: Option<ColumnType>) -> Class {
    match column_type {
        Some(ColumnType::Decimal { scale, .. }) => Class::Decimal { scale },
        Some(
            ColumnType::TinyIntUnsigned
            | ColumnType::SmallIntUnsigned
            | ColumnType::MediumIntUnsigned
            | ColumnType::IntUnsigned
            | ColumnType::BigIntUnsigned,
        ) => Class::Integer { unsigned: true },
        None
        | Some(
            ColumnType::Boolean
            | ColumnType::TinyInt
            | ColumnType::SmallInt
            | ColumnType::MediumInt
            | ColumnType::Int
            | ColumnType::BigInt,
        ) => Class::Integer { unsigned: false },
        Some(_) => Class::Double,
    }
}

fn arithmetic(operator: Operator, a: Option<ColumnType>, b: Option<ColumnType>) -> ColumnType {
    if operator.is_of_bits() {
        return ColumnType::BigIntUnsigned;
    }
    let decimal = |scale: u8| ColumnType::Decimal { precision: 38, scale: scale.min(MAX_SCALE) };
    let scale_of = |class: Class| if let Class::Decimal { scale } = class { scale } else { 0 };
    match (class(a), class(b)) {
        (Class::Double, _) | (_, Class::Double) => match operator {
            Operator::IntegerDivide => ColumnType::BigInt,
            _ => ColumnType::Double,
        },
        (Class::Integer { unsigned: a }, Class::Integer { unsigned: b }) => match operator {
            Operator::Divide => decimal(QUOTIENT_DIGITS),
            Operator::Modulo if a => ColumnType::BigIntUnsigned,
            Operator::Modulo => ColumnType::BigInt,
            _ if a || b => ColumnType::BigIntUnsigned,
            _ => ColumnType::BigInt,
        },
        (a, b) => match operator {
            Operator::IntegerDivide => ColumnType::BigInt,
            Operator::Multiply => decimal(scale_of(a) + scale_of(b)),
            Operator::Divide => decimal(scale_of(a) + QUOTIENT_DIGITS),
            _ => decimal(scale_of(a).max(scale_of(b))),
        },
    }
}

fn is_binary(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Binary { .. } | ColumnType::Varbinary { .. } | ColumnType::Blob)
}

/// Of a number rounded to as many digits as an argument says, if that is known.
fn rounded(of: Option<ColumnType>, arguments: &[Expression]) -> ColumnType {
    match class(of) {
        Class::Double => ColumnType::Double,
        Class::Integer { .. } => of.map_or(ColumnType::BigInt, widened),
        Class::Decimal { scale } => {
            let scale = match arguments {
                [number, Expression::Constant(Value::Int(digits))] => {
                    let most = if number.has_quotient() { MAX_SCALE } else { scale };
                    (*digits).clamp(0, i64::from(most)) as u8
                }
                [_, _] => scale,
                _ => 0,
            };
            ColumnType::Decimal { precision: 38, scale }
        }
    }
}

/// Whether a whole number that is rounded before the point may be beyond those of 64 bits.
fn may_grow(arguments: &[Expression], of: Option<ColumnType>) -> bool {
    let is_long = matches!(of, Some(ColumnType::BigInt | ColumnType::BigIntUnsigned));
    match arguments {
        [_, Expression::Constant(Value::Int(0..))] => false,
        [Expression::Constant(Value::Int(number)), _] => number.unsigned_abs() >= 10_u64.pow(17),
        [_, _] => is_long,
        _ => false,
    }
}

/// A type that holds values of both.
pub fn unified(a: Option<ColumnType>, b: Option<ColumnType>) -> Option<ColumnType> {
    let (Some(one), Some(other)) = (a, b) else { return a.or(b) };
    if one == other {
        return Some(one);
    }
    let is_number = |column_type| {
        !matches!(class(Some(column_type)), Class::Double)
            || matches!(column_type, ColumnType::Double | ColumnType::Float)
    };
    if is_binary(one) || is_binary(other) {
        return Some(ColumnType::Varbinary { bytes: SOME_CHARACTERS });
    }
    if !is_number(one) || !is_number(other) {
        return Some(ColumnType::Varchar { characters: SOME_CHARACTERS });
    }
    Some(match (class(a), class(b)) {
        (Class::Double, _) | (_, Class::Double) => ColumnType::Double,
        (Class::Decimal { scale: a }, Class::Decimal { scale: b }) => {
            ColumnType::Decimal { precision: 38, scale: a.max(b) }
        }
        (Class::Decimal { scale }, _) | (_, Class::Decimal { scale }) => {
            ColumnType::Decimal { precision: 38, scale }
        }
        (Class::Integer { unsigned: a }, Class::Integer { unsigned: b }) if a == b => match a {
            true => ColumnType::BigIntUnsigned,
            false => ColumnType::BigInt,
        },
        (Class::Integer { .. }, Class::Integer { .. }) => ColumnType::Decimal { precision: 20, scale: 0 },
    })
}

impl Expression {
    /// Its type; `None` for what is always NULL.
    pub fn column_type(&self, known: Known<'_>) -> Option<ColumnType> {
        let of = |part: &Expression| part.column_type(known);
        let unify = |parts: &[Expression]| parts.iter().map(of).fold(None, unified);
        Some(match self {
            Expression::Constant(value) => return of_value(value),
            Expression::Parameter(index) => match known.parameters.get(*index) {
                Some(value) => return of_value(value),
                None => ColumnType::Varchar { characters: SOME_CHARACTERS },
            },
            Expression::Column(index) | Expression::Proposed(index) => {
                return known.columns.get(*index).map(|column| column.column_type);
            }
            Expression::Aggregate(index) => return aggregate(known.aggregates.get(*index)?, known),
            Expression::SystemVariable(name) => crate::variables::variable_type(name),
            Expression::UserVariable(name) => {
                let value = known.user_variables.and_then(|variables| variables.get(name));
                return value
                    .and_then(of_value)
                    .or(Some(ColumnType::Varchar { characters: SOME_CHARACTERS }));
            }
            Expression::Arithmetic(operator, a, b) => arithmetic(*operator, of(a), of(b)),
            Expression::Negate(a) => arithmetic(Operator::Subtract, Some(ColumnType::BigInt), signed(of(a))),
            Expression::Compare(..)
            | Expression::And(..)
            | Expression::Or(..)
            | Expression::Xor(..)
            | Expression::Not(_)
            | Expression::IsNull(_)
            | Expression::IsTruth(..)
            | Expression::In(..)
            | Expression::InSet(..)
            | Expression::Like(..) => ColumnType::BigInt,
            Expression::Tuple(_) => return None,
            Expression::Case(cases, otherwise) => {
                let results = cases.iter().map(|(_, result)| of(result));
                return unified(results.fold(None, unified), of(otherwise));
            }
            Expression::Cast(_, column_type) => *column_type,
            Expression::Call(Function::Coalesce | Function::Greatest | Function::Least, arguments) => {
                return unify(arguments);
            }
            Expression::Call(Function::If, arguments) => {
                return unify(arguments.get(1..).unwrap_or_default());
            }
            Expression::Call(function, arguments) if function.is_made_of_content() => {
                let mut made_of =
                    arguments.iter().enumerate().filter(|(index, _)| function.is_made_of(*index));
                match made_of.any(|(_, argument)| of(argument).is_some_and(is_binary)) {
                    true => ColumnType::Varbinary { bytes: SOME_CHARACTERS },
                    false => function.result_type(),
                }
            }
            Expression::Call(function, arguments) => {
                // Each argument is asked once: twice on every level would be without end.
                let first = arguments.first().and_then(of);
                match function {
                    Function::NullIf => return first,
                    Function::Modulo => arithmetic(Operator::Modulo, first, arguments.get(1).and_then(of)),
                    Function::Absolute => {
                        first.filter(|_| class(first) != Class::Double).map_or(ColumnType::Double, widened)
                    }
                    Function::Round if may_grow(arguments, first) => {
                        ColumnType::Decimal { precision: 38, scale: 0 }
                    }
                    Function::Round | Function::Truncate | Function::Floor | Function::Ceiling => {
                        rounded(first, arguments)
                    }
                    Function::AddInterval | Function::SubtractInterval => match arguments.get(2) {
                        Some(Expression::Constant(Value::Text(name))) => Unit::named(name)?.moved_type(first),
                        _ => return None,
                    },
                    Function::AddTime | Function::SubtractTime => Unit::Fixed(1).moved_type(first),
                    Function::TextToDate => match arguments.get(1) {
                        Some(Expression::Constant(Value::Text(format))) => {
                            let content = super::functions::calendar::content(format);
                            match (content.date, content.clock) {
                                (true, false) => ColumnType::Date,
                                (false, true) => ColumnType::Time,
                                _ => ColumnType::DateTime,
                            }
                        }
                        _ => ColumnType::DateTime,
                    },
                    Function::FromUnixTime if arguments.len() == 2 => function.text_type(),
                    Function::UnixTimestamp => {
                        let value = match arguments.first() {
                            Some(Expression::Constant(value)) => Some(value),
                            Some(Expression::Parameter(index)) => known.parameters.get(*index),
                            _ => None,
                        };
                        // Of texts that are not known before all digits are kept.
                        let digits = match (value, first) {
                            (Some(value), _) => super::functions::fraction_digits(value),
                            (
                                None,
                                Some(ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text),
                            ) => 6,
                            _ => 0,
                        };
                        match digits {
                            0 => ColumnType::BigInt,
                            scale => ColumnType::Decimal { precision: 38, scale },
                        }
                    }
                    other => other.result_type(),
                }
            }
        })
    }
}

fn signed(column_type: Option<ColumnType>) -> Option<ColumnType> {
    match class(column_type) {
        Class::Integer { .. } => Some(ColumnType::BigInt),
        _ => column_type,
    }
}

fn widened(column_type: ColumnType) -> ColumnType {
    match class(Some(column_type)) {
        Class::Integer { unsigned: true } => ColumnType::BigIntUnsigned,
        Class::Integer { unsigned: false } => ColumnType::BigInt,
        _ => column_type,
    }
}

fn aggregate(call: &AggregateCall, known: Known<'_>) -> Option<ColumnType> {
    let argument = call.argument.as_ref().and_then(|argument| argument.column_type(known));
    Some(match call.function {
        AggregateFunction::Count => ColumnType::BigInt,
        AggregateFunction::Minimum
        | AggregateFunction::Maximum
        | AggregateFunction::Any
        | AggregateFunction::Single => {
            return argument;
        }
        AggregateFunction::VariancePopulation
        | AggregateFunction::VarianceSample
        | AggregateFunction::DeviationPopulation
        | AggregateFunction::DeviationSample => ColumnType::Double,
        AggregateFunction::BitAnd | AggregateFunction::BitOr | AggregateFunction::BitXor => {
            ColumnType::BigIntUnsigned
        }
        AggregateFunction::Concatenation => ColumnType::Text,
        AggregateFunction::Sum => match class(argument) {
            Class::Double => ColumnType::Double,
            Class::Integer { .. } => ColumnType::Decimal { precision: 38, scale: 0 },
            Class::Decimal { scale } => ColumnType::Decimal { precision: 38, scale },
        },
    })
}
