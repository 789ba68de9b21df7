//! CREATE USER and its kin. There are no privileges: every user may do everything, also this.

use crate::error::{Result, SqlError};
use crate::session::{Outcome, Session};
use duet_client::{Client, ErrorCode};
use duet_gateway_wire::accounts::AccountStatement;

/// ER_CANNOT_USER.
fn failed(operation: &str, user: &str) -> SqlError {
    let user: String = user.chars().take(64).collect();
    SqlError {
        code: 1_396,
        state: "HY000",
        message: format!("Operation {operation} failed for '{user}'@'%'"),
    }
}

/// Changes the users of the cluster. All gateways know it within a second.
///
/// # Errors
/// 1396 for a user that is there already, or is not; those of the cluster.
pub async fn execute(session: &mut Session, statement: &AccountStatement) -> Result<Outcome> {
    session.commit().await?;
    let client = session.catalog.client().clone();
    match statement {
        AccountStatement::Create { if_not_exists, users } => {
            for (name, password) in users {
                let created = client.create_user(name, password.as_bytes()).await;
                finish(session, created, ErrorCode::UserExists, *if_not_exists, "CREATE USER", name)?;
            }
        }
        AccountStatement::SetPassword { if_exists, user, password } => {
            let own = session.facts.user.rsplit_once('@').map_or("", |(name, _)| name).to_owned();
            let name = user.as_ref().unwrap_or(&own);
            let changed = client.set_password(name, password.as_bytes()).await;
            finish(session, changed, ErrorCode::UserNotFound, *if_exists, "ALTER USER", name)?;
        }
        AccountStatement::Drop { if_exists, users } => {
            for name in users {
                let dropped = client.drop_user(name).await;
                finish(session, dropped, ErrorCode::UserNotFound, *if_exists, "DROP USER", name)?;
            }
        }
    }
    learn(session, &client).await;
    Ok(Session::nothing())
}

/// Makes an error of the cluster one of MySQL, or a note.
fn finish(
    session: &mut Session,
    done: std::result::Result<(), duet_client::Error>,
    expected: ErrorCode,
    tolerated: bool,
    operation: &str,
    user: &str,
) -> Result<()> {
    match done {
        Err(error) if error.is(expected) && tolerated => session.note(failed(operation, user)),
        Err(error) if error.is(expected) => return Err(failed(operation, user)),
        other => other?,
    }
    Ok(())
}

/// This gateway knows the change at once.
async fn learn(session: &Session, client: &Client) {
    // Else it is learnt a moment later.
    let _ = session.users.ask(client).await;
}
