//! From the syntax tree to expressions that can be evaluated.

use super::window::{WindowCall, WindowFunction, compile_window};
use super::{AggregateCall, AggregateFunction, Comparison, Expression, Function};
use crate::error::{Result, SqlError, not_supported};
use crate::value::arithmetic::Operator;
use crate::value::calendar::{parse_moment, parse_time};
use crate::value::literal::literal;
use duet_client::{ColumnType, TableInfo, Value};
use duet_protocol::value::MICROSECONDS_PER_DAY;
use sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    Query, UnaryOperator, WindowSpec,
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
            UnaryOperator::Minus => match compile(expr, scope)? {
                Expression::Constant(value) if value != Value::Null => {
                    Expression::Constant(crate::value::arithmetic::negate(&value)?)
                }
                inner => Expression::Negate(Box::new(inner)),
            },
            other => return not_supported(&format!("the operator {other}")),
        },
        Expr::BinaryOp { left, op, right } => binary(left, op, right, scope)?,
        Expr::Tuple(parts) => match parts.as_slice() {
            [single] => compile(single, scope)?,
            parts => Expression::Tuple(list(parts, scope)?),
        },
        Expr::Case { operand, conditions, else_result, .. } => {
            let operand = operand.as_deref().map(|operand| compile(operand, scope)).transpose()?;
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
        Expr::Trim { trim_where: None, trim_what: None, expr, trim_characters: None } => {
            Expression::Call(Function::Trim, vec![compile(expr, scope)?])
        }
        Expr::Extract { field, expr, .. } => {
            let name = field.to_string().to_ascii_uppercase();
            match Function::named(&name) {
                Some((
                    function @ (Function::Year
                    | Function::Month
                    | Function::Day
                    | Function::Hour
                    | Function::Minute
                    | Function::Second),
                    _,
                )) => Expression::Call(function, vec![compile(expr, scope)?]),
                _ => return not_supported(&format!("EXTRACT({name} …)")),
            }
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
        Expr::Interval(_) => return not_supported("INTERVAL"),
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

fn binary(left: &Expr, operator: &BinaryOperator, right: &Expr, scope: &mut Scope<'_>) -> Result<Expression> {
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
        BinaryOperator::Plus => Expression::Arithmetic(Operator::Add, a, b),
        BinaryOperator::Minus => Expression::Arithmetic(Operator::Subtract, a, b),
        BinaryOperator::Multiply => Expression::Arithmetic(Operator::Multiply, a, b),
        BinaryOperator::Divide => Expression::Arithmetic(Operator::Divide, a, b),
        BinaryOperator::Modulo => Expression::Arithmetic(Operator::Modulo, a, b),
        BinaryOperator::MyIntegerDivide => Expression::Arithmetic(Operator::IntegerDivide, a, b),
        BinaryOperator::Eq => compare(Comparison::Equal, a, b)?,
        BinaryOperator::NotEq => compare(Comparison::NotEqual, a, b)?,
        BinaryOperator::Lt => compare(Comparison::Less, a, b)?,
        BinaryOperator::LtEq => compare(Comparison::LessOrEqual, a, b)?,
        BinaryOperator::Gt => compare(Comparison::Greater, a, b)?,
        BinaryOperator::GtEq => compare(Comparison::GreaterOrEqual, a, b)?,
        BinaryOperator::Spaceship => compare(Comparison::NullSafeEqual, a, b)?,
        BinaryOperator::And => Expression::And(a, b),
        BinaryOperator::Or => Expression::Or(a, b),
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

fn call(function: &ast::Function, scope: &mut Scope<'_>) -> Result<Expression> {
    let name = function.name.to_string().replace('`', "").to_ascii_uppercase();
    let plain =
        function.filter.is_none() && function.within_group.is_empty() && function.null_treatment.is_none();
    if !plain || !matches!(function.parameters, FunctionArguments::None) {
        return not_supported(&format!("this form of {name}"));
    }
    let (mut wildcard, mut distinct) = (false, false);
    let mut arguments = Vec::new();
    match &function.args {
        FunctionArguments::None => {}
        FunctionArguments::Subquery(_) => return not_supported("subqueries"),
        FunctionArguments::List(given) => {
            distinct = given.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
            if !given.clauses.is_empty() {
                return not_supported(&format!("this form of {name}"));
            }
            for argument in &given.args {
                match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => arguments.push(argument),
                    FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => wildcard = true,
                    _ => return not_supported(&format!("this form of {name}")),
                }
            }
        }
    }
    let aggregate = match name.as_str() {
        "COUNT" => Some(AggregateFunction::Count),
        "SUM" => Some(AggregateFunction::Sum),
        "AVG" => Some(AggregateFunction::Average),
        "MIN" => Some(AggregateFunction::Minimum),
        "MAX" => Some(AggregateFunction::Maximum),
        "GROUP_CONCAT" | "STD" | "STDDEV" | "STDDEV_POP" | "STDDEV_SAMP" | "VARIANCE" | "VAR_POP"
        | "VAR_SAMP" | "BIT_AND" | "BIT_OR" | "BIT_XOR" | "JSON_ARRAYAGG" | "JSON_OBJECTAGG"
        | "ANY_VALUE" => {
            return not_supported(&name);
        }
        _ => None,
    };
    if let Some(over) = &function.over {
        let (window, counts) = match aggregate {
            Some(_) if distinct => return not_supported("DISTINCT in window functions"),
            Some(aggregate) => (WindowFunction::Aggregate(aggregate), usize::from(!wildcard)..=1),
            None => WindowFunction::named(&name)
                .ok_or_else(|| SqlError::unknown_function(format!("FUNCTION {name} does not exist")))?,
        };
        if !counts.contains(&arguments.len()) {
            return Err(wrong_count(&name));
        }
        let arguments =
            arguments.into_iter().map(|argument| compile(argument, scope)).collect::<Result<_>>()?;
        return compile_window(window, arguments, over, scope);
    }
    if let Some(aggregate) = aggregate {
        let argument = match (arguments.as_slice(), wildcard, aggregate) {
            ([], true, AggregateFunction::Count) if !distinct => None,
            ([argument], false, _) => Some(*argument),
            _ => return not_supported(&format!("this form of {name}")),
        };
        let Some(mut calls) = scope.aggregates.take() else {
            return Err(SqlError::invalid_aggregate("Invalid use of group function"));
        };
        // Aggregates of aggregates: there is nowhere to collect them.
        let argument = argument.map(|argument| compile(argument, scope)).transpose()?;
        let call = AggregateCall { function: aggregate, argument, distinct };
        let index = calls.iter().position(|known| *known == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        scope.aggregates = Some(calls);
        return Ok(Expression::Aggregate(index));
    }
    if wildcard || distinct {
        return Err(SqlError::syntax(format!("{name} takes no * and no DISTINCT")));
    }
    if name == "VALUES" {
        return match (arguments.as_slice(), scope.proposed) {
            ([argument], true) => match compile(argument, scope)? {
                Expression::Column(index) => Ok(Expression::Proposed(index)),
                _ => Err(SqlError::syntax("VALUES takes a column")),
            },
            _ => not_supported("VALUES() outside of ON DUPLICATE KEY UPDATE"),
        };
    }
    let Some((known, counts)) = Function::named(&name) else {
        return Err(SqlError::unknown_function(format!(
            "FUNCTION {name} does not exist, or is not supported yet"
        )));
    };
    if !counts.contains(&arguments.len()) {
        return Err(wrong_count(&name));
    }
    let arguments = arguments.into_iter().map(|argument| compile(argument, scope)).collect::<Result<_>>()?;
    Ok(Expression::Call(known, arguments))
}

fn wrong_count(name: &str) -> SqlError {
    SqlError {
        code: 1582,
        state: "42000",
        message: format!("Incorrect parameter count in the call to native function '{name}'"),
    }
}
