//! One operation of a direct client: what it knows of its outcome and what it does next.

use super::live_scan::LiveScan;
use crate::history::{Outcome, ReadRecord, Refusal, Violation, WriteRecord};
use crate::queue::{MILLISECOND, Time};
use crate::random::Random;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::RowVersion;

/// First wait for an answer before a write is sent again; doubled each time.
const FIRST_PATIENCE: Time = 20 * MILLISECOND;
/// Longest such wait.
const LAST_PATIENCE: Time = 320 * MILLISECOND;
/// Wait before a refused request is tried again: up to this.
const BACK_OFF: Time = 8 * MILLISECOND;
/// Times a write is sent before the client only asks what became of it.
const MOST_COPIES: u32 = 12;

/// What an answer says of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is committed.
    Committed {
        /// Version of the row.
        version: RowVersion,
        /// Counter after an increment.
        result: Option<i64>,
    },
    /// The row refused it.
    Refused(Refusal),
    /// It is fenced and will never happen.
    Aborted,
    /// This copy of the request did nothing.
    NotExecuted(ErrorCode),
    /// Whether it was executed is not known.
    Unknown,
}

/// What to do with a write now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time.
    Wait(Time),
    /// Send (another copy of) the write.
    SendWrite,
    /// Ask what became of it.
    SendResolve,
    /// Its story has ended.
    Finish,
}

/// A write under way.
#[derive(Clone, Debug)]
pub struct WriteOperation {
    /// What goes into the history.
    pub record: WriteRecord,
    /// Encoded key.
    pub key: Vec<u8>,
    /// Hash that places the row.
    pub partition_hash: u64,
    /// Value section.
    pub payload: Vec<u8>,
    /// Table version.
    pub table_version: u16,
    /// Requests on open links without an answer.
    pub live: u32,
    /// The client asks again this many times after it knows the outcome.
    pub ask_again: u32,
    /// A second copy is to be sent while the first is under way.
    pub duplicate: bool,
    copies: u32,
    lost: bool,
    refused: Option<(Refusal, Time)>,
    resolving: bool,
    fenced: bool,
    not_before: Time,
    patience: Time,
}

impl WriteOperation {
    /// A write that was not sent yet.
    pub fn new(
        record: WriteRecord,
        key: Vec<u8>,
        partition_hash: u64,
        payload: Vec<u8>,
        table_version: u16,
    ) -> Self {
        WriteOperation {
            record,
            key,
            partition_hash,
            payload,
            table_version,
            live: 0,
            ask_again: 0,
            duplicate: false,
            copies: 0,
            lost: false,
            refused: None,
            resolving: false,
            fenced: false,
            not_before: 0,
            patience: FIRST_PATIENCE,
        }
    }

    /// A copy or a question was sent.
    pub fn sent(&mut self, now: Time, is_write: bool) {
        self.live += 1;
        self.copies += u32::from(is_write);
        self.not_before = now + self.patience;
        self.patience = (self.patience * 2).min(LAST_PATIENCE);
    }

    /// It could not be sent because the node is not connected.
    pub fn not_sent(&mut self, now: Time, random: &mut Random) {
        self.not_before = now + MILLISECOND + random.below(BACK_OFF);
    }

    /// The link with a request under way is gone.
    pub fn link_lost(&mut self, now: Time, is_write: bool, random: &mut Random) {
        self.live -= 1;
        self.lost |= is_write;
        self.not_before = now + random.below(BACK_OFF);
    }

    /// An answer came. `again`: to a request that was sent when the outcome was known already.
    ///
    /// A copy sent before may have been refused by the row first, while another copy is committed later: refusals leave no
    /// record. After the outcome is known there is nothing but the record.
    ///
    /// # Errors
    /// When it contradicts what was known.
    pub fn answered(
        &mut self,
        now: Time,
        answer: Answer,
        again: bool,
        random: &mut Random,
    ) -> Result<(), Violation> {
        self.live -= 1;
        let known = self.record.outcome;
        let contradiction = || {
            Violation::new(
                "an outcome answered twice is the same",
                format!("{} {:?}: {known:?}, then {answer:?}", self.record.transaction, self.record.action),
            )
        };
        match (answer, known) {
            (Answer::Committed { version, result }, Outcome::Unknown) => {
                self.learn(now, Outcome::Committed { version, result });
            }
            (Answer::Committed { version, result }, Outcome::Committed { .. }) => {
                if known != (Outcome::Committed { version, result }) {
                    return Err(contradiction());
                }
            }
            (Answer::Aborted, Outcome::Unknown) => {
                self.fenced = true;
                match self.refused {
                    Some((refusal, at)) => self.learn(at, Outcome::Refused(refusal)),
                    None => self.learn(now, Outcome::Aborted),
                }
            }
            (Answer::Committed { .. }, Outcome::Aborted | Outcome::Refused(_))
            | (Answer::Aborted, Outcome::Committed { .. }) => return Err(contradiction()),
            (Answer::Refused(_), Outcome::Committed { .. }) => {
                if again {
                    return Err(contradiction());
                }
            }
            (Answer::Refused(refusal), Outcome::Unknown) => {
                self.refused.get_or_insert((refusal, now));
            }
            (Answer::Aborted | Answer::Refused(_), Outcome::Aborted | Outcome::Refused(_)) => {}
            (Answer::NotExecuted(_), _) => self.try_soon(now, random),
            (Answer::Unknown, _) => {
                self.lost = true;
                self.try_soon(now, random);
            }
        }
        Ok(())
    }

    /// Acts soon, unless another request is under way: it may have taken this one's place.
    fn try_soon(&mut self, now: Time, random: &mut Random) {
        if self.live == 0 {
            self.not_before = now + random.below(BACK_OFF);
        }
    }

    fn learn(&mut self, now: Time, outcome: Outcome) {
        self.record.outcome = outcome;
        self.record.responded = now;
        self.not_before = now;
    }

    /// What to do now. `hurry`: nothing new is begun, only what is open is brought to its end.
    pub fn step(&mut self, now: Time, hurry: bool, random: &mut Random) -> Step {
        if self.record.outcome != Outcome::Unknown {
            // A refusal, and an error that says "not executed", leave no record: sent again, the write may happen.
            let recorded = match self.record.outcome {
                Outcome::Committed { .. } => true,
                Outcome::Aborted | Outcome::Refused(_) => self.fenced,
                Outcome::Unknown => false,
            };
            if self.ask_again == 0 || !recorded {
                return Step::Finish;
            }
            if now < self.not_before {
                return Step::Wait(self.not_before);
            }
            self.ask_again -= 1;
            return if random.chance(500_000) { Step::SendWrite } else { Step::SendResolve };
        }
        if self.live == 0 && !self.lost {
            // Every copy was answered, so a refusal is final, and so is an error that says "not executed".
            if let Some((refusal, at)) = self.refused {
                self.learn(at, Outcome::Refused(refusal));
                return self.step(now, hurry, random);
            }
            if self.copies > 0 && !self.resolving && random.chance(if hurry { 1_000_000 } else { 200_000 }) {
                self.learn(now, Outcome::Aborted);
                return self.step(now, hurry, random);
            }
        }
        if self.duplicate && self.copies == 1 && self.live == 1 {
            self.duplicate = false;
            return Step::SendWrite;
        }
        if now < self.not_before {
            return Step::Wait(self.not_before);
        }
        if self.copies > 0 && !self.resolving {
            let ambiguous = self.refused.is_some() || self.copies >= MOST_COPIES || hurry;
            self.resolving = ambiguous || random.chance(300_000);
        }
        if self.resolving { Step::SendResolve } else { Step::SendWrite }
    }
}

/// A read under way.
#[derive(Clone, Debug)]
pub struct ReadOperation {
    /// What goes into the history.
    pub record: ReadRecord,
    /// Table version.
    pub table_version: u16,
}

/// A scan under way, partition by partition.
#[derive(Debug)]
pub struct ScanOperation {
    /// Table id.
    pub table: u32,
    /// Partition now.
    pub partition: u16,
    /// Cursor in it.
    pub cursor: u64,
    /// When the batch under way was asked for.
    pub sent: Time,
    /// Whether a batch is under way.
    pub live: bool,
    /// Not before this time.
    pub not_before: Time,
    /// Failures in a row.
    pub failures: u32,
    /// The rows are those at the end of the run.
    pub last: bool,
    /// What a scan while traffic runs asks for.
    pub query: Option<Box<LiveScan>>,
}
