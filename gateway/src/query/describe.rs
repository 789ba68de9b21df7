//! Expressions as EXPLAIN shows them: columns are the arguments of the function, `$1` the first one.

use crate::expression::{Comparison, Expression};
use crate::value::format::text;
use duet_client::Value;

/// Longest description.
const MAX_CHARACTERS: usize = 200;

/// The sign of a comparison.
pub fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
        Comparison::NullSafeEqual => "<=>",
    }
}

/// A value as a literal.
pub fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(_)
        | Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal { .. } => text(value),
        other => format!("'{}'", text(other)),
    }
}

/// See the module; `column` names columns.
pub fn describe_with(expression: &Expression, column: &dyn Fn(usize) -> String) -> String {
    let of = |part: &Expression| describe_with(part, column);
    let list = |parts: &[Expression]| parts.iter().map(of).collect::<Vec<_>>().join(", ");
    match expression {
        Expression::Constant(value) => literal(value),
        Expression::Parameter(_) => "?".to_owned(),
        Expression::Column(index) | Expression::Proposed(index) => column(*index),
        Expression::Aggregate(index) => format!("aggregate {}", index + 1),
        Expression::SystemVariable(name) => format!("@@{name}"),
        Expression::UserVariable(name) => format!("@{name}"),
        Expression::Arithmetic(operator, a, b) => {
            format!("({} {} {})", of(a), operator.sign(), of(b))
        }
        Expression::Negate(a) => format!("-{}", of(a)),
        Expression::Compare(comparison, a, b) => format!("({} {} {})", of(a), sign(*comparison), of(b)),
        Expression::And(a, b) => format!("({} AND {})", of(a), of(b)),
        Expression::Or(a, b) => format!("({} OR {})", of(a), of(b)),
        Expression::Xor(a, b) => format!("({} XOR {})", of(a), of(b)),
        Expression::Not(a) => format!("NOT {}", of(a)),
        Expression::IsNull(a) => format!("({} IS NULL)", of(a)),
        Expression::IsTruth(a, truth) => format!("({} IS {truth})", of(a)),
        Expression::In(a, items) => match items.len() {
            0..=8 => format!("({} IN ({}))", of(a), list(items)),
            more => format!("({} IN ({} and {} more))", of(a), list(&items[..4]), more - 4),
        },
        Expression::InSet(a, set) => format!("({} IN ({} values))", of(a), set.values().len()),
        Expression::Tuple(parts) => format!("({})", list(parts)),
        Expression::Like(a, pattern, _) => format!("({} LIKE {})", of(a), of(pattern)),
        Expression::Case(cases, otherwise) => {
            let cases: Vec<String> =
                cases.iter().map(|(when, then)| format!("WHEN {} THEN {}", of(when), of(then))).collect();
            format!("CASE {} ELSE {} END", cases.join(" "), of(otherwise))
        }
        Expression::Call(function, arguments) => {
            format!("{}({})", format!("{function:?}").to_lowercase(), list(arguments))
        }
        Expression::Cast(a, column_type) => {
            format!("CAST({} AS {})", of(a), crate::plan::type_name(*column_type))
        }
    }
}

/// See the module.
pub fn describe(expression: &Expression) -> String {
    let whole = describe_with(expression, &|index| format!("${}", index + 1));
    match whole.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}
