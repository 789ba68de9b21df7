//! What went wrong, with the numbers and in the shape of MySQL's own client.

use mysql::DriverError;
use std::error::Error as _;
use std::fmt;
use std::path::Path;

/// The gateway cannot be reached.
const CANNOT_CONNECT: u16 = 2003;
/// The name of its host means nothing.
const UNKNOWN_HOST: u16 = 2005;
/// The connection had ended before a statement was sent.
const GONE_AWAY: u16 = 2006;
/// The other side speaks another version of the protocol.
const OTHER_VERSION: u16 = 2007;
/// The connection has ended while an answer was awaited.
const LOST: u16 = 2013;
/// A packet is longer than both sides agreed.
const PACKET_TOO_LARGE: u16 = 2020;
/// What came is no packet of the protocol.
const MALFORMED: u16 = 2027;
/// The gateway wants a proof of the password that this client cannot give.
const UNKNOWN_PROOF: u16 = 2059;
/// Everything that has no number of its own.
const OTHER: u16 = 2000;
/// A statement that `KILL QUERY` has ended.
const INTERRUPTED: u16 = 1317;

/// An error of the gateway, of the connection, or of the shell itself.
#[derive(Debug)]
pub struct Failure {
    /// MySQL's number and state; `None` where the shell itself complains.
    code: Option<(u16, String)>,
    message: String,
    /// Where in a file or a pipe, with a space before it; empty at a terminal.
    place: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ERROR")?;
        if let Some((code, state)) = &self.code {
            write!(formatter, " {code} ({state})")?;
        }
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// A complaint of the shell.
    pub fn new(message: String) -> Failure {
        Failure { code: None, message, place: String::new() }
    }

    fn numbered(code: u16, message: String) -> Failure {
        Failure { code: Some((code, "HY000".to_owned())), message, place: String::new() }
    }

    fn lost() -> Failure {
        let message =
            "Lost connection to the gateway during the statement; whether it took effect is not known";
        Failure::numbered(LOST, message.to_owned())
    }

    fn too_large() -> Failure {
        Failure::numbered(PACKET_TOO_LARGE, "Got a packet bigger than 'max_allowed_packet' bytes".to_owned())
    }

    /// The connection had ended by itself before a statement was sent.
    pub fn gone_away() -> Failure {
        let message = "The gateway has ended the connection; the statement has not been sent".to_owned();
        Failure::numbered(GONE_AWAY, message)
    }

    /// Why there is no connection with the gateway at this address.
    pub fn of_connecting(error: mysql::Error, gateway: &str) -> Failure {
        match error {
            mysql::Error::DriverError(DriverError::ConnectTimeout) => Failure::numbered(
                CANNOT_CONNECT,
                format!("Can't connect to the gateway at '{gateway}' (it does not answer)"),
            ),
            mysql::Error::DriverError(DriverError::CouldNotConnect(why)) => {
                let words = why.map(|(_, words, _)| words).unwrap_or_default();
                let words = words.split(" (os error").next().unwrap_or_default().to_lowercase();
                match words.contains("lookup") {
                    true => {
                        let reason = words.rsplit(": ").next().unwrap_or_default();
                        Failure::numbered(
                            UNKNOWN_HOST,
                            format!("Unknown host of the gateway '{gateway}' ({reason})"),
                        )
                    }
                    false => Failure::numbered(
                        CANNOT_CONNECT,
                        format!("Can't connect to the gateway at '{gateway}' ({words})"),
                    ),
                }
            }
            other => match Failure::of(other) {
                lost if lost.has(LOST) => Failure::numbered(
                    LOST,
                    format!("Lost connection to '{gateway}' before it let us in; is a gateway there?"),
                ),
                malformed if malformed.has(MALFORMED) => Failure::numbered(
                    MALFORMED,
                    format!("Malformed packet: what answers at '{gateway}' is no gateway"),
                ),
                other => other,
            },
        }
    }

    /// Why a statement has no answer, or half of one.
    pub fn of(error: mysql::Error) -> Failure {
        match error {
            mysql::Error::MySqlError(error) => Failure {
                code: Some((error.code, error.state)),
                message: error.message,
                place: String::new(),
            },
            mysql::Error::IoError(_) => Failure::lost(),
            // The type of these errors has no name for us: only those of the system have a source.
            mysql::Error::CodecError(error) if error.source().is_some() => Failure::lost(),
            mysql::Error::CodecError(error) if error.to_string().contains("max_allowed_packet") => {
                Failure::too_large()
            }
            mysql::Error::DriverError(DriverError::PacketTooLarge) => Failure::too_large(),
            mysql::Error::CodecError(_)
            | mysql::Error::DriverError(
                DriverError::PacketOutOfSync | DriverError::UnexpectedPacket | DriverError::Protocol41NotSet,
            ) => Failure::numbered(
                MALFORMED,
                "Malformed packet: the answer of the gateway is not understood".to_owned(),
            ),
            mysql::Error::DriverError(DriverError::UnsupportedProtocol(version)) => Failure::numbered(
                OTHER_VERSION,
                format!("Protocol mismatch; server version = {version}, client version = 10"),
            ),
            mysql::Error::DriverError(DriverError::UnknownAuthPlugin(name)) => Failure::numbered(
                UNKNOWN_PROOF,
                format!("Authentication plugin '{name}' is none that this client has"),
            ),
            mysql::Error::DriverError(other) => Failure::numbered(OTHER, other.to_string()),
            other => Failure::numbered(OTHER, other.to_string()),
        }
    }

    fn has(&self, wanted: u16) -> bool {
        self.code.as_ref().is_some_and(|(code, _)| *code == wanted)
    }

    /// Whether the session is over.
    pub fn is_lost(&self) -> bool {
        [GONE_AWAY, LOST, MALFORMED].into_iter().any(|code| self.has(code))
    }

    /// Whether nobody can want the rest of a file: the session is over, or the user has interrupted it.
    pub fn ends_file(&self) -> bool {
        self.is_lost() || self.has(INTERRUPTED)
    }

    /// Says at which line of which file it was, unless that is known; standard input and `-e` have no name.
    pub fn at(&mut self, line: usize, file: Option<&Path>) {
        if self.place.is_empty() {
            self.place = format!(" at line {line}");
            if let Some(file) = file {
                self.place.push_str(&format!(" in file: '{}'", file.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn errors_are_sentences_with_numbers() {
        let connecting = |error: DriverError| {
            Failure::of_connecting(mysql::Error::DriverError(error), "here:3306").to_string()
        };
        let refused = |words: &str| {
            let kind = io::ErrorKind::ConnectionRefused;
            connecting(DriverError::CouldNotConnect(Some(("here:3306".to_owned(), words.to_owned(), kind))))
        };
        assert_eq!(
            refused("Connection refused (os error 111)"),
            "ERROR 2003 (HY000): Can't connect to the gateway at 'here:3306' (connection refused)"
        );
        assert_eq!(
            refused("failed to lookup address information: Name or service not known"),
            "ERROR 2005 (HY000): Unknown host of the gateway 'here:3306' (name or service not known)"
        );
        assert!(connecting(DriverError::ConnectTimeout).starts_with("ERROR 2003 (HY000): "));
        assert!(
            connecting(DriverError::UnexpectedPacket).contains("what answers at 'here:3306' is no gateway")
        );
        let ended = || mysql::Error::IoError(io::ErrorKind::UnexpectedEof.into());
        assert!(Failure::of_connecting(ended(), "here:3306").to_string().starts_with("ERROR 2013 (HY000): "));
        let mut lost = Failure::of(ended());
        lost.at(3, Some(Path::new("a.sql")));
        lost.at(9, None);
        assert!(lost.is_lost());
        assert!(
            lost.to_string().starts_with("ERROR 2013 (HY000) at line 3 in file: 'a.sql': Lost connection")
        );
        let answered = Failure::of(mysql::Error::MySqlError(mysql::MySqlError {
            state: "28000".to_owned(),
            message: "Access denied for user 'ada'".to_owned(),
            code: 1045,
        }));
        assert!(!answered.is_lost());
        assert_eq!(answered.to_string(), "ERROR 1045 (28000): Access denied for user 'ada'");
        assert_eq!(
            Failure::new("Unknown command '\\z'.".to_owned()).to_string(),
            "ERROR: Unknown command '\\z'."
        );
    }
}
