//! What a MySQL client sends, from invented bytes: packets, logins, parameters of prepared statements, answers to challenges.

use crate::input::Input;
use duet_gateway_wire::value::format::text;
use duet_gateway_wire::wire::handshake::{
    Method, NONCE_BYTES, Verifier, capabilities, change_user, login, wants_encryption, without_zero,
};
use duet_gateway_wire::wire::packet::{Fields, Packets, ReadError, put_length, put_string};
use duet_gateway_wire::wire::parameters;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Longest payload that the target's packets may have.
const LIMIT: usize = 1 << 16;
/// Most parameters of its statements.
const MOST_PARAMETERS: usize = 40;

/// The first byte chooses what the others are.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(5) {
        0 => logins(input.rest()),
        1 => values(&mut input),
        2 => packets(input.rest()),
        3 => answers(&mut input),
        _ => fields(input.rest()),
    }
}

fn logins(payload: &[u8]) {
    let _ = wants_encryption(payload);
    if let Ok(login) = login(payload) {
        assert_eq!(login.capabilities - capabilities(), Default::default(), "only what is offered");
        assert!(login.database.as_deref() != Some(""));
        assert!(login.user.len() <= payload.len() && login.answer.len() <= payload.len());
    }
    if let Ok(login) = change_user(payload, capabilities()) {
        assert!(login.answer.is_empty() && login.user.len() < payload.len());
    }
}

/// Two executions of one statement: the second may rely on the types of the first.
fn values(input: &mut Input<'_>) {
    let count = input.below(MOST_PARAMETERS);
    let (mut types, mut long_data) = (Vec::new(), vec![None; count]);
    for _ in 0..2 {
        for _ in 0..input.below(3) {
            let place = input.below(MOST_PARAMETERS);
            let data = input.string().to_vec();
            if let Some(slot) = long_data.get_mut(place) {
                *slot = Some(data);
            }
        }
        let length = usize::from(input.short());
        let body = input.take(length);
        if let Ok(values) = parameters::read(Fields(body), count, &mut types, &mut long_data) {
            assert_eq!(values.len(), count);
            // What came can be shown.
            values.iter().for_each(|value| drop(text(value)));
        }
    }
}

/// The result of something that never has to wait, since it reads and writes memory.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("memory is always there"),
    }
}

fn packets(bytes: &[u8]) {
    let mut incoming = Packets::new(bytes, Vec::new());
    let mut total = 0;
    loop {
        match ready(incoming.read(LIMIT)) {
            Ok(payload) => {
                assert!(payload.len() <= LIMIT);
                total += payload.len() + 4;
                again(&payload);
                incoming.give_back(payload);
            }
            Err(ReadError::Closed) => break,
            Err(ReadError::Broken(error)) => {
                assert!(matches!(error.code, 1_153 | 1_156));
                break;
            }
        }
    }
    assert!(total <= bytes.len());
}

/// What is written is read the same.
fn again(payload: &[u8]) {
    let mut outgoing = Packets::new(&[][..], Vec::new());
    outgoing.add(|output| output.extend_from_slice(payload));
    ready(outgoing.flush()).expect("memory takes everything");
    let (_, written, _) = outgoing.into_parts();
    let mut incoming = Packets::new(written.as_slice(), Vec::new());
    let read = ready(incoming.read(LIMIT));
    assert!(matches!(read, Ok(read) if read == payload));
}

/// Nobody comes in without the password.
fn answers(input: &mut Input<'_>) {
    let mut nonce = [0; NONCE_BYTES];
    nonce.iter_mut().for_each(|byte| *byte = input.byte());
    let verifier = Verifier::new(b"a password that is not in the corpus");
    let empty = Verifier::new(b"");
    let answer = without_zero(input.rest());
    for method in [Method::Native, Method::CachingSha2, Method::Other] {
        assert!(!verifier.accepts(method, answer, &nonce));
        assert_eq!(empty.accepts(method, answer, &nonce), answer.is_empty());
    }
}

/// Numbers and texts of packets, read one after the other.
fn fields(bytes: &[u8]) {
    let mut fields = Fields(bytes);
    while let Ok(number) = fields.length() {
        let mut encoded = Vec::new();
        put_length(number, &mut encoded);
        assert_eq!(Fields(&encoded).length().ok(), Some(number));
    }
    let mut fields = Fields(bytes);
    while let Ok(text) = fields.string() {
        let mut encoded = Vec::new();
        put_string(text, &mut encoded);
        assert_eq!(Fields(&encoded).string().ok(), Some(text));
    }
    let mut fields = Fields(bytes);
    while let Ok(text) = fields.until_zero() {
        assert!(!text.contains(&0));
    }
}
