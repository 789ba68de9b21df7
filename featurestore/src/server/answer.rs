//! What a request is answered with.

use crate::FeatureError;
use crate::json::{write_integer, write_text};

/// Failures of a batch that are told one by one.
const TOLD_FAILURES: usize = 10;

/// Status, body and what goes into the headers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: &'static str,
    /// Rows that failed, in an answer about several.
    pub(crate) failures: Option<usize>,
}

impl Answer {
    pub(crate) fn json(body: impl Into<Vec<u8>>) -> Answer {
        Answer { status: 200, body: body.into(), content_type: "application/json", failures: None }
    }

    pub(crate) fn empty() -> Answer {
        Answer { content_type: "text/plain", ..Answer::json(Vec::new()) }
    }

    pub(crate) fn text(text: String) -> Answer {
        Answer { content_type: "text/plain; version=0.0.4", ..Answer::json(text) }
    }

    /// `{"code":12,"reason":"Incorrect primary key.","message":"…"}`, and the message as `detail`, where users of Feast look.
    pub(crate) fn of_error(error: &FeatureError) -> Answer {
        let mut body = Vec::with_capacity(128);
        body.push(b'{');
        write_error(&mut body, error);
        body.extend_from_slice(b",\"detail\":");
        write_text(&mut body, &error.message);
        body.push(b'}');
        Answer { status: error.status(), ..Answer::json(body) }
    }

    pub(crate) fn with_failures(mut self, failures: usize) -> Answer {
        self.failures = Some(failures);
        self
    }
}

/// The members of an error.
pub(crate) fn write_error(out: &mut Vec<u8>, error: &FeatureError) {
    out.extend_from_slice(b"\"code\":");
    write_integer(out, i64::from(error.code()));
    out.extend_from_slice(b",\"reason\":");
    write_text(out, error.reason.text());
    out.extend_from_slice(b",\"message\":");
    write_text(out, &error.message);
}

/// `,"failures":2,"errors":[{"row":0,…}]` when something failed, else nothing; `errors` holds the first ones.
pub(crate) fn write_failures<'e>(
    out: &mut Vec<u8>,
    failures: impl Iterator<Item = (usize, &'e FeatureError)>,
) -> usize {
    let mut count = 0;
    let mut told = Vec::new();
    for (row, error) in failures {
        if count < TOLD_FAILURES {
            told.extend_from_slice(if count == 0 { b"{\"row\":" } else { b",{\"row\":" });
            write_integer(&mut told, row as i64);
            told.push(b',');
            write_error(&mut told, error);
            told.push(b'}');
        }
        count += 1;
    }
    if count > 0 {
        out.extend_from_slice(b",\"failures\":");
        write_integer(out, count as i64);
        out.extend_from_slice(b",\"errors\":[");
        out.extend_from_slice(&told);
        out.push(b']');
    }
    count
}
