//! Users of the SQL gateways: changed through the log, told by the leader to whoever asks.

use crate::interface::LinkId;
use crate::machine::{Applied, Machine, Refusal};
use crate::node::ManagementNode;
use duet_protocol::error::ErrorCode;
use duet_protocol::record::{FinishedRequest, MAX_USER_CHARACTERS, UserChange};
use duet_protocol::signal::fetch_users::FetchUsers;
use duet_protocol::signal::users::Users;
use duet_protocol::signal::{Sections, SignalView};

/// Most users.
const MAX_USERS: usize = 1_024;

impl Machine {
    /// Changes the users; the request has ended with that.
    pub(crate) fn change_user(&mut self, request: [u8; 16], change: UserChange) -> Result<Applied, Refusal> {
        if !change.has_valid_name() {
            let detail = format!(
                "a user's name has 1 to {MAX_USER_CHARACTERS} characters, none of them a control character"
            );
            return Err((ErrorCode::InvalidRequest, detail));
        }
        let list = &mut self.content.users;
        let position = list.users.binary_search_by(|user| user.name.as_str().cmp(change.name()));
        let unknown = |name: &str| (ErrorCode::UserNotFound, name.to_owned());
        match (change, position) {
            (UserChange::Create(user), Ok(_)) => return Err((ErrorCode::UserExists, user.name)),
            (UserChange::Create(_), Err(_)) if list.users.len() >= MAX_USERS => {
                return Err((ErrorCode::TooManyUsers, format!("there may be {MAX_USERS} users")));
            }
            (UserChange::Create(user), Err(place)) => list.users.insert(place, user),
            (UserChange::SetPassword(user), Ok(place)) => list.users[place] = user,
            (UserChange::Drop(_), Ok(place)) => {
                list.users.remove(place);
            }
            (UserChange::SetPassword(user), Err(_)) => return Err(unknown(&user.name)),
            (UserChange::Drop(name), Err(_)) => return Err(unknown(&name)),
        }
        list.version += 1;
        let state_version = self.content.state.version;
        let (table, code, detail) = (0, 0, String::new());
        Ok(self.finish(FinishedRequest { request, table, state_version, code, detail }))
    }
}

impl ManagementNode {
    /// Only the leader answers: what others have applied may be old.
    pub(crate) fn fetch_users(&mut self, link: LinkId, signal: &SignalView<'_>) {
        let known = signal.body::<FetchUsers>().map_or(0, |body| body.known_version.get());
        if !self.link(link).is_some_and(|link| link.has_room_for(0) && link.wants_input()) {
            return self.reply_error(link, signal.request_id(), ErrorCode::ReplyBufferFull, "");
        }
        if let Err((code, detail)) = self.judge_change() {
            return self.reply_error(link, signal.request_id(), code, &detail);
        }
        let list = &self.machine.content.users;
        let body = Users { version: list.version.into() };
        if known > 0 && known == list.version {
            return self.send(link, signal.request_id(), &body, Sections::none());
        }
        match list.to_record() {
            Ok(record) => self.send(link, signal.request_id(), &body, Sections::one(&record)),
            Err(code) => {
                self.reply_error(link, signal.request_id(), code, "the users cannot be encoded");
            }
        }
    }
}
