//! Signals: fixed-layout messages between blocks. One file per signal.
//!
//! ```text
//! byte  0  signal type   u16
//!       2  block         u16   high byte block number, low byte instance; 0 lets the receiver choose
//!       4  length        u32   whole signal with header and padded sections, a multiple of 8
//!       8  request id    u64   chosen by the asker, repeated in the answer
//!      16  section bytes u32 × 3   length of each section, without padding
//!      28  reserved      u32   0
//!      32  fixed body    its size belongs to the type
//!          sections      each padded with zero bytes to a multiple of 8
//! ```

use crate::error::ErrorCode;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the signal header.
pub const SIGNAL_HEADER_BYTES: usize = 32;
/// Most sections of a signal.
pub const MAX_SECTIONS: usize = 3;

/// The signal header; layout in the module documentation.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SignalHeader {
    /// A [`SignalType`].
    pub signal_type: U16,
    /// Block address.
    pub block: U16,
    /// Whole signal in bytes.
    pub length: U32,
    /// Chosen by the asker.
    pub request_id: U64,
    /// Bytes of each section.
    pub section_bytes: [U32; MAX_SECTIONS],
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<SignalHeader>() == SIGNAL_HEADER_BYTES);

/// The fixed part of one type of signal.
pub trait Signal: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned + Copy {
    /// Its number.
    const TYPE: SignalType;
}

/// Work on the fixed part of any type of signal; see [`SignalType::visit`].
pub trait SignalVisitor {
    /// Called with the type of the fixed part.
    fn visit<S: Signal>(&mut self);
}

macro_rules! signal_types {
    ($($module:ident :: $name:ident = $number:literal,)+) => {
        $(pub mod $module;)+

        /// Numbers of the signals; a number is never used again for another layout.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum SignalType { $(#[doc = concat!("See [`", stringify!($module), "::", stringify!($name), "`].")] $name = $number,)+ }

        impl SignalType {
            /// Every type with the size of its fixed body.
            pub const ALL: &'static [(SignalType, usize)] = &[$((SignalType::$name, size_of::<$module::$name>()),)+];

            /// The type with this number, if there is one.
            #[inline]
            pub fn from_number(number: u16) -> Option<SignalType> {
                match number { $($number => Some(SignalType::$name),)+ _ => None }
            }

            /// Its bit in a set of types.
            #[inline]
            pub const fn bit(self) -> u64 {
                1 << (self as u16)
            }

            /// Bytes of the fixed body.
            #[inline]
            pub fn body_bytes(self) -> usize {
                match self { $(SignalType::$name => size_of::<$module::$name>(),)+ }
            }

            /// Calls the visitor with the type of the fixed part, for tools and tests that treat all signals alike.
            pub fn visit(self, visitor: &mut impl SignalVisitor) {
                match self { $(SignalType::$name => visitor.visit::<$module::$name>(),)+ }
            }
        }

        $(
            impl Signal for $module::$name { const TYPE: SignalType = SignalType::$name; }
            const _: () = assert!(size_of::<$module::$name>() % 8 == 0 && $number < 64);
        )+

        #[cfg(test)]
        mod round_trips {
            $(#[test] fn $module() { super::tests::round_trip::<super::$module::$name>(); })+
        }
    };
}

signal_types! {
    hello::Hello = 1,
    welcome::Welcome = 2,
    refuse_link::RefuseLink = 3,
    heartbeat::Heartbeat = 4,
    open_epoch::OpenEpoch = 5,
    epoch_drained::EpochDrained = 6,
    epoch_closed::EpochClosed = 7,
    copy_begin::CopyBegin = 8,
    copy_end::CopyEnd = 9,
    read::Read = 10,
    read_reply::ReadReply = 11,
    write::Write = 12,
    write_reply::WriteReply = 13,
    error_reply::ErrorReply = 14,
    resolve::Resolve = 15,
    resolve_reply::ResolveReply = 16,
    scan::Scan = 17,
    scan_reply::ScanReply = 18,
    open_session::OpenSession = 19,
    session_opened::SessionOpened = 20,
    fetch_state::FetchState = 21,
    cluster_state::ClusterStateSignal = 22,
    operate::Operate = 23,
    operate_reply::OperateReply = 24,
    commit_transaction::CommitTransaction = 25,
    rollback_transaction::RollbackTransaction = 26,
    transaction_reply::TransactionReply = 27,
    row_entered::RowEntered = 28,
    copy_row::CopyRow = 29,
    prepare_one::PrepareOne = 30,
    accept_one::AcceptOne = 31,
    refuse_one::RefuseOne = 32,
    chain_refused::ChainRefused = 33,
    reconcile::Reconcile = 34,
    lane_acknowledge::LaneAcknowledge = 35,
    prepare::Prepare = 36,
    prepare_row::PrepareRow = 37,
    prepared::Prepared = 38,
    commit_rows::CommitRows = 39,
    committed::Committed = 40,
    abort_rows::AbortRows = 41,
    abort_prepared::AbortPrepared = 42,
    complete::Complete = 43,
    lock_wait::LockWait = 44,
    deadlock_probe::DeadlockProbe = 45,
    two_phase_write::TwoPhaseWrite = 46,
    installed::Installed = 47,
    transaction_report::TransactionReport = 48,
    report_end::ReportEnd = 49,
    register::Register = 50,
    registered::Registered = 51,
    node_report::NodeReport = 52,
    change_dictionary::ChangeDictionary = 53,
    dictionary_changed::DictionaryChanged = 54,
    fetch_status::FetchStatus = 55,
    cluster_status::ClusterStatusSignal = 56,
    propose_view::ProposeView = 57,
    view_proposed::ViewProposed = 58,
    takeover_done::TakeoverDone = 59,
    raft_message::RaftMessage = 60,
    fetch_users::FetchUsers = 61,
    users::Users = 62,
    copy_outcomes::CopyOutcomes = 63,
}

/// Appends a whole signal: header, fixed body, padded sections.
#[inline(always)]
pub fn append_signal<S: Signal>(
    buffer: &mut Vec<u8>,
    block: u16,
    request_id: u64,
    body: &S,
    sections: Sections<'_>,
) {
    let length = SIGNAL_HEADER_BYTES + size_of::<S>() + sections.padded_bytes();
    let header = SignalHeader {
        signal_type: U16::new(S::TYPE as u16),
        block: U16::new(block),
        length: U32::new(length as u32),
        request_id: U64::new(request_id),
        section_bytes: sections.lengths(),
        reserved: U32::new(0),
    };
    buffer.reserve(length + 8);
    buffer.extend_from_slice(header.as_bytes());
    buffer.extend_from_slice(body.as_bytes());
    sections.append_to(buffer);
}

/// The signals that lie one behind the other in bytes from [`append_signal`].
pub fn signals_in(bytes: &[u8]) -> impl Iterator<Item = SignalView<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (signal, tail) = SignalView::split_again(rest)?;
        rest = tail;
        Some(signal)
    })
}

/// Up to three sections to append to a signal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sections<'a> {
    parts: [&'a [u8]; MAX_SECTIONS],
}

impl<'a> Sections<'a> {
    /// No section.
    #[inline(always)]
    pub fn none() -> Sections<'static> {
        Sections { parts: [&[]; MAX_SECTIONS] }
    }

    /// One section.
    #[inline(always)]
    pub fn one(first: &'a [u8]) -> Sections<'a> {
        Sections { parts: [first, &[], &[]] }
    }

    /// Two sections.
    #[inline(always)]
    pub fn two(first: &'a [u8], second: &'a [u8]) -> Sections<'a> {
        Sections { parts: [first, second, &[]] }
    }

    /// Three sections.
    #[inline(always)]
    pub fn three(first: &'a [u8], second: &'a [u8], third: &'a [u8]) -> Sections<'a> {
        Sections { parts: [first, second, third] }
    }

    /// Bytes with padding.
    #[inline(always)]
    pub fn padded_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len().next_multiple_of(8)).sum()
    }

    /// Lengths without padding.
    #[inline(always)]
    pub fn lengths(&self) -> [U32; MAX_SECTIONS] {
        self.parts.map(|part| U32::new(part.len() as u32))
    }

    /// Appends all sections, padded.
    #[inline(always)]
    pub fn append_to(&self, buffer: &mut Vec<u8>) {
        for part in self.parts {
            if !part.is_empty() {
                let padded = buffer.len() + part.len().next_multiple_of(8);
                buffer.extend_from_slice(part);
                // A copy of known length costs less than one of just the padding.
                buffer.extend_from_slice(&[0; 8]);
                buffer.truncate(padded);
            }
        }
    }
}

/// A signal whose bounds were checked once: the accessors cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct SignalView<'a> {
    header: &'a SignalHeader,
    signal_type: SignalType,
    bytes: &'a [u8],
}

impl<'a> SignalView<'a> {
    /// Splits the first signal off `bytes`.
    ///
    /// # Errors
    /// `DamagedFrame` when the type is unknown or a length does not fit.
    #[inline]
    pub fn split_checked(bytes: &'a [u8]) -> Result<(SignalView<'a>, &'a [u8]), ErrorCode> {
        let (header, _) = SignalHeader::ref_from_prefix(bytes).map_err(|_| ErrorCode::DamagedFrame)?;
        let signal_type = SignalType::from_number(header.signal_type.get()).ok_or(ErrorCode::DamagedFrame)?;
        let length = header.length.get() as usize;
        let mut wanted = (SIGNAL_HEADER_BYTES + signal_type.body_bytes()) as u64;
        for section in &header.section_bytes {
            wanted += u64::from(section.get()).next_multiple_of(8);
        }
        if length as u64 != wanted || length > bytes.len() {
            return Err(ErrorCode::DamagedFrame);
        }
        let (signal, rest) = bytes.split_at(length);
        Ok((SignalView { header, signal_type, bytes: signal }, rest))
    }

    /// Splits the first signal off the bytes of a [`crate::frame::FrameView`], whose check has found them well formed.
    /// `None` behind the last signal. Bytes that nobody has checked give a view whose accessors may panic.
    #[inline(always)]
    pub fn split_again(bytes: &'a [u8]) -> Option<(SignalView<'a>, &'a [u8])> {
        let (header, _) = SignalHeader::ref_from_prefix(bytes).ok()?;
        let signal_type = SignalType::from_number(header.signal_type.get())?;
        let (signal, rest) = bytes.split_at_checked(header.length.get() as usize)?;
        Some((SignalView { header, signal_type, bytes: signal }, rest))
    }

    /// Its type.
    #[inline]
    pub fn signal_type(&self) -> SignalType {
        self.signal_type
    }

    /// Block address.
    #[inline]
    pub fn block(&self) -> u16 {
        self.header.block.get()
    }

    /// Request id.
    #[inline]
    pub fn request_id(&self) -> u64 {
        self.header.request_id.get()
    }

    /// The whole signal.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Appends the signal to a buffer, under another block address and request id.
    pub fn append_as(&self, block: u16, request_id: u64, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        buffer.extend_from_slice(self.bytes);
        buffer[start + 2..start + 4].copy_from_slice(U16::new(block).as_bytes());
        buffer[start + 8..start + 16].copy_from_slice(U64::new(request_id).as_bytes());
    }

    /// The fixed body, when the signal is of type `S`.
    #[inline]
    pub fn body<S: Signal>(&self) -> Option<&'a S> {
        if self.signal_type != S::TYPE {
            return None;
        }
        S::ref_from_prefix(&self.bytes[SIGNAL_HEADER_BYTES..]).ok().map(|(body, _)| body)
    }

    /// Section `index` (0..3); empty when absent.
    #[inline(always)]
    pub fn section(&self, index: usize) -> &'a [u8] {
        let mut start = SIGNAL_HEADER_BYTES + self.signal_type.body_bytes();
        for section in &self.header.section_bytes[..index] {
            start += (section.get() as usize).next_multiple_of(8);
        }
        &self.bytes[start..start + self.header.section_bytes[index].get() as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Envelope, FrameBuilder, FrameView};

    /// Random bodies and sections survive a frame; random bytes never panic.
    pub(super) fn round_trip<S: Signal>() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ (S::TYPE as u64);
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..200 {
            let bytes: Vec<u8> = (0..size_of::<S>()).map(|_| random() as u8).collect();
            let body = S::read_from_bytes(&bytes).expect("size");
            let first: Vec<u8> = (0..random() % 20).map(|_| random() as u8).collect();
            let third: Vec<u8> = (0..random() % 40).map(|_| random() as u8).collect();
            let mut builder = FrameBuilder::new();
            builder.push(3, 77, &body, Sections::three(&first, &[], &third));
            let frame_bytes = builder.seal(&Envelope::default()).expect("open").to_vec();
            let frame = FrameView::new_checked(&frame_bytes).expect("valid");
            let signal = frame.signals().next().expect("one");
            assert_eq!(signal.body::<S>().expect("type").as_bytes(), bytes);
            assert_eq!(
                (signal.section(0), signal.section(1), signal.section(2)),
                (&first[..], &[][..], &third[..])
            );
            assert_eq!((signal.request_id(), signal.block()), (77, 3));

            let mut damaged = signal.bytes().to_vec();
            for _ in 0..1 + random() % 4 {
                let position = (random() % damaged.len() as u64) as usize;
                damaged[position] = random() as u8;
            }
            if let Ok((view, _)) = SignalView::split_checked(&damaged) {
                let _ = (view.section(0), view.section(1), view.section(2), view.body::<S>());
            }
        }
    }

    #[test]
    fn numbers_are_unique() {
        for pair in SignalType::ALL.windows(2) {
            assert!(pair[0].0 < pair[1].0);
        }
    }
}
