//! Frames from invented bytes: refused, or every accessor holds and the frame can be built again.

use duet_protocol::frame::{
    Envelope, FRAME_HEADER_BYTES, FrameBuilder, FrameView, MAX_FRAME_BYTES, MAX_HANDSHAKE_BYTES, NO_LANE,
    PROTOCOL_VERSION, announced_length,
};
use duet_protocol::signal::scan_reply::split_row;
use duet_protocol::signal::{Signal, SignalType, SignalView, SignalVisitor};

/// Looks at the bytes as they are, and again with length, version, counts and checksum made right.
pub fn run(bytes: &[u8]) {
    for limit in [MAX_HANDSHAKE_BYTES, MAX_FRAME_BYTES] {
        if let Ok(Some(length)) = announced_length(bytes, limit) {
            assert!((FRAME_HEADER_BYTES..=limit).contains(&length) && length.is_multiple_of(8));
        }
    }
    check(bytes);
    let mut repaired = bytes.to_vec();
    repair(&mut repaired);
    check(&repaired);
}

/// Makes length, version, number of signals and checksum right, and reserved fields zero.
pub fn repair(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().max(FRAME_HEADER_BYTES).next_multiple_of(8), 0);
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    let mut count = 0_u16;
    let mut rest = &bytes[FRAME_HEADER_BYTES..];
    while let Ok((_, tail)) = SignalView::split_checked(rest) {
        rest = tail;
        count = count.wrapping_add(1);
    }
    bytes[6..8].copy_from_slice(&count.to_le_bytes());
    bytes[12..16].fill(0);
    bytes[58..64].fill(0);
    if bytes[56..58] == NO_LANE.to_le_bytes() {
        bytes[64..80].fill(0);
    }
    seal(bytes);
}

/// Makes the checksum right, where there is room for one.
pub fn seal(bytes: &mut [u8]) {
    if bytes.len() >= 12 {
        let checksum = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Checks a frame, if it is one, and builds it again. Whether it was one.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(frame) = FrameView::new_checked(bytes) else { return false };
    assert_eq!(frame.signals().count(), frame.signal_count());
    let mut types = 0;
    let mut builder = FrameBuilder::new();
    for signal in frame.signals() {
        check_signal(&signal);
        types |= signal.signal_type().bit();
        builder.push_view(signal.request_id(), &signal);
    }
    assert_eq!(types, frame.types());
    let envelope = frame.envelope();
    if frame.signal_count() == 0 {
        assert!(builder.seal(&envelope).is_none());
        return true;
    }
    let rebuilt = builder.seal(&envelope).expect("a frame is open");
    assert_eq!(rebuilt[FRAME_HEADER_BYTES..], bytes[FRAME_HEADER_BYTES..]);
    if is_canonical(bytes, &envelope) {
        assert_eq!(rebuilt, bytes, "the same envelope and signals are the same frame");
    }
    let again = FrameView::new_checked(rebuilt).expect("what was built is valid");
    assert_eq!(again.envelope(), envelope);
    true
}

/// Whether fields that mean nothing are zero.
fn is_canonical(bytes: &[u8], envelope: &Envelope) -> bool {
    let zero = |range: std::ops::Range<usize>| bytes[range].iter().all(|byte| *byte == 0);
    zero(12..16) && zero(58..64) && (envelope.lane.is_some() || zero(64..80))
}

/// Calls every accessor of a signal.
pub fn check_signal(signal: &SignalView<'_>) {
    struct Body<'a>(SignalView<'a>);
    impl SignalVisitor for Body<'_> {
        fn visit<S: Signal>(&mut self) {
            let body = self.0.body::<S>().expect("the type says so");
            assert_eq!(body.as_bytes(), &self.0.bytes()[32..32 + size_of::<S>()]);
        }
    }
    let sections: usize = (0..3).map(|index| signal.section(index).len()).sum();
    assert!(32 + signal.signal_type().body_bytes() + sections <= signal.bytes().len());
    assert_eq!(SignalType::from_number(signal.signal_type() as u16), Some(signal.signal_type()));
    let _ = signal.block();
    signal.signal_type().visit(&mut Body(*signal));
    let mut batch = signal.section(0);
    let mut rows = 0;
    while split_row(&mut batch).is_some() {
        rows += 1;
    }
    assert!(rows <= signal.section(0).len() / 24);
}
