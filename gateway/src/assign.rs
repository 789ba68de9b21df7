//! SET, and SELECT … INTO: values of variables.

use crate::error::{Result, SqlError, not_supported};
use crate::execute::read::Values;
use crate::expression::{Environment, Scope, compile};
use crate::nested;
use crate::plan::character_sets::{check_character_set, check_collation};
use crate::processes::WAIT_TIMEOUT_SECONDS;
use crate::session::{Outcome, Session};
use crate::statements::check_modes;
use crate::value::compare::exact;
use crate::value::format::text;
use crate::variables::Variables;
use crate::wire::results::Done;
use duet_client::Value;
use sqlparser::ast::{ContextModifier, Expr, ObjectName, Set, Statement};
use std::sync::Arc;

/// Most variables of a session, and most bytes of one.
const MOST_VARIABLES: (usize, usize) = (256, 64 << 10);

/// SELECT … INTO the user variables of these names.
///
/// # Errors
/// 1172 when there are several rows, 1222 when there are other columns than variables; those of the query.
pub async fn select_into(
    session: &mut Session,
    names: &[String],
    query: &Statement,
    parameters: &[Value],
) -> Result<Outcome> {
    let Statement::Query(query) = query else { return not_supported("INTO of this statement") };
    session.ready_for_rows()?;
    let (columns, mut rows) = nested::opened(session, query, parameters).await?;
    if columns != names.len() {
        return Err(SqlError::wrong_width("The used SELECT statements have a different number of columns"));
    }
    let mut found: Option<Values> = None;
    while let Some(chunk) = rows.next().await? {
        for row in chunk {
            if found.replace(row).is_some() {
                return Err(SqlError::several_rows("Result consisted of more than one row"));
            }
        }
    }
    let Some(row) = found else {
        session.warn(SqlError::no_data("No data - zero rows fetched, selected, or processed"));
        return Ok(Session::nothing());
    };
    for (name, value) in names.iter().zip(row) {
        assign_user_variable(session, name, value)?;
    }
    Ok(Outcome::Done(Done { affected: 1, ..Done::default() }))
}

/// Gives a user variable its value: whole numbers, decimals, doubles, texts and bytes stay what they are, all else is a text, as in MySQL.
fn assign_user_variable(session: &mut Session, name: &str, value: Value) -> Result<()> {
    let value = match value {
        Value::Bool(truth) => Value::Int(i64::from(truth)),
        Value::Float(number) => Value::Double(f64::from(number)),
        Value::Date(_)
        | Value::Time(_)
        | Value::DateTime(_)
        | Value::Timestamp(_)
        | Value::Json(_)
        | Value::Vector(_) => Value::Text(text(&value)),
        other => other,
    };
    let (most, most_bytes) = MOST_VARIABLES;
    let variables = &mut session.facts.user_variables;
    if text(&value).len() > most_bytes || (variables.len() >= most && !variables.contains_key(name)) {
        return Err(SqlError::out_of_memory("Out of memory; too many or too long user variables"));
    }
    variables.insert(name.to_owned(), value);
    Ok(())
}

/// Executes SET.
///
/// # Errors
/// Those of the values; 1193, 1231, 1235 and 1238 of the variables.
pub async fn set_variables(session: &mut Session, set: &Set, parameters: &[Value]) -> Result<Outcome> {
    match set {
        Set::SingleAssignment { scope, variable, values, .. } => {
            let [value] = values.as_slice() else { return not_supported("this form of SET") };
            let value = value_for(session, variable, value, parameters).await?;
            assign(session, *scope, variable, value).await?;
        }
        Set::MultipleAssignments { assignments } => {
            // As in MySQL no value sees what another one is assigned to.
            let mut values = Vec::with_capacity(assignments.len());
            for assignment in assignments {
                values.push(value_for(session, &assignment.name, &assignment.value, parameters).await?);
            }
            for (assignment, value) in assignments.iter().zip(values) {
                assign(session, assignment.scope, &assignment.name, value).await?;
            }
        }
        Set::SetNames { charset_name, collation_name } => {
            let name = charset_name.value.to_ascii_lowercase();
            if let Some(collation) = collation_name {
                check_collation(collation, &mut Vec::new())?;
            }
            if !matches!(name.as_str(), "utf8mb4" | "utf8" | "utf8mb3" | "ascii" | "default" | "binary") {
                check_character_set(&name, &mut Vec::new())?;
                return not_supported(&format!("the character set {name}; use utf8mb4"));
            }
        }
        Set::SetNamesDefault {} => {}
        Set::SetTransaction { modes, .. } => check_modes(modes)?,
        Set::SetTimeZone { value, .. } => {
            let name = ObjectName::from(vec![sqlparser::ast::Ident::new("time_zone")]);
            let value = value_for(session, &name, value, parameters).await?;
            assign(session, None, &name, value).await?;
        }
        _ => return not_supported("this form of SET"),
    }
    Ok(Session::nothing())
}

/// A variable as SET names it, in lower case.
fn name_of(variable: &ObjectName) -> String {
    let parts: Vec<String> = variable.0.iter().map(|part| part.to_string().replace('`', "")).collect();
    parts.join(".").to_ascii_lowercase()
}

/// The name of a user variable.
fn user_variable(name: &str) -> Option<&str> {
    name.strip_prefix('@').filter(|name| !name.starts_with('@'))
}

/// The value that SET gives a variable; `None` for DEFAULT. To system variables words are their own names.
async fn value_for(
    session: &mut Session,
    variable: &ObjectName,
    value: &Expr,
    parameters: &[Value],
) -> Result<Option<Value>> {
    if let Expr::Identifier(word) = value
        && !word.value.starts_with('@')
        && user_variable(&name_of(variable)).is_none()
    {
        return Ok(match word.value.eq_ignore_ascii_case("DEFAULT") {
            true => None,
            false => Some(Value::Text(word.value.clone())),
        });
    }
    evaluated(session, value, parameters).await.map(Some)
}

async fn evaluated(session: &mut Session, value: &Expr, parameters: &[Value]) -> Result<Value> {
    let (mut value, mut parameters) = (value.clone(), parameters.to_vec());
    if nested::has_query(&value) {
        session.ready_for_rows()?;
        let process = Arc::clone(&session.process);
        let replace = Box::pin(nested::replace(session, &mut value, &mut parameters));
        process.unless_killed(replace).await?;
    }
    let compiled = compile(&value, &mut Scope::empty("field list"))?;
    compiled.evaluate(&Environment::new(&parameters, &session.facts))
}

async fn assign(
    session: &mut Session,
    scope: Option<ContextModifier>,
    variable: &ObjectName,
    value: Option<Value>,
) -> Result<()> {
    let joined = name_of(variable);
    if let Some(name) = user_variable(&joined) {
        return assign_user_variable(session, name, value.unwrap_or_default());
    }
    let mut name = joined.trim_start_matches('@');
    let mut global = scope == Some(ContextModifier::Global);
    for (prefix, is_global) in [("session.", false), ("local.", false), ("global.", true)] {
        if let Some(rest) = name.strip_prefix(prefix) {
            name = rest;
            global |= is_global;
        }
    }
    if global && name == "gtid_purged" {
        // Dumps of servers with global transaction identifiers set it.
        session
            .warn(SqlError::not_supported("GTID_PURGED changes nothing here: there are no such identifiers"));
        return Ok(());
    }
    if global {
        return not_supported("SET GLOBAL");
    }
    match name {
        "names" | "character set" | "charset" => return Ok(()),
        _ => {}
    }
    let before = session.facts.variables.autocommit();
    let caveat = value.as_ref().and_then(|value| Variables::caveat(name, value));
    session.facts.variables.set(name, value)?;
    if let Some(caveat) = caveat {
        session.warn(SqlError::not_supported(caveat));
    }
    if name == "wait_timeout" {
        let seconds = exact(&session.facts.variables.get(name)?).map(|(number, _)| number);
        let seconds = seconds.and_then(|number| u32::try_from(number).ok());
        session.process.set_wait_timeout(seconds.unwrap_or(WAIT_TIMEOUT_SECONDS));
    }
    if !before && session.facts.variables.autocommit() {
        // Turning autocommit on commits.
        session.commit().await?;
    }
    Ok(())
}
