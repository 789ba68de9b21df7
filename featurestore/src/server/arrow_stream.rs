//! Rows as a stream of Arrow batches in a body without end.
//!
//! The format gives lengths and counts of rows in front of what they speak of. They are checked here, before the decoder
//! believes them: a sender can neither make the server take memory for bytes that never come nor loop over rows that are
//! not there.

use super::App;
use super::answer::Answer;
use super::rows::{report_answer, write};
use super::stream::{Totals, UnderWay, next_chunk};
use crate::columnar::{ArrowBatch, feature_value};
use crate::{FeatureError, GroupWriter, Reason, Result, Versioned};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::{MessageHeader, root_as_message};
use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use duet_client::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Media type of such a body.
pub(super) const CONTENT_TYPE: &[u8] = b"application/vnd.apache.arrow.stream";
/// Longest description of a message, in bytes.
const LONGEST_HEAD: usize = 1 << 20;
/// Longest message, in bytes.
const LONGEST_MESSAGE: usize = 64 << 20;
/// Most rows of a message.
const MESSAGE_ROWS: usize = 1 << 20;
/// Most rows written at once.
const WRITE_ROWS: usize = 4_096;
/// In front of the length of every message, since version 0.15 of the format.
const CONTINUATION: u32 = u32::MAX;

fn invalid(message: impl Into<String>) -> FeatureError {
    FeatureError::new(Reason::InvalidRequest, message)
}

/// Bytes of the first message with its length in front, when they are there; 0 for the end of the stream.
fn message_bytes(bytes: &[u8]) -> Result<Option<usize>> {
    let mut rest = bytes;
    let word = |rest: &mut &[u8]| (rest.len() >= 4).then(|| rest.get_u32_le());
    let Some(mut length) = word(&mut rest) else { return Ok(None) };
    let mut head = 4;
    if length == CONTINUATION {
        let Some(next) = word(&mut rest) else { return Ok(None) };
        (length, head) = (next, 8);
    }
    let length = length as usize;
    if length == 0 {
        return Ok(Some(0));
    }
    if length > LONGEST_HEAD {
        return Err(FeatureError::new(Reason::TooLarge, format!("a message is described by {length} bytes")));
    }
    let Some(description) = rest.get(..length) else { return Ok(None) };
    let message =
        root_as_message(description).map_err(|error| invalid(format!("no Arrow stream: {error}")))?;
    let body = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
    if body > LONGEST_MESSAGE {
        let text = format!("a message has {body} bytes; at most {LONGEST_MESSAGE} are taken");
        return Err(FeatureError::new(Reason::TooLarge, text));
    }
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let batch = message.header_as_record_batch().or(dictionary);
    match (message.header_type(), batch) {
        (MessageHeader::Schema, _) => {}
        (MessageHeader::RecordBatch | MessageHeader::DictionaryBatch, Some(batch)) => {
            if batch.compression().is_some() {
                return Err(invalid("compressed batches are not taken"));
            }
            if usize::try_from(batch.length()).is_ok_and(|rows| rows > MESSAGE_ROWS) || batch.length() < 0 {
                let text = format!("a batch has {} rows; at most {MESSAGE_ROWS} are taken", batch.length());
                return Err(FeatureError::new(Reason::TooLarge, text));
            }
        }
        _ => return Err(invalid("the stream has a message of an unknown kind")),
    }
    let whole = head + length + body;
    Ok(Some(whole).filter(|whole| bytes.len() >= *whole))
}

/// Decodes a whole message.
fn decode(decoder: &mut StreamDecoder, message: Bytes) -> Result<Option<RecordBatch>> {
    let mut buffer = Buffer::from(message);
    // The decoder checks what it is given; what it may have overlooked must not end the connection without a word.
    let decoded = catch_unwind(AssertUnwindSafe(|| decoder.decode(&mut buffer)));
    match decoded {
        Ok(Ok(batch)) => Ok(batch),
        Ok(Err(error)) => Err(invalid(format!("no Arrow stream: {error}"))),
        Err(_) => Err(invalid("a batch contradicts its schema")),
    }
}

/// The values of rows of a batch, in columns of the group.
fn rows_of(
    writer: &GroupWriter,
    columns: &[u16],
    batch: &ArrowBatch,
    from: usize,
    to: usize,
) -> Vec<Result<Vec<Value>>> {
    let definition = writer.group().table.definition();
    let row = |row: usize| {
        let value = |(index, column): (usize, &u16)| {
            let column = &definition.columns[usize::from(*column)];
            let value = batch.cell(index, row).map_err(Into::into);
            let value = value.and_then(|value| feature_value(&value, column.column_type));
            let wrong =
                |reason| FeatureError::new(Reason::WrongValue, format!("'{}': {reason}", column.name));
            value.map_err(wrong)
        };
        columns.iter().enumerate().map(value).collect()
    };
    (from..to).map(row).collect()
}

/// `POST /feature_groups/{store}/{name}/{version}/stream` with a body of Arrow.
pub(super) async fn stream(app: &Arc<App>, name: &Versioned, mut body: Body) -> Result<Answer> {
    let writer = Arc::new(app.store.writer(name).await?);
    let mut under_way = UnderWay::new(&writer);
    let (mut totals, mut rest) = (Totals::default(), BytesMut::new());
    let mut decoder = StreamDecoder::new();
    let mut ended = false;
    while let Some(chunk) = next_chunk(&mut body).await? {
        let arrived = Instant::now();
        rest.extend_from_slice(&chunk);
        while !ended && let Some(length) = message_bytes(&rest)? {
            ended = length == 0;
            let message = rest.split_to(length).freeze();
            let Some(batch) = decode(&mut decoder, message)? else { continue };
            let names = batch.schema();
            let names =
                names.fields().iter().map(|field| field.name().to_ascii_lowercase()).collect::<Vec<_>>();
            let columns = Arc::new(writer.columns(names.iter().map(String::as_str))?);
            let batch = ArrowBatch::new(&batch)?;
            for from in (0..batch.rows()).step_by(WRITE_ROWS) {
                let rows = rows_of(&writer, &columns, &batch, from, batch.rows().min(from + WRITE_ROWS));
                under_way.make_room(Some(names.clone()), &mut totals).await?;
                let (app, writer, columns) = (Arc::clone(app), Arc::clone(&writer), Arc::clone(&columns));
                under_way.begin(rows.len(), |first| async move {
                    let outcomes = write(&writer, &columns, rows).await?;
                    report_answer(&app, &writer, &outcomes);
                    app.metrics.readable_after(&writer.group().definition.name, arrived.elapsed());
                    Ok((first, outcomes))
                });
            }
        }
    }
    under_way.finish(&mut totals).await?;
    if !ended && !rest.is_empty() {
        return Err(invalid("the stream ends in the middle of a message"));
    }
    Ok(totals.answer())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::ipc::writer::StreamWriter;

    fn encoded() -> Vec<u8> {
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            ("name", Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc")]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
        writer.write(&batch).expect("written");
        writer.write(&batch).expect("written");
        writer.into_inner().expect("ended")
    }

    /// Rows of a stream, which comes in pieces of this size.
    fn rows(bytes: &[u8], piece: usize) -> Result<usize> {
        let (mut rest, mut decoder, mut rows) = (BytesMut::new(), StreamDecoder::new(), 0);
        for piece in bytes.chunks(piece) {
            rest.extend_from_slice(piece);
            while let Some(length) = message_bytes(&rest)?.filter(|length| *length > 0) {
                if let Some(batch) = decode(&mut decoder, rest.split_to(length).freeze())? {
                    rows += batch.num_rows();
                }
            }
        }
        Ok(rows)
    }

    #[test]
    fn messages_are_found_in_pieces() {
        let bytes = encoded();
        for piece in [1, 7, 64, bytes.len()] {
            assert_eq!(rows(&bytes, piece), Ok(6), "{piece}");
        }
    }

    #[test]
    fn damaged_streams_are_errors_and_never_more() {
        let bytes = encoded();
        assert!(rows(b"{\"id\": 1}\n{\"id\": 2}\n", 64).is_err());
        for place in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[place] = value;
                let _ = rows(&damaged, bytes.len());
            }
        }
    }
}
