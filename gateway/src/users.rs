//! Who may come in: the users of the cluster, which its management nodes keep, and those that the command line names.

use crate::wire::handshake::{Method, NONCE_BYTES, Verifier};
use duet_client::{Client, Error, UserList};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// User that exists unless the command line or the cluster has one of this name: without password, from this machine only.
pub const DEFAULT_USER: &str = "root";
/// How often the cluster is asked for changes of its users.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Who may come in.
#[derive(Debug)]
pub struct Users {
    /// The user of the command line.
    given: Option<(String, Verifier)>,
    /// Those of the cluster; `None` until they are known.
    list: RwLock<Option<Arc<UserList>>>,
}

impl Users {
    /// The users of the cluster, and the one without password from this machine.
    pub fn of_cluster() -> Users {
        Users { given: None, list: RwLock::new(None) }
    }

    /// The users of the cluster, and one with a password.
    pub fn with_password(name: &str, password: &[u8]) -> Users {
        Users { given: Some((name.to_owned(), Verifier::new(password))), list: RwLock::new(None) }
    }

    fn list(&self) -> Option<Arc<UserList>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, list: UserList) {
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(list));
    }

    /// Whether a client is let in.
    pub fn admits(
        &self,
        name: &str,
        peer: SocketAddr,
        method: Method,
        answer: &[u8],
        nonce: &[u8; NONCE_BYTES],
    ) -> bool {
        if let Some((given, verifier)) = &self.given
            && given == name
        {
            return verifier.accepts(method, answer, nonce);
        }
        // As long as the users of the cluster are not known, one of them might have the default user's name.
        let Some(list) = self.list() else { return false };
        match list.user(name) {
            Some(user) => Verifier::of(user.native, user.sha2).accepts(method, answer, nonce),
            None => {
                let here = peer.ip().to_canonical().is_loopback();
                self.given.is_none() && name == DEFAULT_USER && here && answer.is_empty()
            }
        }
    }

    /// Whether there is a user of this name.
    pub fn knows(&self, name: &str) -> bool {
        let given = self.given.as_ref().is_some_and(|(given, _)| given == name);
        let default = self.given.is_none() && name == DEFAULT_USER;
        given || default || self.list().is_some_and(|list| list.user(name).is_some())
    }

    /// Asks the cluster once.
    ///
    /// # Errors
    /// When no leading management node answers.
    pub async fn ask(&self, client: &Client) -> Result<(), Error> {
        let known = self.list().map_or(0, |list| list.version);
        if let Some(list) = client.users_since(known).await? {
            self.replace(list);
        }
        Ok(())
    }

    /// Learns changes, as long as the future is not dropped, and lets the client learn those of tables. While nobody answers what is known
    /// stays.
    pub async fn learn(&self, client: &Client) {
        let mut answered = true;
        loop {
            // Other gateways and native clients change tables, of which statements that find a table by its name would never hear.
            let (users, tables) = tokio::join!(self.ask(client), client.refresh());
            match users.and(tables) {
                Ok(()) => answered = true,
                Err(error) => {
                    if std::mem::take(&mut answered) {
                        tracing::warn!("the cluster cannot be asked for its users and tables: {error}");
                    }
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duet_client::user_with_password;
    use mysql_common::auth::plugins::mysql_native_password::scramble_native;

    #[test]
    fn the_default_user_is_replaced_by_one_of_its_name() {
        let users = Users::of_cluster();
        let nonce = *b"abcdefghijklmnopqrst";
        let here = SocketAddr::from(([127, 0, 0, 1], 9));
        let there = SocketAddr::from(([10, 0, 0, 1], 9));
        let empty = |name, peer| users.admits(name, peer, Method::Native, &[], &nonce);
        assert!(!empty("root", here), "the users are not known yet");
        users.replace(UserList::default());
        assert!(empty("root", here) && !empty("root", there) && !empty("ada", here));
        let root = user_with_password("root", b"secret").expect("a password");
        users.replace(UserList { version: 1, users: vec![root] });
        let answer = scramble_native(&nonce, b"secret").expect("not empty");
        assert!(!empty("root", here));
        assert!(users.admits("root", there, Method::Native, &answer, &nonce));
    }
}
