//! How a connection begins: greeting, encryption if the client wants it, password, database.

use crate::error::SqlError;
use crate::processes::Place;
use crate::server::Server;
use crate::session::Session;
use crate::wire::handshake::{
    Login, Method, NONCE_BYTES, change_user, fast_path_done, greeting, login, switch_to, wants_encryption,
    without_zero,
};
use crate::wire::packet::{Packets, ReadError};
use crate::wire::results::{Done, put_error, put_ok};
use duet_client::Client;
use mysql_common::constants::CapabilityFlags;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;

/// Time for the handshake.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Longest packet before the password is known.
const HANDSHAKE_BYTES: usize = 64 << 10;
/// Bytes that are read ahead.
const READ_AHEAD: usize = 32 << 10;

/// What is read from, encrypted or not.
type Reader = BufReader<Box<dyn AsyncRead + Send + Unpin>>;
/// What is written to, encrypted or not.
type Writer = Box<dyn AsyncWrite + Send + Unpin>;
/// Packets of a connection.
pub type Wire = Packets<Reader, Writer>;

/// A client that was let in.
pub struct Guest {
    /// Its packets.
    pub wire: Wire,
    /// What it and the server can do.
    pub capabilities: CapabilityFlags,
    /// Its session.
    pub session: Session,
    /// Its place among the connections.
    pub place: Place,
}

/// Packets over a stream that is not encrypted.
pub fn plain(stream: TcpStream) -> Wire {
    let (reader, writer) = stream.into_split();
    Packets::new(BufReader::with_capacity(READ_AHEAD, Box::new(reader)), Box::new(writer))
}

/// Tells an error that ends the connection.
pub async fn tell(wire: &mut Wire, error: &SqlError) {
    wire.add(|output| put_error(error, output));
    let _ = tokio::time::timeout(HANDSHAKE_WITHIN, wire.flush()).await;
}

/// Lets a client in; `None` when it is not, and knows why.
pub async fn greet(
    server: &Arc<Server>,
    client: Client,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Guest> {
    let place = server.processes.enter(peer);
    let mut wire = plain(stream);
    let nonce = nonce()?;
    wire.begin_command();
    wire.add(|output| greeting(place.process.number, &nonce, server.tls.is_some(), output));
    wire.flush().await.ok()?;
    let mut payload = read(&mut wire).await?;
    if server.tls.is_some() && wants_encryption(&payload) {
        wire = encrypted(server, wire).await?;
        payload = read(&mut wire).await?;
    } else if server.needs_encryption {
        tell(
            &mut wire,
            &SqlError {
                code: 3_159,
                state: "HY000",
                message:
                    "Connections using insecure transport are prohibited while --require_secure_transport=ON."
                        .to_owned(),
            },
        )
        .await;
        return None;
    }
    let login = match login(&payload) {
        Ok(login) => login,
        Err(error) => {
            tell(&mut wire, &error).await;
            return None;
        }
    };
    let capabilities = login.capabilities;
    let database = login.database.clone();
    let user = admit(server, &mut wire, peer, login, &nonce, false).await?;
    place.process.comes_in(&user, database.as_deref());
    let name = format!("{user}@{}", peer.ip());
    let mut session = Session::new(server, client, Arc::clone(&place.process), name);
    session.counts_found = capabilities.contains(CapabilityFlags::CLIENT_FOUND_ROWS);
    choose(&mut wire, &mut session, database.as_deref()).await?;
    Some(Guest { wire, capabilities, session, place })
}

/// COM_CHANGE_USER: the session begins anew as another user, who proves its password to a new challenge.
pub async fn change(
    server: &Arc<Server>,
    wire: &mut Wire,
    session: &mut Session,
    peer: SocketAddr,
    capabilities: CapabilityFlags,
    body: &[u8],
) -> Option<()> {
    let mut login = match change_user(body, capabilities) {
        Ok(login) => login,
        Err(error) => {
            tell(wire, &error).await;
            return None;
        }
    };
    let database = login.database.take();
    let nonce = nonce()?;
    let user = admit(server, wire, peer, login, &nonce, true).await?;
    session.reset().await;
    session.facts.user = format!("{user}@{}", peer.ip());
    session.facts.database = None;
    session.process.comes_in(&user, database.as_deref());
    choose(wire, session, database.as_deref()).await
}

/// The name of the user, whose password is right.
async fn admit(
    server: &Arc<Server>,
    wire: &mut Wire,
    peer: SocketAddr,
    mut login: Login,
    nonce: &[u8; NONCE_BYTES],
    is_new: bool,
) -> Option<String> {
    if is_new || login.method == Method::Other {
        login.method = login.method.or_native();
        wire.add(|output| switch_to(login.method, nonce, output));
        wire.flush().await.ok()?;
        login.answer = without_zero(&read(wire).await?).to_vec();
    }
    if !server.users.admits(&login.user, peer, login.method, &login.answer, nonce) {
        let using = if login.answer.is_empty() { "NO" } else { "YES" };
        let user: String = login.user.chars().take(64).collect();
        let text = format!("Access denied for user '{user}'@'{}' (using password: {using})", peer.ip());
        tell(wire, &SqlError::access_denied(text)).await;
        return None;
    }
    if login.method == Method::CachingSha2 && !login.answer.is_empty() {
        wire.add(fast_path_done);
    }
    Some(login.user)
}

async fn choose(wire: &mut Wire, session: &mut Session, database: Option<&str>) -> Option<()> {
    if let Some(database) = database
        && let Err(error) = session.use_database(database).await
    {
        tell(wire, &error).await;
        return None;
    }
    wire.add(|output| put_ok(&Done::default(), session.status(), 0, false, output));
    wire.flush().await.ok()
}

async fn read(wire: &mut Wire) -> Option<Vec<u8>> {
    match wire.read(HANDSHAKE_BYTES).await {
        Ok(payload) => Some(payload),
        Err(ReadError::Closed) => None,
        Err(ReadError::Broken(error)) => {
            tell(wire, &error).await;
            None
        }
    }
}

/// Goes on in TLS. What was read ahead belongs to it.
async fn encrypted(server: &Server, wire: Wire) -> Option<Wire> {
    let acceptor = server.tls.as_ref()?;
    let (reader, writer, sequence) = wire.into_parts();
    let stream = match acceptor.accept(tokio::io::join(reader, writer)).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!("a client that asked for TLS went away: {error}");
            return None;
        }
    };
    let (reader, writer) = tokio::io::split(stream);
    let reader: Reader = BufReader::with_capacity(READ_AHEAD, Box::new(reader));
    Some(Packets::from_parts(reader, Box::new(writer), sequence))
}

/// Random printable bytes: clients take zero for the end.
fn nonce() -> Option<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).ok()?;
    nonce.iter_mut().for_each(|byte| *byte = 33 + *byte % 94);
    Some(nonce)
}
