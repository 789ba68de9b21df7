//! Looking up names without stopping the loop: the system's resolver blocks, so a thread of its own asks it.

use crate::poll::Waker;
use duet_datanode_core::{Nanoseconds, Target};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Names that may wait to be looked up; the kernel asks again when one is refused.
const QUESTIONS: usize = 64;

struct Question {
    target: Target,
    address: String,
    until: Nanoseconds,
}

/// A name that was looked up.
pub(crate) struct Answer {
    pub target: Target,
    pub address: String,
    pub addresses: io::Result<Vec<SocketAddr>>,
    /// When the connection must be open.
    pub until: Nanoseconds,
}

/// Asks the resolver thread, which is started with the first name.
pub(crate) struct Resolver {
    waker: Waker,
    questions: Option<SyncSender<Question>>,
    answers_sender: SyncSender<Answer>,
    answers: Receiver<Answer>,
}

impl Resolver {
    pub fn new(waker: Waker) -> Resolver {
        // A full channel stops the resolver until the loop, woken by the answers before, has taken them.
        let (answers_sender, answers) = sync_channel(QUESTIONS);
        Resolver { waker, questions: None, answers_sender, answers }
    }

    /// Looks a name up; the waker is woken when the answer is there. Why not, if it cannot be asked now.
    pub fn submit(&mut self, target: Target, address: &str, until: Nanoseconds) -> Result<(), String> {
        let questions = match &self.questions {
            Some(questions) => questions,
            None => self.questions.insert(self.start().map_err(|error| error.to_string())?),
        };
        let question = Question { target, address: address.to_owned(), until };
        questions.try_send(question).map_err(|_| "too many names are being looked up".to_owned())
    }

    pub fn next_answer(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    fn start(&self) -> io::Result<SyncSender<Question>> {
        let (sender, questions) = sync_channel::<Question>(QUESTIONS);
        let (answers, waker) = (self.answers_sender.clone(), self.waker.clone());
        // The thread ends when the loop drops its end of the channel.
        std::thread::Builder::new().name("duet-resolve".to_owned()).spawn(move || {
            for Question { target, address, until } in questions {
                let addresses = address.to_socket_addrs().map(Iterator::collect);
                if answers.send(Answer { target, address, addresses, until }).is_err() {
                    return;
                }
                waker.wake();
            }
        })?;
        Ok(sender)
    }
}
