//! EXPLAIN: one tree of what is done, the data nodes' part included.

use crate::error::{Result, not_supported};
use crate::session::{Outcome, Prepared, Session};
use crate::wire::results::ResultColumn;
use datafusion::physical_plan::displayable;
use duet_client::Value;
use sqlparser::ast::Statement;

/// Shows how a statement is executed.
///
/// # Errors
/// Those of planning it; 1235 for what has no plan.
pub async fn explain(session: &mut Session, statement: &Statement, parameters: &[Value]) -> Result<Outcome> {
    let text = match session.prepare_statement(statement.clone()).await? {
        Prepared::Query(query) => {
            let relation = super::planned(session, &query, parameters.to_vec(), true).await?;
            let (plan, _) = session.catalog.engine().physical(&relation).await?;
            displayable(plan.as_ref()).indent(false).to_string()
        }
        Prepared::Planned(plan) => {
            let environment = crate::expression::Environment::new(parameters, &session.facts);
            crate::execute::explain::tree(&plan, &environment)?
        }
        Prepared::Nested(_) | Prepared::Other(_) | Prepared::Account(_) => {
            return not_supported("EXPLAIN of this statement");
        }
    };
    let rows = text.trim_end().lines().map(|line| vec![Value::Text(line.to_owned())]).collect();
    Ok(Outcome::fixed(vec![ResultColumn::text("EXPLAIN")], rows))
}
