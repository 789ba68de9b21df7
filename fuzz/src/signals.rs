//! Valid signals of every type from invented bytes: they survive a frame, and damage to the frame is survived.

use crate::frame::{check, repair, seal};
use crate::input::Input;
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, LanePosition, NO_LANE};
use duet_protocol::ids::Instance;
use duet_protocol::signal::{Sections, Signal, SignalType, SignalVisitor};

/// Most signals of an invented frame.
const MOST_SIGNALS: usize = 8;

/// The type with this number, or the next one that there is: a type that is added later takes nothing from the others.
fn type_of(number: u8) -> SignalType {
    let known = |number| SignalType::from_number(number & 0x3F);
    (u16::from(number)..).find_map(known).expect("some type is known")
}

/// A signal of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnySignal<'a> {
    /// Type.
    pub signal_type: SignalType,
    /// Block address.
    pub block: u16,
    /// Request id.
    pub request_id: u64,
    /// Fixed part.
    pub body: Vec<u8>,
    /// Sections.
    pub sections: [&'a [u8]; 3],
}

impl<'a> AnySignal<'a> {
    /// Type, addresses, body and sections from invented bytes.
    pub fn invent(input: &mut Input<'a>) -> AnySignal<'a> {
        let signal_type = type_of(input.byte());
        let body_bytes = signal_type.body_bytes();
        let (block, request_id) = (input.short(), u64::from(input.word()));
        let mut body = input.take(body_bytes).to_vec();
        body.resize(body_bytes, 0);
        AnySignal {
            signal_type,
            block,
            request_id,
            body,
            sections: [input.string(), input.string(), input.string()],
        }
    }

    /// Appends it to a frame through the type of its body.
    pub fn push(&self, builder: &mut FrameBuilder) {
        struct Push<'a>(&'a AnySignal<'a>, &'a mut FrameBuilder);
        impl SignalVisitor for Push<'_> {
            fn visit<S: Signal>(&mut self) {
                let body = S::read_from_bytes(&self.0.body).expect("the size of the type");
                assert_eq!(body.as_bytes(), self.0.body);
                let [first, second, third] = self.0.sections;
                self.1.push(self.0.block, self.0.request_id, &body, Sections::three(first, second, third));
            }
        }
        self.signal_type.visit(&mut Push(self, builder));
    }
}

/// An envelope from invented bytes.
pub fn invent_envelope(input: &mut Input<'_>) -> Envelope {
    let lane = input.short();
    Envelope {
        cluster_id: input.long(),
        sender: Instance { node: input.word(), incarnation: input.word() },
        receiver: Instance { node: input.word(), incarnation: input.word() },
        view: input.long(),
        epoch: input.long(),
        lane: (lane != NO_LANE && lane != 0).then(|| LanePosition {
            lane,
            number: input.long(),
            acknowledged: input.long(),
        }),
    }
}

/// Builds a frame, reads it back, and reads it again with some bytes changed.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let envelope = if input.byte() & 1 == 1 { invent_envelope(&mut input) } else { Envelope::default() };
    let signals: Vec<AnySignal<'_>> =
        (0..1 + input.below(MOST_SIGNALS)).map(|_| AnySignal::invent(&mut input)).collect();
    let mut builder = FrameBuilder::new();
    for signal in &signals {
        signal.push(&mut builder);
    }
    let mut frame = builder.seal(&envelope).expect("a frame is open").to_vec();
    assert!(check(&frame), "what is built is valid");
    let view = FrameView::new_checked(&frame).expect("checked before");
    assert_eq!(view.envelope(), envelope);
    assert_eq!(view.signal_count(), signals.len());
    for (found, signal) in view.signals().zip(&signals) {
        let sections = [found.section(0), found.section(1), found.section(2)];
        assert_eq!((found.signal_type(), sections), (signal.signal_type, signal.sections));
        assert_eq!((found.block(), found.request_id()), (signal.block, signal.request_id));
        assert_eq!(found.bytes()[32..][..signal.body.len()], signal.body);
    }
    while !input.is_empty() {
        let position = usize::from(input.short()) % frame.len();
        frame[position] ^= input.byte();
    }
    check(&frame);
    seal(&mut frame);
    check(&frame);
    repair(&mut frame);
    check(&frame);
}
