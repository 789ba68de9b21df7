//! Numbered errors of the feature store, with the HTTP status that each becomes.
//!
//! Numbers 1–16 are those that users of Hopsworks and its REST server know; those from 20 on are ours. `docs/features.md`
//! lists all.

use duet_client::ErrorCode;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $text:literal;)+) => {
        /// What went wrong, as a stable number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Reason { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Reason {
            /// Every reason, in ascending order.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The sentence that clients see as `reason`.
            pub fn text(self) -> &'static str {
                match self { $(Reason::$name => $text,)+ }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Reason::$name => $status,)+ }
            }
        }
    };
}

reasons! {
    /// No feature view of this name and version.
    ViewMissing = 1, 404, "Feature view does not exist.";
    /// No group or view is in a feature store of this name.
    StoreMissing = 2, 404, "Feature store does not exist.";
    /// No feature group of this name and version.
    GroupMissing = 3, 404, "Feature group does not exist.";
    /// A value is of a type that the feature does not take.
    WrongType = 10, 415, "Wrong data type.";
    /// The view or group has no such feature.
    FeatureMissing = 11, 404, "Feature does not exist.";
    /// A key is missing, unknown or null.
    WrongKey = 12, 400, "Incorrect primary key.";
    /// A passed feature is unknown or of a wrong type.
    WrongPassedFeature = 13, 400, "Incorrect passed feature.";
    /// The cluster could not be asked, or refused.
    Database = 14, 500, "Reading from db failed.";
    /// No key is given.
    NoKey = 15, 400, "No primary key is given.";
    /// A value does not fit its feature.
    WrongValue = 16, 400, "Incorrect feature value.";
    /// A group or view of this name and version exists with another definition.
    Exists = 20, 409, "It exists with another definition.";
    /// A definition is not valid.
    InvalidDefinition = 21, 400, "Invalid definition.";
    /// The change needs a new version, or cannot be carried out.
    SchemaChange = 22, 409, "The schema cannot be changed so.";
    /// The request is not well formed.
    InvalidRequest = 23, 400, "Invalid request.";
    /// More than the limits of the server allow.
    TooLarge = 24, 413, "The request is too large.";
    /// No valid API key.
    Unauthorized = 25, 401, "A valid API key is needed.";
    /// More requests at once than the server takes.
    Busy = 26, 503, "Too many requests at once.";
    /// The group is in use by a view.
    InUse = 27, 409, "It is in use.";
    /// No such address or row.
    NotFound = 28, 404, "Not found.";
}

/// An error of the feature store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {message} (feature store error {})", reason.text(), *reason as u16)]
pub struct FeatureError {
    /// What went wrong.
    pub reason: Reason,
    /// Where and why, for people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl FeatureError {
    /// An error that trying again does not help.
    pub fn new(reason: Reason, message: impl Into<String>) -> FeatureError {
        FeatureError { reason, message: message.into(), retryable: false }
    }

    /// The stable number.
    pub fn code(&self) -> u16 {
        self.reason as u16
    }

    /// The HTTP status: errors that pass by themselves are 503.
    pub fn status(&self) -> u16 {
        if self.retryable { 503 } else { self.reason.status() }
    }
}

impl From<duet_client::Error> for FeatureError {
    fn from(error: duet_client::Error) -> FeatureError {
        // 150–169 are about values, keys and rows that do not fit their columns.
        let reason = match error.code {
            152 => Reason::WrongType,
            155 | 157 | 159 => Reason::WrongKey,
            150..=169 => Reason::WrongValue,
            code if code == ErrorCode::InvalidSchema as u16 => Reason::InvalidDefinition,
            100..=149 => Reason::InvalidDefinition,
            _ => Reason::Database,
        };
        FeatureError { reason, message: error.to_string(), retryable: error.retryable }
    }
}

/// What the functions of the feature store return.
pub type Result<T> = std::result::Result<T, FeatureError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_statuses_are_errors() {
        for pair in Reason::ALL.windows(2) {
            assert!((pair[0] as u16) < pair[1] as u16);
        }
        for reason in Reason::ALL {
            assert!((400..600).contains(&reason.status()) && reason.text().ends_with('.'));
        }
        let error = duet_client::Error::new(ErrorCode::NodeUnreachable, "no link");
        assert_eq!(FeatureError::from(error).status(), 503);
    }
}
