//! Users of the SQL gateways: who may come in, and what proves it.
//!
//! A password itself is nowhere kept. Its verifiers are what the two methods of MySQL's protocol need: with them a gateway
//! checks an answer to its challenge, and nobody can compute such an answer from the verifier alone. Both are without salt, as
//! the methods demand, so a password that can be guessed can be found by whoever sees its verifier.

use crate::error::ErrorCode;
use crate::record::{RecordKind, decode, encode};
use rkyv::{Archive, Deserialize, Serialize};

/// Version of the [`UserChange`] record.
const USER_CHANGE_VERSION: u16 = 1;
/// Version of the [`UserList`] record.
const USER_LIST_VERSION: u16 = 1;
/// Longest name of a user, in characters: that of MySQL.
pub const MAX_USER_CHARACTERS: usize = 32;

/// A user.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Name, compared byte by byte.
    pub name: String,
    /// For `mysql_native_password`: SHA-1 of the SHA-1 of the password.
    pub native: [u8; 20],
    /// For `caching_sha2_password`: SHA-256 of the SHA-256 of the password.
    pub sha2: [u8; 32],
}

/// Without the verifiers.
impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A change of the users.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// Adds a user whose name is new.
    Create(UserRecord),
    /// Gives a user another password.
    SetPassword(UserRecord),
    /// Removes the user of this name.
    Drop(String),
}

impl UserChange {
    /// Name of the user that changes.
    pub fn name(&self) -> &str {
        match self {
            UserChange::Create(user) | UserChange::SetPassword(user) => &user.name,
            UserChange::Drop(name) => name,
        }
    }

    /// Whether the name may be that of a user: 1 to [`MAX_USER_CHARACTERS`] characters, none of them a control character.
    pub fn has_valid_name(&self) -> bool {
        let name = self.name();
        let characters = name.chars().count();
        (1..=MAX_USER_CHARACTERS).contains(&characters) && !name.chars().any(char::is_control)
    }

    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        encode(RecordKind::UserChange, USER_CHANGE_VERSION, self)
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// See [`decode`].
    pub fn from_record(bytes: &[u8]) -> Result<UserChange, ErrorCode> {
        decode(RecordKind::UserChange, USER_CHANGE_VERSION, bytes)
    }
}

/// All users.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct UserList {
    /// Grows with every change, from 0 for the empty list of a new cluster.
    pub version: u64,
    /// In order of their names.
    pub users: Vec<UserRecord>,
}

impl UserList {
    /// The user of a name.
    pub fn user(&self, name: &str) -> Option<&UserRecord> {
        let position = self.users.binary_search_by(|user| user.name.as_str().cmp(name)).ok()?;
        self.users.get(position)
    }

    /// Encodes as a record.
    ///
    /// # Errors
    /// See [`encode`].
    pub fn to_record(&self) -> Result<Vec<u8>, ErrorCode> {
        encode(RecordKind::UserList, USER_LIST_VERSION, self)
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// See [`decode`].
    pub fn from_record(bytes: &[u8]) -> Result<UserList, ErrorCode> {
        decode(RecordKind::UserList, USER_LIST_VERSION, bytes)
    }
}
