//! Writing rows of a group: whole or in part, and never an older event over a newer one.

use crate::vectors::event_time_of;
use crate::{FeatureError, Group, Reason, Result, time};
use duet_client::{Assignment, Batch, Client, ErrorCode, Expectation, Value, ValueRef};
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most rows of a batch.
const BATCH_ROWS: usize = 4_096;
/// How often a row is tried again that others insert and delete meanwhile.
const ROUNDS: usize = 8;
/// An event time further ahead than this is an error: nothing could overwrite the row until then.
const MOST_AHEAD_MICROSECONDS: i64 = 3_600_000_000;

/// What became of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum RowOutcome {
    /// It is stored.
    Written,
    /// It was dropped: the stored row, or another one of the same call, is of a newer event.
    Older,
    /// There is no row to be deleted.
    NotFound,
    /// It does not fit, or could not be written.
    Failed(FeatureError),
}

/// What became of all rows of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteReport {
    /// An outcome for each row, in order.
    pub outcomes: Vec<RowOutcome>,
}

impl WriteReport {
    /// Rows with an outcome like this.
    fn count(&self, like: impl Fn(&RowOutcome) -> bool) -> usize {
        self.outcomes.iter().filter(|outcome| like(outcome)).count()
    }

    /// Rows stored.
    pub fn written(&self) -> usize {
        self.count(|outcome| *outcome == RowOutcome::Written)
    }

    /// Rows dropped for a newer event.
    pub fn older(&self) -> usize {
        self.count(|outcome| *outcome == RowOutcome::Older)
    }

    /// Rows that failed: position and reason.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &FeatureError)> {
        self.outcomes.iter().enumerate().filter_map(|(row, outcome)| match outcome {
            RowOutcome::Failed(error) => Some((row, error)),
            RowOutcome::Written | RowOutcome::Older | RowOutcome::NotFound => None,
        })
    }
}

/// Writes rows of one group; safe to share.
#[derive(Debug)]
pub struct GroupWriter {
    client: Client,
    group: Group,
    /// The event time, unless it is part of the key: rows with different times are different rows then.
    event_time: Option<u16>,
    /// Whether the rows of the last call existed mostly: what to try first.
    rows_exist: AtomicBool,
}

impl GroupWriter {
    pub(crate) fn new(client: Client, group: Group) -> GroupWriter {
        let definition = group.table.definition();
        let event_time = group.definition.event_time.as_deref();
        let event_time = event_time.and_then(|name| definition.column_index(name));
        let event_time = event_time.filter(|index| !definition.is_key_column(*index));
        GroupWriter { client, group, event_time, rows_exist: AtomicBool::new(false) }
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The columns of these features.
    ///
    /// # Errors
    /// `FeatureMissing` when one is unknown; `WrongKey` when one of the primary key, and `WrongValue` when the event time is
    /// not among them; `InvalidRequest` when one is named twice.
    pub fn columns<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Vec<u16>> {
        let definition = self.group.table.definition();
        let mut columns = Vec::new();
        for name in names {
            let known = self.group.definition.feature(name).and_then(|_| definition.column_index(name));
            let Some(column) = known else {
                let message = format!("'{name}' in group {}", self.group.definition.versioned());
                return Err(FeatureError::new(Reason::FeatureMissing, message));
            };
            if columns.contains(&column) {
                return Err(FeatureError::new(Reason::InvalidRequest, format!("'{name}' is given twice")));
            }
            columns.push(column);
        }
        let name = |column: u16| &definition.columns[usize::from(column)].name;
        if let Some(key) = definition.primary_key.iter().find(|key| !columns.contains(key)) {
            return Err(FeatureError::new(Reason::WrongKey, format!("'{}' is not given", name(*key))));
        }
        if let Some(time) = self.event_time.filter(|time| !columns.contains(time)) {
            let message = format!("the event time '{}' is not given", name(time));
            return Err(FeatureError::new(Reason::WrongValue, message));
        }
        Ok(columns)
    }

    /// Writes rows: for each the values of `columns`, which come from [`GroupWriter::columns`]. Other columns of rows that
    /// exist keep their values; in new rows they are NULL. Of several rows with the same key in one call that of the
    /// newest event is written, of those with the same time the last one.
    ///
    /// # Errors
    /// The cluster could not be asked at all; what happens to single rows is in the report.
    pub async fn upsert(&self, columns: &[u16], rows: &[Vec<Value>]) -> Result<WriteReport> {
        let mut report = WriteReport { outcomes: vec![RowOutcome::Written; rows.len()] };
        let now = time::now_microseconds();
        // By key the row that counts.
        let mut newest: FxHashMap<Vec<u8>, (usize, Option<i64>)> = FxHashMap::default();
        for (number, row) in rows.iter().enumerate() {
            match self.check(columns, row, now) {
                Ok((key, event_time)) => match newest.get_mut(&key) {
                    Some((_, before)) if *before > event_time => report.outcomes[number] = RowOutcome::Older,
                    Some(before) => {
                        report.outcomes[before.0] = RowOutcome::Older;
                        *before = (number, event_time);
                    }
                    None => {
                        newest.insert(key, (number, event_time));
                    }
                },
                Err(error) => report.outcomes[number] = RowOutcome::Failed(error),
            }
        }
        let mut pending: Vec<usize> = newest.into_values().map(|(number, _)| number).collect();
        pending.sort_unstable();
        for chunk in pending.chunks(BATCH_ROWS) {
            self.write_chunk(columns, rows, chunk, &mut report).await?;
        }
        Ok(report)
    }

    /// The encoded key and the event time of a row that can be written.
    fn check(&self, columns: &[u16], row: &[Value], now: i64) -> Result<(Vec<u8>, Option<i64>)> {
        let definition = self.group.table.definition();
        if row.len() != columns.len() {
            let message = format!("{} values were given for {} features", row.len(), columns.len());
            return Err(FeatureError::new(Reason::InvalidRequest, message));
        }
        let value = |column: u16| columns.iter().position(|given| *given == column).map(|index| &row[index]);
        for (column, value) in columns.iter().zip(row) {
            let finite = match value {
                Value::Float(number) => number.is_finite(),
                Value::Double(number) => number.is_finite(),
                Value::Vector(elements) => elements.iter().all(|element| element.is_finite()),
                _ => true,
            };
            if !finite {
                let name = &definition.columns[usize::from(*column)].name;
                let message = format!("'{name}' is not a number or infinite; write null");
                return Err(FeatureError::new(Reason::WrongValue, message));
            }
        }
        let event_time = match self.event_time {
            None => None,
            Some(column) => {
                let time = value(column).and_then(|value| event_time_of(&ValueRef::from(value)));
                let name = &definition.columns[usize::from(column)].name;
                let missing =
                    || FeatureError::new(Reason::WrongValue, format!("the event time '{name}' is null"));
                let time = time.ok_or_else(missing)?;
                if time > now.saturating_add(MOST_AHEAD_MICROSECONDS) {
                    let message = format!("the event time '{name}' is in the future");
                    return Err(FeatureError::new(Reason::WrongValue, message));
                }
                Some(time)
            }
        };
        let key: Option<Vec<&Value>> = definition.primary_key.iter().map(|column| value(*column)).collect();
        let key = key.ok_or_else(|| FeatureError::new(Reason::WrongKey, "a value of the key is missing"))?;
        let mut bytes = Vec::with_capacity(32);
        let encoded = self.group.table.layout().encode_key(&key, &mut bytes);
        encoded.map_err(|error| FeatureError::from(duet_client::Error::from(error)))?;
        Ok((bytes, event_time))
    }

    /// Writes rows with different keys: whatever is tried first, rows that exist are updated in the end, others inserted.
    async fn write_chunk(
        &self,
        columns: &[u16],
        rows: &[Vec<Value>],
        chunk: &[usize],
        report: &mut WriteReport,
    ) -> Result<()> {
        let whole = columns.len() == self.group.table.definition().columns.len();
        let first = match self.event_time {
            None if whole => How::Upsert,
            _ if self.rows_exist.load(Ordering::Relaxed) => How::Update,
            _ => How::Insert,
        };
        let mut pending: Vec<(usize, How)> = chunk.iter().map(|number| (*number, first)).collect();
        let mut batch = Batch::new();
        for _ in 0..ROUNDS {
            let mut again = Vec::new();
            let mut rest = pending.as_slice();
            while !rest.is_empty() {
                let mut added = Vec::with_capacity(rest.len());
                batch.clear();
                while let Some(((number, how), others)) = rest.split_first() {
                    match self.add(&mut batch, columns, &rows[*number], *how) {
                        Ok(()) => added.push((*number, *how)),
                        // The batch is full; a row alone always has room.
                        Err(error) if error.is(ErrorCode::InvalidRequest) && !batch.is_empty() => break,
                        Err(error) => report.outcomes[*number] = RowOutcome::Failed(error.into()),
                    }
                    rest = others;
                }
                if !added.is_empty() {
                    self.client.execute(&mut batch).await?;
                }
                for (index, (number, how)) in added.into_iter().enumerate() {
                    let outcome = match batch.written(index) {
                        Ok(_) => RowOutcome::Written,
                        Err(error) if error.is(ErrorCode::StoredIsNewer) => RowOutcome::Older,
                        Err(error) => match how.otherwise(&error) {
                            Some(how) => {
                                again.push((number, how));
                                continue;
                            }
                            None => RowOutcome::Failed(error.into()),
                        },
                    };
                    report.outcomes[number] = outcome;
                }
            }
            if first != How::Upsert && again.len() * 2 > chunk.len() {
                self.rows_exist.store(first == How::Insert, Ordering::Relaxed);
            }
            if again.is_empty() {
                return Ok(());
            }
            pending = again;
        }
        for (number, _) in pending {
            let message = "others insert and delete the row all the time";
            let error = FeatureError { retryable: true, ..FeatureError::new(Reason::Database, message) };
            report.outcomes[number] = RowOutcome::Failed(error);
        }
        Ok(())
    }

    fn add(&self, batch: &mut Batch, columns: &[u16], row: &[Value], how: How) -> duet_client::Result<()> {
        let table = &self.group.table;
        let definition = table.definition();
        match how {
            How::Update => {
                let value =
                    |column: u16| columns.iter().position(|given| *given == column).map(|at| &row[at]);
                let key: Vec<&Value> = definition.primary_key.iter().filter_map(|key| value(*key)).collect();
                let given = columns.iter().zip(row).filter(|(column, _)| !definition.is_key_column(**column));
                let assignments = given.map(|(column, value)| {
                    let value = ValueRef::from(value);
                    let advances = self.event_time == Some(*column);
                    (*column, if advances { Assignment::Advance(value) } else { Assignment::Set(value) })
                });
                let assignments: Vec<(u16, Assignment<'_>)> = assignments.collect();
                batch.update(table, key.as_slice(), &assignments, Expectation::Any)?;
            }
            How::Insert | How::Upsert => {
                let mut values = vec![ValueRef::Null; definition.columns.len()];
                for (column, value) in columns.iter().zip(row) {
                    values[usize::from(*column)] = ValueRef::from(value);
                }
                match how {
                    How::Insert => batch.insert(table, &values)?,
                    _ => batch.upsert(table, &values, Expectation::Any)?,
                };
            }
        }
        Ok(())
    }

    /// Deletes rows, each given by the values of its primary key.
    ///
    /// # Errors
    /// The cluster could not be asked at all; what happens to single rows is in the report.
    pub async fn delete(&self, keys: &[Vec<Value>]) -> Result<WriteReport> {
        let mut report = WriteReport { outcomes: Vec::with_capacity(keys.len()) };
        for chunk in keys.chunks(BATCH_ROWS) {
            let mut batch = Batch::new();
            let mut added = Vec::with_capacity(chunk.len());
            for key in chunk {
                added.push(batch.delete(&self.group.table, key, Expectation::Any));
            }
            if !batch.is_empty() {
                self.client.execute(&mut batch).await?;
            }
            for index in added {
                report.outcomes.push(match index.and_then(|index| batch.written(index)) {
                    Ok(_) => RowOutcome::Written,
                    Err(error) if error.is(ErrorCode::RowNotFound) => RowOutcome::NotFound,
                    Err(error) => RowOutcome::Failed(error.into()),
                });
            }
        }
        Ok(report)
    }
}

/// How a row is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Whatever is there: whole rows without event time.
    Upsert,
    Insert,
    Update,
}

impl How {
    /// What to do instead after this error.
    fn otherwise(self, error: &duet_client::Error) -> Option<How> {
        match self {
            How::Insert if error.is(ErrorCode::DuplicateKey) => Some(How::Update),
            How::Update if error.is(ErrorCode::RowNotFound) => Some(How::Insert),
            How::Upsert | How::Insert | How::Update => None,
        }
    }
}
