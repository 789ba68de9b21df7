//! From the syntax tree to expressions that can be evaluated.

use super::functions::Unit;
use super::window::{WindowCall, WindowFunction, compile_window};
use super::{AggregateCall, AggregateFunction, Comparison, Expression, Function, Listing};
use crate::error::{Result, SqlError, not_supported};
use crate::memory::content_bytes;
use crate::value::arithmetic::Operator;
use crate::value::calendar::{parse_moment, parse_time};
use crate::value::literal::literal;
use duet_client::{ColumnType, TableInfo, Value};
use duet_protocol::value::MICROSECONDS_PER_DAY;
use sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, Query, TrimWhereField, UnaryOperator, WindowSpec,
};

/// Where the query engine finds what is not of one table: columns of several, subqueries, window functions. All are columns by number.
pub trait Outside {
    /// A column.
    ///
    /// # Errors
    /// 1054 where there is none, 1052 where there are several.
    fn column(&mut self, qualifier: &[Ident], name: &Ident, place: &'static str) -> Result<usize>;
    /// A subquery of one value.
    ///
    /// # Errors
    /// Those of the query.
    fn subquery(&mut self, query: &Query, place: &'static str) -> Result<Expression>;
    /// Whether a subquery has rows.
    ///
    /// # Errors
    /// Those of the query.
    fn exists(&mut self, query: &Query) -> Result<Expression>;
    /// Whether a subquery has, or with `negated` has not, a value.
    ///
    /// # Errors
    /// Those of the query.
    fn in_subquery(&mut self, operand: Expression, query: &Query, negated: bool) -> Result<Expression>;
    /// A window function.
    ///
    /// # Errors
    /// 1235 where there may be none.
    fn window(&mut self, call: WindowCall) -> Result<usize>;
    /// What a name stands for in OVER.
    ///
    /// # Errors
    /// 3579 when there is no such window.
    fn named_window(&mut self, name: &Ident) -> Result<WindowSpec>;
}

/// What names mean.
pub struct Scope<'a> {
    /// The table, if the statement has one.
    pub table: Option<&'a TableInfo>,
    /// What the table is called in the statement.
    pub alias: &'a str,
    /// Clause that is compiled, for messages.
    pub place: &'static str,
    /// Where aggregates are collected; `None` where there may be none.
    pub aggregates: Option<Vec<AggregateCall>>,
    /// Whether `VALUES(column)` may be used.
    pub proposed: bool,
    /// What the row is called that INSERT would have written: `INSERT … AS alias`. Empty for nothing.
    pub row_alias: &'a str,
    /// Names of the result that stand for their expressions, as in HAVING.
    pub names: Vec<(String, Expression)>,
    /// In place of one table, what the query engine knows.
    pub outside: Option<&'a mut dyn Outside>,
}

impl<'a> Scope<'a> {
    /// The columns of a table.
    pub fn of(table: &'a TableInfo, alias: &'a str, place: &'static str) -> Scope<'a> {
        Scope {
            table: Some(table),
            alias,
            place,
            aggregates: None,
            proposed: false,
            row_alias: "",
            names: Vec::new(),
            outside: None,
        }
    }

    /// Without columns.
    pub fn empty(place: &'static str) -> Scope<'a> {
        Scope {
            table: None,
            alias: "",
            place,
            aggregates: None,
            proposed: false,
            row_alias: "",
            names: Vec::new(),
            outside: None,
        }
    }

    fn column(&mut self, qualifier: &[Ident], name: &Ident) -> Result<usize> {
        if let Some(outside) = self.outside.as_deref_mut() {
            return outside.column(qualifier, name, self.place);
        }
        let shown = || {
            let names: Vec<&str> = qualifier.iter().chain([name]).map(|part| part.value.as_str()).collect();
            SqlError::no_column(&names.join("."), self.place)
        };
        let table = self.table.ok_or_else(shown)?;
        let fits = match qualifier {
            [] => true,
            [alias] => alias.value == self.alias,
            [database, alias] => database.value == table.database() && alias.value == self.alias,
            _ => false,
        };
        let index = table.definition().column_index(&name.value).filter(|_| fits);
        index.map(usize::from).ok_or_else(shown)
    }
}

fn boxed(expression: &Expr, scope: &mut Scope<'_>) -> Result<Box<Expression>> {
    compile(expression, scope).map(Box::new)
}

fn list(expressions: &[Expr], scope: &mut Scope<'_>) -> Result<Vec<Expression>> {
    expressions.iter().map(|expression| compile(expression, scope)).collect()
}

fn negated(expression: Expression, negated: bool) -> Expression {
    if negated { Expression::Not(Box::new(expression)) } else { expression }
}

/// Compiles an expression.
///
/// # Errors
/// 1054 for unknown columns, 1305 for unknown functions, 1235 for what is not supported.
pub fn compile(expression: &Expr, scope: &mut Scope<'_>) -> Result<Expression> {
    Ok(match expression {
        Expr::Nested(inner) => compile(inner, scope)?,
        Expr::Value(value) => match &value.value {
            ast::Value::Placeholder(name) => match name.trim_start_matches('?').parse() {
                Ok(index) => Expression::Parameter(index),
                Err(_) => return Err(SqlError::syntax(format!("'{name}' is no parameter; write ?"))),
            },
            value => Expression::Constant(literal(value)?),
        },
        Expr::Identifier(name) if name.quote_style.is_none() && name.value.starts_with('@') => {
            variable(&[name])?
        }
        Expr::Identifier(name) => {
            match scope.names.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name.value)) {
                Some((_, item)) => item.clone(),
                None => Expression::Column(scope.column(&[], name)?),
            }
        }
        Expr::CompoundIdentifier(names)
            if names[0].quote_style.is_none() && names[0].value.starts_with('@') =>
        {
            variable(&names.iter().collect::<Vec<_>>())?
        }
        Expr::CompoundIdentifier(names) => match names.split_last() {
            Some((name, [alias])) if !scope.row_alias.is_empty() && alias.value == scope.row_alias => {
                Expression::Proposed(scope.column(&[], name)?)
            }
            Some((name, qualifier)) => Expression::Column(scope.column(qualifier, name)?),
            None => return not_supported("names without parts"),
        },
        Expr::IsNull(inner) => Expression::IsNull(boxed(inner, scope)?),
        Expr::IsNotNull(inner) => negated(Expression::IsNull(boxed(inner, scope)?), true),
        Expr::IsUnknown(inner) => Expression::IsNull(boxed(inner, scope)?),
        Expr::IsNotUnknown(inner) => negated(Expression::IsNull(boxed(inner, scope)?), true),
        Expr::IsTrue(inner) => Expression::IsTruth(boxed(inner, scope)?, true),
        Expr::IsFalse(inner) => Expression::IsTruth(boxed(inner, scope)?, false),
        Expr::IsNotTrue(inner) => negated(Expression::IsTruth(boxed(inner, scope)?, true), true),
        Expr::IsNotFalse(inner) => negated(Expression::IsTruth(boxed(inner, scope)?, false), true),
        Expr::InList { expr, list: items, negated: not } => {
            let first = compile(expr, scope)?;
            let width = if let Expression::Tuple(parts) = &first { parts.len() } else { 1 };
            let items = list(items, scope)?;
            for item in &items {
                let has = if let Expression::Tuple(parts) = item { parts.len() } else { 1 };
                if has != width {
                    return Err(SqlError::operand_columns(format!(
                        "Operand should contain {width} column(s)"
                    )));
                }
            }
            negated(Expression::In(Box::new(first), items), *not)
        }
        Expr::Between { expr, negated: not, low, high } => {
            let value = compile(expr, scope)?;
            if let Expression::Tuple(_) = value {
                return Err(SqlError::operand_columns("Operand should contain 1 column(s)"));
            }
            if value.has_random() {
                return not_supported("BETWEEN of a random value");
            }
            may_be_copied(&value, 1)?;
            let low =
                Expression::Compare(Comparison::GreaterOrEqual, Box::new(value.clone()), boxed(low, scope)?);
            let high = Expression::Compare(Comparison::LessOrEqual, Box::new(value), boxed(high, scope)?);
            negated(Expression::And(Box::new(low), Box::new(high)), *not)
        }
        Expr::Like { negated: not, any: false, expr, pattern, escape_char } => {
            let escape = match escape_char.as_deref() {
                None => '\\',
                Some(Expr::Value(value)) => match &value.value {
                    ast::Value::SingleQuotedString(text) if text.chars().count() == 1 => {
                        text.chars().next().unwrap_or('\\')
                    }
                    _ => return Err(SqlError::wrong_arguments("Incorrect arguments to ESCAPE")),
                },
                Some(_) => return not_supported("ESCAPE with an expression"),
            };
            negated(Expression::Like(boxed(expr, scope)?, boxed(pattern, scope)?, escape), *not)
        }
        Expr::UnaryOp { op, expr } => match op {
            UnaryOperator::Plus => compile(expr, scope)?,
            UnaryOperator::Not | UnaryOperator::BangNot => Expression::Not(boxed(expr, scope)?),
            UnaryOperator::Minus => match operand(expr, scope)? {
                Expression::Constant(value) if value != Value::Null => {
                    Expression::Constant(crate::value::arithmetic::negate(&value)?)
                }
                inner => Expression::Negate(Box::new(inner)),
            },
            UnaryOperator::BitwiseNot => Expression::Call(Function::BitNot, vec![operand(expr, scope)?]),
            other => return not_supported(&format!("the operator {other}")),
        },
        Expr::BinaryOp { left, op, right } => binary(left, op, right, scope)?,
        Expr::Tuple(parts) => match parts.as_slice() {
            [single] => compile(single, scope)?,
            parts => Expression::Tuple(list(parts, scope)?),
        },
        Expr::Case { operand, conditions, else_result, .. } => {
            let operand = operand.as_deref().map(|operand| compile(operand, scope)).transpose()?;
            if operand.as_ref().is_some_and(Expression::has_random) {
                return not_supported("CASE of a random value");
            }
            if let Some(operand) = &operand {
                may_be_copied(operand, conditions.len())?;
            }
            let mut cases = Vec::with_capacity(conditions.len());
            for case in conditions {
                let condition = compile(&case.condition, scope)?;
                let condition = match &operand {
                    Some(operand) => {
                        Expression::Compare(Comparison::Equal, Box::new(operand.clone()), Box::new(condition))
                    }
                    None => condition,
                };
                cases.push((condition, compile(&case.result, scope)?));
            }
            let otherwise = match else_result {
                Some(result) => compile(result, scope)?,
                None => Expression::Constant(Value::Null),
            };
            Expression::Case(cases, Box::new(otherwise))
        }
        Expr::Cast { kind: CastKind::Cast, expr, data_type, format: None } => {
            Expression::Cast(boxed(expr, scope)?, cast_type(data_type)?)
        }
        Expr::Convert { is_try: false, expr, data_type: Some(data_type), charset: None, .. } => {
            Expression::Cast(boxed(expr, scope)?, cast_type(data_type)?)
        }
        Expr::Convert { is_try: false, expr, data_type: None, charset: Some(charset), .. }
            if charset.to_string().to_ascii_lowercase().starts_with("utf8") =>
        {
            Expression::Cast(boxed(expr, scope)?, ColumnType::Varchar { characters: u32::MAX })
        }
        Expr::TypedString(typed) => {
            let value = literal(&typed.value.value)?;
            let Value::Text(text) = &value else { return not_supported("this typed literal") };
            let wrong = |kind: &str| SqlError::incorrect_value(format!("Incorrect {kind} value: '{text}'"));
            Expression::Constant(match typed.data_type {
                DataType::Date => match parse_moment(text) {
                    Some((moment, false)) => Value::Date(moment.div_euclid(MICROSECONDS_PER_DAY) as i32),
                    _ => return Err(wrong("DATE")),
                },
                DataType::Time(..) => Value::Time(parse_time(text).ok_or_else(|| wrong("TIME"))?),
                DataType::Timestamp(..) | DataType::Datetime(_) => {
                    Value::DateTime(parse_moment(text).ok_or_else(|| wrong("DATETIME"))?.0)
                }
                _ => return not_supported("this typed literal"),
            })
        }
        Expr::Prefixed { prefix, value } if prefix.value.to_ascii_lowercase().starts_with("_utf8") => {
            compile(value, scope)?
        }
        Expr::Prefixed { prefix, value } if prefix.value.eq_ignore_ascii_case("_binary") => {
            Expression::Cast(boxed(value, scope)?, ColumnType::Varbinary { bytes: u32::MAX })
        }
        Expr::Collate { expr, collation } => {
            let name = collation.to_string().to_ascii_lowercase();
            if !matches!(name.as_str(), "utf8mb4_bin" | "utf8mb4_nopad_bin" | "utf8mb4_0900_bin" | "binary") {
                return not_supported("collations other than the binary one");
            }
            compile(expr, scope)?
        }
        Expr::Function(function) => call(function, scope)?,
        Expr::Ceil { expr, .. } => Expression::Call(Function::Ceiling, vec![compile(expr, scope)?]),
        Expr::Floor { expr, .. } => Expression::Call(Function::Floor, vec![compile(expr, scope)?]),
        Expr::Position { expr, r#in } => {
            Expression::Call(Function::Locate, vec![compile(expr, scope)?, compile(r#in, scope)?])
        }
        Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
            let mut arguments = vec![compile(expr, scope)?, compile(from, scope)?];
            if let Some(length) = substring_for {
                arguments.push(compile(length, scope)?);
            }
            Expression::Call(Function::Substring, arguments)
        }
        Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
            let function = match (trim_where, trim_what) {
                (None | Some(TrimWhereField::Both), None) => Function::Trim,
                (Some(TrimWhereField::Leading), None) => Function::TrimLeft,
                (Some(TrimWhereField::Trailing), None) => Function::TrimRight,
                (None | Some(TrimWhereField::Both), Some(_)) => Function::TrimBoth,
                (Some(TrimWhereField::Leading), Some(_)) => Function::TrimStart,
                (Some(TrimWhereField::Trailing), Some(_)) => Function::TrimEnd,
            };
            let mut arguments = vec![compile(expr, scope)?];
            if let Some(what) = trim_what {
                arguments.push(compile(what, scope)?);
            }
            Expression::Call(function, arguments)
        }
        Expr::Extract { field, expr, .. } => {
            let unit = Expression::Constant(Value::Text(field.to_string().to_ascii_uppercase()));
            Expression::Call(Function::Extract, vec![unit, compile(expr, scope)?])
        }
        Expr::RLike { negated: not, expr, pattern, .. } => {
            let arguments = vec![compile(expr, scope)?, compile(pattern, scope)?];
            negated(Expression::Call(Function::Matches, arguments), *not)
        }
        Expr::InSubquery { expr, subquery, negated } => {
            let operand = compile(expr, scope)?;
            outside(scope)?.in_subquery(operand, subquery, *negated)?
        }
        Expr::Exists { subquery, negated: not } => negated(outside(scope)?.exists(subquery)?, *not),
        Expr::Subquery(query) => {
            let place = scope.place;
            outside(scope)?.subquery(query, place)?
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            let operand = compile(left, scope)?;
            outside(scope)?.in_subquery(operand, quantified(right)?, false)?
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
            let operand = compile(left, scope)?;
            outside(scope)?.in_subquery(operand, quantified(right)?, true)?
        }
        Expr::Interval(_) => {
            return Err(SqlError::syntax("INTERVAL is added to a moment, or taken from one"));
        }
        other => {
            let shown: String = other.to_string().chars().take(80).collect();
            return not_supported(&format!("the expression {shown}"));
        }
    })
}

/// What is outside of one table, where statements may go there.
fn outside<'s>(scope: &'s mut Scope<'_>) -> Result<&'s mut dyn Outside> {
    match scope.outside.as_deref_mut() {
        Some(outside) => Ok(outside),
        None => not_supported("subqueries"),
    }
}

fn quantified(expression: &Expr) -> Result<&Query> {
    match expression {
        Expr::Subquery(query) => Ok(query),
        Expr::Nested(inner) => quantified(inner),
        _ => not_supported("ANY and ALL of anything but a subquery"),
    }
}

/// `@@name`, `@@session.name`, `@name`.
fn variable(names: &[&Ident]) -> Result<Expression> {
    let first = names[0].value.as_str();
    if let Some(system) = first.strip_prefix("@@") {
        let name = match (system.to_ascii_lowercase().as_str(), &names[1..]) {
            ("session" | "global" | "local", [name]) => name.value.to_ascii_lowercase(),
            (name, []) => name.to_owned(),
            _ => return Err(SqlError::unknown_variable(format!("Unknown system variable '{system}'"))),
        };
        crate::variables::Variables::check(&name)?;
        return Ok(Expression::SystemVariable(name));
    }
    match names {
        [name] => Ok(Expression::UserVariable(name.value[1..].to_ascii_lowercase())),
        _ => Err(SqlError::syntax("a user variable has one name")),
    }
}

/// A moment moved by an interval.
fn moved(
    function: Function,
    moment: &Expr,
    interval: &ast::Interval,
    scope: &mut Scope<'_>,
) -> Result<Expression> {
    let unit = interval.leading_field.as_ref().map(ToString::to_string).unwrap_or_default();
    let (moment, amount) = (compile(moment, scope)?, compile(&interval.value, scope)?);
    moved_by(function, moment, amount, &unit)
}

/// The same of parts that are compiled.
fn moved_by(function: Function, moment: Expression, amount: Expression, unit: &str) -> Result<Expression> {
    if Unit::named(unit).is_none() {
        return Err(SqlError::syntax(format!("'{unit}' is no unit of time")));
    }
    let unit = Expression::Constant(Value::Text(unit.to_ascii_uppercase()));
    Ok(Expression::Call(function, vec![moment, amount, unit]))
}

/// What is compared several times may be long, or be copied often, but not both: whoever nests such expressions would get one that has twice
/// the size with each level.
fn may_be_copied(expression: &Expression, copies: usize) -> Result<()> {
    /// Parts that may be copied once.
    const MOST: usize = 256;
    /// Parts that may be copied any number of times.
    const FEW: usize = 4;
    /// Parts that may be copied of what has more.
    const MOST_COPIES: usize = 10_000;
    let mut parts: usize = 0;
    expression.walk(&mut |part| {
        parts += 1;
        if let Expression::Constant(value) = part {
            parts += content_bytes(value) / 64;
        }
    });
    if parts > MOST || (parts > FEW && parts.saturating_mul(copies) > MOST_COPIES) {
        let message = "what BETWEEN or CASE compares is too long an expression: put it into a derived table";
        return Err(SqlError::nested_too_deeply(message));
    }
    Ok(())
}

/// An operand of arithmetic: literals of bits and bytes are numbers there.
fn operand(expression: &Expr, scope: &mut Scope<'_>) -> Result<Expression> {
    if let Expr::Value(value) = expression
        && let ast::Value::HexStringLiteral(_) | ast::Value::SingleQuotedByteStringLiteral(_) = &value.value
        && let Value::Bytes(bytes) = literal(&value.value)?
    {
        let tail = &bytes[bytes.len().saturating_sub(8)..];
        let number = tail.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        return Ok(Expression::Constant(Value::UInt(number)));
    }
    compile(expression, scope)
}

fn binary(left: &Expr, operator: &BinaryOperator, right: &Expr, scope: &mut Scope<'_>) -> Result<Expression> {
    match (left, operator, right) {
        (moment, BinaryOperator::Plus, Expr::Interval(interval))
        | (Expr::Interval(interval), BinaryOperator::Plus, moment) => {
            return moved(Function::AddInterval, moment, interval, scope);
        }
        (moment, BinaryOperator::Minus, Expr::Interval(interval)) => {
            return moved(Function::SubtractInterval, moment, interval, scope);
        }
        _ => {}
    }
    let of_numbers = matches!(
        operator,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::MyIntegerDivide
            | BinaryOperator::BitwiseAnd
            | BinaryOperator::BitwiseOr
            | BinaryOperator::BitwiseXor
            | BinaryOperator::PGBitwiseShiftLeft
            | BinaryOperator::PGBitwiseShiftRight
    );
    if of_numbers {
        let (a, b) = (Box::new(operand(left, scope)?), Box::new(operand(right, scope)?));
        let operator = match operator {
            BinaryOperator::Plus => Operator::Add,
            BinaryOperator::Minus => Operator::Subtract,
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            BinaryOperator::Modulo => Operator::Modulo,
            BinaryOperator::BitwiseAnd => Operator::BitAnd,
            BinaryOperator::BitwiseOr => Operator::BitOr,
            BinaryOperator::BitwiseXor => Operator::BitXor,
            BinaryOperator::PGBitwiseShiftLeft => Operator::ShiftLeft,
            BinaryOperator::PGBitwiseShiftRight => Operator::ShiftRight,
            _ => Operator::IntegerDivide,
        };
        return Ok(Expression::Arithmetic(operator, a, b));
    }
    let (a, b) = (compile(left, scope)?, compile(right, scope)?);
    let (a, b) = (Box::new(a), Box::new(b));
    let compare = |comparison, a: Box<Expression>, b: Box<Expression>| {
        let width = |side: &Expression| if let Expression::Tuple(parts) = side { parts.len() } else { 1 };
        match width(&a) == width(&b) {
            true => Ok(Expression::Compare(comparison, a, b)),
            false => {
                Err(SqlError::operand_columns(format!("Operand should contain {} column(s)", width(&a))))
            }
        }
    };
    Ok(match operator {
        BinaryOperator::Eq => compare(Comparison::Equal, a, b)?,
        BinaryOperator::NotEq => compare(Comparison::NotEqual, a, b)?,
        BinaryOperator::Lt => compare(Comparison::Less, a, b)?,
        BinaryOperator::LtEq => compare(Comparison::LessOrEqual, a, b)?,
        BinaryOperator::Gt => compare(Comparison::Greater, a, b)?,
        BinaryOperator::GtEq => compare(Comparison::GreaterOrEqual, a, b)?,
        BinaryOperator::Spaceship => compare(Comparison::NullSafeEqual, a, b)?,
        BinaryOperator::And => Expression::And(a, b),
        BinaryOperator::Or | BinaryOperator::StringConcat => Expression::Or(a, b),
        BinaryOperator::Arrow => Expression::Call(Function::JsonExtract, vec![*a, *b]),
        BinaryOperator::LongArrow => Expression::Call(Function::JsonExtractText, vec![*a, *b]),
        BinaryOperator::Xor => Expression::Xor(a, b),
        other => return not_supported(&format!("the operator {other}")),
    })
}

fn cast_type(data_type: &DataType) -> Result<ColumnType> {
    Ok(match data_type {
        DataType::Signed | DataType::SignedInteger => ColumnType::BigInt,
        DataType::Unsigned | DataType::UnsignedInteger => ColumnType::BigIntUnsigned,
        DataType::Binary(None) => ColumnType::Varbinary { bytes: u32::MAX },
        DataType::Char(None) | DataType::Character(None) => ColumnType::Varchar { characters: u32::MAX },
        other => crate::plan::column_type(other)?,
    })
}

/// What a call is given.
#[derive(Default)]
struct Given<'e> {
    arguments: Vec<&'e Expr>,
    /// `*`
    wildcard: bool,
    distinct: bool,
    /// ORDER BY within the call.
    order: &'e [ast::OrderByExpr],
    separator: Option<&'e ast::Value>,
}

fn given<'e>(function: &'e ast::Function, name: &str) -> Result<Given<'e>> {
    let plain =
        function.filter.is_none() && function.within_group.is_empty() && function.null_treatment.is_none();
    if !plain || !matches!(function.parameters, FunctionArguments::None) {
        return not_supported(&format!("{name} with FILTER, WITHIN GROUP or NULLS"));
    }
    let mut given = Given::default();
    let list = match &function.args {
        FunctionArguments::None => return Ok(given),
        FunctionArguments::Subquery(_) => return not_supported(&format!("a subquery in {name}")),
        FunctionArguments::List(list) => list,
    };
    given.distinct = list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
    for clause in &list.clauses {
        match clause {
            FunctionArgumentClause::OrderBy(order) => given.order = order,
            FunctionArgumentClause::Separator(separator) => given.separator = Some(separator),
            other => return not_supported(&format!("{other} in {name}")),
        }
    }
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => given.arguments.push(argument),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => given.wildcard = true,
            other => return not_supported(&format!("{name}({other})")),
        }
    }
    Ok(given)
}

fn call(function: &ast::Function, scope: &mut Scope<'_>) -> Result<Expression> {
    let name = function.name.to_string().replace('`', "").to_ascii_uppercase();
    let given = given(function, &name)?;
    // An average is made of a sum and a count.
    let is_average = name == "AVG";
    let aggregate = match AggregateFunction::named(if is_average { "SUM" } else { &name }) {
        // JSON_ARRAYAGG and JSON_OBJECTAGG.
        None if name.ends_with("AGG") && name.starts_with("JSON_") => return not_supported(&name),
        aggregate => aggregate,
    };
    if aggregate != Some(AggregateFunction::Concatenation)
        && (!given.order.is_empty() || given.separator.is_some())
    {
        return not_supported(&format!("ORDER BY and SEPARATOR in {name}"));
    }
    if let Some(over) = &function.over {
        let (window, counts) = match aggregate {
            Some(_) if given.distinct => return not_supported("DISTINCT in window functions"),
            Some(AggregateFunction::Concatenation) => return not_supported("GROUP_CONCAT with OVER"),
            Some(aggregate) => {
                let window =
                    if is_average { WindowFunction::Average } else { WindowFunction::Aggregate(aggregate) };
                (window, usize::from(!given.wildcard)..=1)
            }
            None => WindowFunction::named(&name).ok_or_else(|| unknown_function(&name))?,
        };
        if !counts.contains(&given.arguments.len()) {
            return Err(wrong_count(&name));
        }
        let arguments = compiled(&given.arguments, scope)?;
        return compile_window(window, arguments, over, scope);
    }
    if let Some(aggregate) = aggregate {
        return aggregate_call(aggregate, is_average, &name, &given, scope);
    }
    if given.wildcard || given.distinct {
        return Err(SqlError::syntax(format!("{name} takes no * and no DISTINCT")));
    }
    special_call(&name, &given.arguments, scope)?.map_or_else(
        || {
            let Some((known, counts)) = Function::named(&name) else { return Err(unknown_function(&name)) };
            if !counts.contains(&given.arguments.len()) {
                return Err(wrong_count(&name));
            }
            let mut arguments = compiled(&given.arguments, scope)?;
            if known.takes_truths() {
                for (argument, written) in arguments.iter_mut().zip(&given.arguments) {
                    if let Some(truth) = truth_literal(written) {
                        *argument = Expression::Constant(Value::Bool(truth));
                    }
                }
            }
            Ok(Expression::Call(known, arguments))
        },
        Ok,
    )
}

fn compiled(arguments: &[&Expr], scope: &mut Scope<'_>) -> Result<Vec<Expression>> {
    arguments.iter().map(|argument| compile(argument, scope)).collect()
}

/// What the literals TRUE and FALSE are, which are numbers to most functions.
fn truth_literal(mut expression: &Expr) -> Option<bool> {
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    match expression {
        Expr::Value(value) => match value.value {
            ast::Value::Boolean(truth) => Some(truth),
            _ => None,
        },
        _ => None,
    }
}

fn unknown_function(name: &str) -> SqlError {
    SqlError::unknown_function(format!("FUNCTION {name} does not exist, or is not supported yet"))
}

/// Calls whose arguments are no expressions all of them: units of time, intervals, columns of VALUES.
fn special_call(name: &str, arguments: &[&Expr], scope: &mut Scope<'_>) -> Result<Option<Expression>> {
    let unit_of = |unit: &Expr| match unit {
        Expr::Identifier(unit) if Unit::named(&unit.value).is_some() => Ok(unit.value.to_ascii_uppercase()),
        other => Err(SqlError::syntax(format!("'{other}' is no unit of time"))),
    };
    Ok(Some(match (name, arguments) {
        ("DATE_ADD" | "ADDDATE", [moment, Expr::Interval(interval)]) => {
            moved(Function::AddInterval, moment, interval, scope)?
        }
        ("DATE_SUB" | "SUBDATE", [moment, Expr::Interval(interval)]) => {
            moved(Function::SubtractInterval, moment, interval, scope)?
        }
        ("ADDDATE" | "SUBDATE", [moment, days]) => {
            let function = match name {
                "ADDDATE" => Function::AddInterval,
                _ => Function::SubtractInterval,
            };
            let (moment, days) = (compile(moment, scope)?, compile(days, scope)?);
            moved_by(function, moment, days, "DAY")?
        }
        ("DATE_ADD" | "DATE_SUB", [_, _]) => {
            return Err(SqlError::syntax(format!("the second argument of {name} is an INTERVAL")));
        }
        ("DATE_ADD" | "DATE_SUB" | "ADDDATE" | "SUBDATE", _) => return Err(wrong_count(name)),
        ("TIMESTAMPADD", [unit, amount, moment]) => {
            let unit = unit_of(unit)?;
            let (amount, moment) = (compile(amount, scope)?, compile(moment, scope)?);
            moved_by(Function::AddInterval, moment, amount, &unit)?
        }
        ("TIMESTAMPDIFF", [unit, from, to]) => {
            let unit = Expression::Constant(Value::Text(unit_of(unit)?));
            let arguments = vec![unit, compile(from, scope)?, compile(to, scope)?];
            Expression::Call(Function::DifferenceInUnits, arguments)
        }
        ("TIMESTAMPADD" | "TIMESTAMPDIFF", _) => return Err(wrong_count(name)),
        ("VALUES", [argument]) if scope.proposed => match compile(argument, scope)? {
            Expression::Column(index) => Expression::Proposed(index),
            _ => return Err(SqlError::syntax("VALUES takes a column")),
        },
        ("VALUES", _) => return not_supported("VALUES() outside of ON DUPLICATE KEY UPDATE"),
        ("LAST_INSERT_ID", [argument]) => {
            let number = Expression::Cast(Box::new(compile(argument, scope)?), ColumnType::BigIntUnsigned);
            Expression::Call(Function::LastInsertId, vec![number])
        }
        ("RAND", [_]) => return not_supported("RAND with a seed"),
        _ => return Ok(None),
    }))
}

fn aggregate_call(
    function: AggregateFunction,
    is_average: bool,
    name: &str,
    given: &Given<'_>,
    scope: &mut Scope<'_>,
) -> Result<Expression> {
    let Some(mut calls) = scope.aggregates.take() else {
        return Err(SqlError::invalid_aggregate("Invalid use of group function"));
    };
    // Aggregates of aggregates: there is nowhere to collect them.
    let call = aggregate_of(function, name, given, scope)?;
    let mut collected = |call: AggregateCall| {
        let index = calls.iter().position(|known| *known == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        Expression::Aggregate(index)
    };
    let result = match is_average {
        true => {
            let sum = collected(call.clone());
            let count = collected(AggregateCall { function: AggregateFunction::Count, ..call });
            Expression::average(sum, count)
        }
        false => collected(call),
    };
    scope.aggregates = Some(calls);
    Ok(result)
}

fn aggregate_of(
    function: AggregateFunction,
    name: &str,
    given: &Given<'_>,
    scope: &mut Scope<'_>,
) -> Result<AggregateCall> {
    let mut arguments = compiled(&given.arguments, scope)?;
    let mut listing = None;
    let argument = match (arguments.len(), given.wildcard, function) {
        (0, true, AggregateFunction::Count) if !given.distinct => None,
        (1.., false, AggregateFunction::Concatenation) => {
            let content = match arguments.len() {
                1 => arguments.remove(0),
                _ => Expression::Call(Function::Concat, arguments),
            };
            let mut parts = vec![content];
            let mut down = Vec::new();
            for part in given.order {
                // A number is the place of an argument.
                let key = match &part.expr {
                    Expr::Value(value) => match &value.value {
                        ast::Value::Number(text, _) => {
                            let place = text.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
                            match place.and_then(|place| given.arguments.get(place)) {
                                Some(argument) => compile(argument, scope)?,
                                None => return Err(SqlError::no_column(text, "order clause")),
                            }
                        }
                        _ => compile(&part.expr, scope)?,
                    },
                    other => compile(other, scope)?,
                };
                parts.push(key);
                down.push(matches!(part.options.sort, Some(ast::OrderBySort::Desc)));
            }
            let separator = match given.separator {
                None => ",".to_owned(),
                Some(separator) => crate::value::format::text(&literal(separator)?),
            };
            listing = Some(Listing { separator, down });
            Some(Expression::Call(Function::Packed, parts))
        }
        (1, false, _) => Some(arguments.remove(0)),
        (2.., false, AggregateFunction::Count) if given.distinct => {
            Some(Expression::Call(Function::Distinct, arguments))
        }
        (_, true, _) => return Err(SqlError::syntax(format!("{name} of * is not known"))),
        _ => return Err(SqlError::syntax(format!("{name} takes one argument"))),
    };
    Ok(AggregateCall { function, argument, distinct: given.distinct, listing })
}

pub(super) fn wrong_count(name: &str) -> SqlError {
    SqlError {
        code: 1582,
        state: "42000",
        message: format!("Incorrect parameter count in the call to native function '{name}'"),
    }
}
