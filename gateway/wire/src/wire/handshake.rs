//! The handshake: what the server offers, what the client answers, and whether its password is right.
//!
//! Passwords are known as verifiers only: SHA-1 of SHA-1 for `mysql_native_password`, SHA-256 of SHA-256 for
//! `caching_sha2_password`, whose fast path needs no encrypted connection then.

use crate::error::{Result, SqlError};
use crate::wire::packet::Fields;
use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthSwitchRequest, HandshakePacket, HandshakeResponse};
use mysql_common::proto::{MyDeserialize, MySerialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Version that clients see: that of MySQL whose protocol this is, then ours.
pub const SERVER_VERSION: &str = concat!("8.0.36-duet-", env!("CARGO_PKG_VERSION"));
/// Bytes of the random challenge.
pub const NONCE_BYTES: usize = 20;
/// `utf8mb4_bin`, in handshakes and of result columns.
pub const UTF8MB4_BIN: u16 = 46;
const NATIVE: &[u8] = b"mysql_native_password";
const CACHING_SHA2: &[u8] = b"caching_sha2_password";

/// What this server can do.
pub fn capabilities() -> CapabilityFlags {
    CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_FOUND_ROWS
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_MULTI_STATEMENTS
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PS_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_DEPRECATE_EOF
}

/// What the server says first.
pub fn greeting(connection: u32, nonce: &[u8; NONCE_BYTES], encrypts: bool, output: &mut Vec<u8>) {
    let mut offered = capabilities();
    offered.set(CapabilityFlags::CLIENT_SSL, encrypts);
    let mut first = [0; 8];
    first.copy_from_slice(&nonce[..8]);
    let mut second = nonce[8..].to_vec();
    second.push(0);
    let packet = HandshakePacket::new(
        10,
        SERVER_VERSION.as_bytes(),
        connection,
        first,
        Some(second),
        offered,
        UTF8MB4_BIN as u8,
        StatusFlags::SERVER_STATUS_AUTOCOMMIT,
        Some(NATIVE),
    );
    packet.serialize(output);
}

/// What the client said about itself.
#[derive(Clone, Debug)]
pub struct Login {
    /// What both sides can do.
    pub capabilities: CapabilityFlags,
    /// Name of the user.
    pub user: String,
    /// Database to begin with.
    pub database: Option<String>,
    /// How it has answered the challenge.
    pub method: Method,
    /// The answer.
    pub answer: Vec<u8>,
}

/// Ways to prove a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// SHA-1.
    Native,
    /// SHA-256.
    CachingSha2,
    /// One that this server does not know.
    Other,
}

impl Method {
    /// By name.
    pub fn named(name: &[u8]) -> Method {
        match name {
            NATIVE => Method::Native,
            CACHING_SHA2 => Method::CachingSha2,
            _ => Method::Other,
        }
    }

    /// This one, or the one that every client knows when this server does not know it.
    #[must_use]
    pub fn or_native(self) -> Method {
        match self {
            Method::Other => Method::Native,
            known @ (Method::Native | Method::CachingSha2) => known,
        }
    }

    fn name(self) -> &'static [u8] {
        match self {
            Method::Native | Method::Other => NATIVE,
            Method::CachingSha2 => CACHING_SHA2,
        }
    }
}

/// Whether a client's first packet only asks to go on in TLS.
pub fn wants_encryption(payload: &[u8]) -> bool {
    /// Flags, longest packet, character set and 23 reserved bytes.
    const REQUEST_BYTES: usize = 32;
    let flags = Fields(payload).number(4).unwrap_or_default() as u32;
    let flags = CapabilityFlags::from_bits_truncate(flags);
    payload.len() == REQUEST_BYTES && flags.contains(CapabilityFlags::CLIENT_SSL)
}

/// Reads COM_CHANGE_USER behind its first byte: user, an answer that is not used, database, character set, method.
///
/// # Errors
/// When it is malformed.
pub fn change_user(body: &[u8], capabilities: CapabilityFlags) -> Result<Login> {
    let mut fields = Fields(body);
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|_| SqlError::handshake("Bad handshake: a name is not UTF-8"))
    };
    let user = text(fields.until_zero()?)?;
    let answer = usize::from(fields.byte()?);
    fields.bytes(answer)?;
    let database = Some(text(fields.until_zero()?)?).filter(|name| !name.is_empty());
    // Clients may stop here.
    let named = match fields.number(2) {
        Ok(_) if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) => {
            fields.until_zero().unwrap_or(NATIVE)
        }
        _ => NATIVE,
    };
    Ok(Login { capabilities, user, database, method: Method::named(named), answer: Vec::new() })
}

/// Reads the client's answer.
///
/// # Errors
/// When it is malformed, or speaks a protocol older than that of MySQL 4.1.
pub fn login(payload: &[u8]) -> Result<Login> {
    let flags = Fields(payload).number(4).map_err(|_| SqlError::handshake("Bad handshake"))?;
    let flags = CapabilityFlags::from_bits_truncate(flags as u32);
    if !flags.contains(CapabilityFlags::CLIENT_PROTOCOL_41) {
        return Err(SqlError::handshake("Bad handshake: the protocol is older than that of MySQL 4.1"));
    }
    if wants_encryption(payload) {
        return Err(SqlError::handshake("Bad handshake: this server offers no encrypted connections"));
    }
    let response = HandshakeResponse::deserialize((), &mut ParseBuf(payload))
        .map_err(|_| SqlError::handshake("Bad handshake"))?;
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|_| SqlError::handshake("Bad handshake: a name is not UTF-8"))
    };
    let method = response.auth_plugin().map_or(Method::Native, |plugin| Method::named(plugin.as_bytes()));
    let database = response.db_name().filter(|name| !name.is_empty()).map(text).transpose()?;
    Ok(Login {
        capabilities: response.capabilities() & capabilities(),
        user: text(response.user())?,
        database,
        method,
        answer: without_zero(response.scramble_buf()).to_vec(),
    })
}

/// An answer without the zero byte that some clients send for no password.
pub fn without_zero(answer: &[u8]) -> &[u8] {
    if answer == [0] { &[] } else { answer }
}

/// Asks the client to answer once more, in this way.
pub fn switch_to(method: Method, nonce: &[u8; NONCE_BYTES], output: &mut Vec<u8>) {
    let mut data = nonce.to_vec();
    data.push(0);
    AuthSwitchRequest::new(method.name(), data).serialize(output);
}

/// Tells a client of `caching_sha2_password` that its short answer was right.
pub fn fast_path_done(output: &mut Vec<u8>) {
    output.extend_from_slice(&[1, 3]);
}

/// What a server keeps of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    is_empty: bool,
    sha1: [u8; 20],
    sha256: [u8; 32],
}

/// Without the digests.
impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

fn sha1_of(parts: &[&[u8]]) -> [u8; 20] {
    let mut digest = Sha1::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

fn sha256_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

/// Whether two digests are equal, in a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

impl Verifier {
    /// The verifier of a password.
    pub fn new(password: &[u8]) -> Verifier {
        Verifier {
            is_empty: password.is_empty(),
            sha1: sha1_of(&[&sha1_of(&[password])]),
            sha256: sha256_of(&[&sha256_of(&[password])]),
        }
    }

    /// The verifier of a password that is not empty, by its digests: SHA-1 of SHA-1, SHA-256 of SHA-256.
    pub fn of(sha1: [u8; 20], sha256: [u8; 32]) -> Verifier {
        Verifier { is_empty: false, sha1, sha256 }
    }

    /// Whether an answer to a challenge comes from someone who knows the password.
    pub fn accepts(&self, method: Method, answer: &[u8], nonce: &[u8; NONCE_BYTES]) -> bool {
        if self.is_empty || answer.is_empty() {
            return self.is_empty && answer.is_empty();
        }
        match method {
            Method::Native => {
                // answer = SHA1(password) XOR SHA1(nonce, SHA1(SHA1(password)))
                let mask = sha1_of(&[nonce, &self.sha1]);
                let Ok(answer) = <[u8; 20]>::try_from(answer) else { return false };
                let hashed: Vec<u8> = answer.iter().zip(mask).map(|(a, b)| a ^ b).collect();
                same(&sha1_of(&[&hashed]), &self.sha1)
            }
            Method::CachingSha2 => {
                // answer = SHA256(password) XOR SHA256(SHA256(SHA256(password)), nonce)
                let mask = sha256_of(&[&self.sha256, nonce]);
                let Ok(answer) = <[u8; 32]>::try_from(answer) else { return false };
                let hashed: Vec<u8> = answer.iter().zip(mask).map(|(a, b)| a ^ b).collect();
                same(&sha256_of(&[&hashed]), &self.sha256)
            }
            Method::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::auth::plugins::caching_sha2_password::scramble_sha256;
    use mysql_common::auth::plugins::mysql_native_password::scramble_native;

    #[test]
    fn answers_of_drivers_are_accepted() {
        let nonce = *b"abcdefghijklmnopqrst";
        let verifier = Verifier::new(b"secret");
        let native = scramble_native(&nonce, b"secret").expect("not empty");
        let sha2 = scramble_sha256(&nonce, b"secret").expect("not empty");
        assert!(verifier.accepts(Method::Native, &native, &nonce));
        assert!(verifier.accepts(Method::CachingSha2, &sha2, &nonce));
        let wrong = scramble_native(&nonce, b"secreT").expect("not empty");
        assert!(!verifier.accepts(Method::Native, &wrong, &nonce));
        assert!(!verifier.accepts(Method::Native, &[], &nonce));
        assert!(!verifier.accepts(Method::CachingSha2, &native, &nonce));
        let open = Verifier::new(b"");
        assert!(open.accepts(Method::Native, &[], &nonce) && !open.accepts(Method::Native, &native, &nonce));
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        for length in 0..200 {
            for fill in [0_u8, 2, 0x0A, 0x7F, 0xFF] {
                let mut payload = vec![fill; length];
                if length > 2 {
                    payload[1] = 0xA2;
                }
                let _ = login(&payload);
                let _ = change_user(&payload, capabilities());
            }
        }
    }
}
