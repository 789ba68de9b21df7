//! Users of the SQL gateways.

use crate::client::unexpected;
use crate::shared::JobRequest;
use crate::{Client, Error, ErrorCode, Result, UserChange, UserList, UserRecord};
use duet_client_core::JobResult;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A user with the verifiers of a password, as the cluster keeps them.
///
/// # Errors
/// `InvalidRequest` when the password is empty.
pub fn user_with_password(name: &str, password: &[u8]) -> Result<UserRecord> {
    if password.is_empty() {
        return Err(Error::new(ErrorCode::InvalidRequest, "the password is empty"));
    }
    Ok(UserRecord {
        name: name.to_owned(),
        native: Sha1::digest(Sha1::digest(password)).into(),
        sha2: Sha256::digest(Sha256::digest(password)).into(),
    })
}

impl Client {
    /// Adds a user of the SQL gateways.
    ///
    /// # Errors
    /// `UserExists`, `TooManyUsers`; `InvalidRequest` for an empty password or a name that may not be; no leading management
    /// node could be reached in time.
    pub async fn create_user(&self, name: &str, password: &[u8]) -> Result<()> {
        self.change_user(UserChange::Create(user_with_password(name, password)?)).await
    }

    /// Gives a user of the SQL gateways another password. Connections that are open stay so.
    ///
    /// # Errors
    /// `UserNotFound`; as [`Client::create_user`].
    pub async fn set_password(&self, name: &str, password: &[u8]) -> Result<()> {
        self.change_user(UserChange::SetPassword(user_with_password(name, password)?)).await
    }

    /// Removes a user of the SQL gateways. Connections that are open stay so.
    ///
    /// # Errors
    /// `UserNotFound`; no leading management node could be reached in time.
    pub async fn drop_user(&self, name: &str) -> Result<()> {
        self.change_user(UserChange::Drop(name.to_owned())).await
    }

    async fn change_user(&self, change: UserChange) -> Result<()> {
        self.shared().job(JobRequest::ChangeUser(change)).await.map(|_| ())
    }

    /// The users of the SQL gateways.
    ///
    /// # Errors
    /// No leading management node could be reached in time.
    pub async fn users(&self) -> Result<UserList> {
        self.users_since(0).await.map(Option::unwrap_or_default)
    }

    /// The users of the SQL gateways, or `None` when they are still those of version `known`.
    ///
    /// # Errors
    /// As [`Client::users`].
    pub async fn users_since(&self, known: u64) -> Result<Option<UserList>> {
        match self.shared().job(JobRequest::Users { known }).await? {
            JobResult::Users(list) => Ok(list.map(|list| *list)),
            JobResult::Created { .. }
            | JobResult::Changed
            | JobResult::Dropped
            | JobResult::Status(_)
            | JobResult::Refreshed => Err(unexpected()),
        }
    }
}
