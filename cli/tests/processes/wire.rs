//! A bare client: one blocking connection that speaks frames.

use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, announced_length};
use duet_protocol::layout::TableLayout;
use duet_protocol::record::ClusterState;
use duet_protocol::schema::{ColumnType, TableDefinition};
use duet_protocol::signal::change_dictionary::{ChangeDictionary, KIND_CREATE_TABLE, KIND_DROP_TABLE};
use duet_protocol::signal::dictionary_changed::DictionaryChanged;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT};
use duet_protocol::signal::open_session::OpenSession;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::write::Write;
use duet_protocol::signal::{Sections, Signal, SignalType, SignalView};
use duet_protocol::value::Value;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A signal that arrived.
#[derive(Debug)]
pub struct Received {
    pub signal_type: SignalType,
    pub request_id: u64,
    bytes: Vec<u8>,
}

impl Received {
    pub fn view(&self) -> SignalView<'_> {
        SignalView::split_checked(&self.bytes).expect("checked").0
    }

    pub fn body<S: Signal>(&self) -> S {
        *self.view().body::<S>().unwrap_or_else(|| panic!("{self:?} is not {:?}", S::TYPE))
    }
}

/// One connection.
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    waiting: Vec<Received>,
}

impl Wire {
    /// Connects without a word.
    pub fn connect(address: &str) -> Wire {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("option");
        Wire { stream, buffer: Vec::new(), waiting: Vec::new() }
    }

    /// Connects and shakes hands as a client.
    pub fn client(address: &str) -> Wire {
        let mut wire = Wire::connect(address);
        wire.send(0, &Hello { role: ROLE_CLIENT.into(), ..Hello::default() }, Sections::none());
        assert_eq!(wire.receive().expect("an answer").signal_type, SignalType::Welcome);
        wire
    }

    /// Sends one signal in a frame of its own.
    pub fn send<S: Signal>(&mut self, request_id: u64, body: &S, sections: Sections<'_>) {
        let mut builder = FrameBuilder::new();
        builder.push(0, request_id, body, sections);
        self.stream.write_all(builder.seal(&Envelope::default()).expect("open")).expect("sent");
    }

    /// The next signal, heartbeats and news left out. An error at the end of the stream or when nothing comes.
    pub fn receive(&mut self) -> io::Result<Received> {
        loop {
            if !self.waiting.is_empty() {
                let received = self.waiting.remove(0);
                let news = received.signal_type == SignalType::ClusterStateSignal && received.request_id == 0;
                if received.signal_type != SignalType::Heartbeat && !news {
                    return Ok(received);
                }
                continue;
            }
            let mut chunk = [0; 65_536];
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&chunk[..count]);
            while let Ok(Some(length)) = announced_length(&self.buffer, usize::MAX) {
                if self.buffer.len() < length {
                    break;
                }
                let frame: Vec<u8> = self.buffer.drain(..length).collect();
                for signal in FrameView::new_checked(&frame).expect("valid").signals() {
                    self.waiting.push(Received {
                        signal_type: signal.signal_type(),
                        request_id: signal.request_id(),
                        bytes: signal.bytes().to_vec(),
                    });
                }
            }
        }
    }

    /// Sends one request and waits for its answer. As every client does it asks again while the node has no lease: the machine may
    /// have given it no processor for a moment.
    pub fn ask<S: Signal>(&mut self, body: &S, sections: Sections<'_>) -> Received {
        let until = Instant::now() + PATIENCE;
        loop {
            self.send(42, body, sections);
            let received = self.receive().expect("an answer");
            assert_eq!(received.request_id, 42, "{received:?}");
            let not_serving = received.signal_type == SignalType::ErrorReply
                && received.body::<ErrorReply>().code.get() == ErrorCode::NotServing as u16;
            if !not_serving {
                return received;
            }
            assert!(Instant::now() < until, "the node serves nothing");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Opens a session.
    pub fn open_session(&mut self) -> u64 {
        self.ask(&OpenSession::default(), Sections::none()).body::<SessionOpened>().session.get()
    }

    /// Fetches the cluster state; `None` while there is none.
    pub fn state(&mut self) -> Option<ClusterState> {
        let answer = self.ask(&FetchState::default(), Sections::none());
        ClusterState::from_record(answer.view().section(0)).ok()
    }

    /// Creates the test table on the leading management node. The code of the answer and the table's id.
    pub fn create_table(&mut self, name: &str, request: u8) -> (u16, u32) {
        let record = definition(name).to_record().expect("fits");
        let body =
            ChangeDictionary { kind: KIND_CREATE_TABLE.into(), request: [request; 16], ..Default::default() };
        let answer = self.ask(&body, Sections::one(&record)).body::<DictionaryChanged>();
        (answer.code.get(), answer.table.get())
    }

    /// Drops a test table.
    pub fn drop_table(&mut self, name: &str, request: u8) -> u16 {
        let body =
            ChangeDictionary { kind: KIND_DROP_TABLE.into(), request: [request; 16], ..Default::default() };
        let name = format!("test.{name}");
        self.ask(&body, Sections::one(name.as_bytes())).body::<DictionaryChanged>().code.get()
    }
}

/// Definition of a test table.
pub fn definition(name: &str) -> TableDefinition {
    TableDefinition::builder("test", name)
        .required("id", ColumnType::BigInt)
        .nullable("balance", ColumnType::BigInt)
        .nullable("note", ColumnType::Varchar { characters: 12_000 })
        .primary_key(["id"])
        .build()
        .expect("valid")
}

/// Layout of every test table.
pub fn layout() -> TableLayout {
    TableLayout::new(&definition("any")).expect("valid")
}

/// Key and value image of a row.
pub fn row(id: i64, balance: i64, note: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let values = [Value::Int(id), Value::Int(balance), Value::Text(note.to_owned())];
    layout().encode_row(&values, &mut key, &mut value).expect("fits");
    (key, value)
}

/// A write of a test table.
pub fn write(table: u32, operation: u8, session: u64, seq: u64) -> Write {
    Write {
        table: table.into(),
        table_version: 1.into(),
        operation,
        session: session.into(),
        seq: seq.into(),
        ..Write::default()
    }
}

/// A read of a test table.
pub fn read(table: u32) -> Read {
    Read { table: table.into(), table_version: 1.into(), flags: 0.into() }
}
