//! Writing rows of a group: whole or in part, and never an older event over a newer one.

use crate::{FeatureError, Group, Reason, Result, time};
use duet_client::{
    Assignment, Batch, Client, ColumnType, ErrorCode, Expectation, TableDefinition, Value, ValueRef,
};
use duet_protocol::value::event_time;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::collections::hash_map::Entry;
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

/// Where the values of a call's columns are, found once for all its rows.
struct Columns<'c> {
    /// Columns of the table, one for each value of a row.
    given: &'c [u16],
    /// For each column of the primary key, in key order, its place in a row.
    key: Vec<usize>,
    /// Place of the event time, unless that is part of the key.
    event_time: Option<usize>,
    /// Places of values that may be no number or infinite.
    floating: Vec<usize>,
    /// Places of what an update assigns, in ascending order of the columns.
    assigned: Vec<usize>,
}

impl<'c> Columns<'c> {
    fn new(given: &'c [u16], table: &TableDefinition, event_time: Option<u16>) -> Columns<'c> {
        let place = |column: u16| given.iter().position(|known| *known == column);
        let is_floating = |place: &usize| {
            let column = table.columns.get(usize::from(given[*place]));
            column.is_some_and(|column| {
                matches!(
                    column.column_type,
                    ColumnType::Float | ColumnType::Double | ColumnType::Vector { .. }
                )
            })
        };
        let mut assigned: Vec<usize> =
            (0..given.len()).filter(|place| !table.is_key_column(given[*place])).collect();
        assigned.sort_unstable_by_key(|place| given[*place]);
        Columns {
            given,
            key: table.primary_key.iter().filter_map(|column| place(*column)).collect(),
            event_time: event_time.and_then(place),
            floating: (0..given.len()).filter(is_floating).collect(),
            assigned,
        }
    }
}

/// Room for one row on its way into a batch, used again for the next.
#[derive(Default)]
struct Scratch<'r> {
    key: Vec<&'r Value>,
    assignments: Vec<(u16, Assignment<'r>)>,
    values: Vec<ValueRef<'r>>,
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
        let columns = Columns::new(columns, self.group.table.definition(), self.event_time);
        let pending = self.newest_of_keys(&columns, rows, now, &mut report);
        for chunk in pending.chunks(BATCH_ROWS) {
            self.write_chunk(&columns, rows, chunk, &mut report).await?;
        }
        Ok(report)
    }

    /// The rows to be written, in order: those that fit, and of several with the same key the one that counts.
    fn newest_of_keys(
        &self,
        columns: &Columns<'_>,
        rows: &[Vec<Value>],
        now: i64,
        report: &mut WriteReport,
    ) -> Vec<usize> {
        // All keys one behind the other, and where that of each row ends.
        let (mut keys, mut places) = (Vec::with_capacity(rows.len() * 16), Vec::with_capacity(rows.len()));
        let mut key = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            let start = keys.len();
            match self.check(columns, row, now, &mut key, &mut keys) {
                Ok(event_time) => places.push((number, start..keys.len(), event_time)),
                Err(error) => {
                    keys.truncate(start);
                    report.outcomes[number] = RowOutcome::Failed(error);
                }
            }
        }
        let mut newest: FxHashMap<&[u8], (usize, Option<i64>)> =
            FxHashMap::with_capacity_and_hasher(places.len(), FxBuildHasher);
        for (number, key, event_time) in places {
            match newest.entry(&keys[key]) {
                Entry::Occupied(known) if known.get().1 > event_time => {
                    report.outcomes[number] = RowOutcome::Older;
                }
                Entry::Occupied(mut known) => {
                    report.outcomes[known.get().0] = RowOutcome::Older;
                    known.insert((number, event_time));
                }
                Entry::Vacant(place) => {
                    place.insert((number, event_time));
                }
            }
        }
        let mut pending: Vec<usize> = newest.into_values().map(|(number, _)| number).collect();
        pending.sort_unstable();
        pending
    }

    /// Appends the encoded key of a row that can be written to `keys`; its event time.
    fn check<'r>(
        &self,
        columns: &Columns<'_>,
        row: &'r [Value],
        now: i64,
        key: &mut Vec<&'r Value>,
        keys: &mut Vec<u8>,
    ) -> Result<Option<i64>> {
        let definition = self.group.table.definition();
        if row.len() != columns.given.len() {
            let message = format!("{} values were given for {} features", row.len(), columns.given.len());
            return Err(FeatureError::new(Reason::InvalidRequest, message));
        }
        for place in &columns.floating {
            let finite = match &row[*place] {
                Value::Float(number) => number.is_finite(),
                Value::Double(number) => number.is_finite(),
                Value::Vector(elements) => elements.iter().all(|element| element.is_finite()),
                _ => true,
            };
            if !finite {
                let name = &definition.columns[usize::from(columns.given[*place])].name;
                let message = format!("'{name}' is not a number or infinite; write null");
                return Err(FeatureError::new(Reason::WrongValue, message));
            }
        }
        let event_time = match columns.event_time {
            None => None,
            Some(place) => {
                let time = event_time(&ValueRef::from(&row[place]));
                let name = &definition.columns[usize::from(columns.given[place])].name;
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
        if columns.key.len() != definition.primary_key.len() {
            return Err(FeatureError::new(Reason::WrongKey, "a value of the key is missing"));
        }
        key.clear();
        key.extend(columns.key.iter().map(|place| &row[*place]));
        let encoded = self.group.table.layout().encode_key(key, keys);
        encoded.map_err(|error| FeatureError::from(duet_client::Error::from(error)))?;
        Ok(event_time)
    }

    /// Writes rows with different keys: whatever is tried first, rows that exist are updated in the end, others inserted.
    async fn write_chunk(
        &self,
        columns: &Columns<'_>,
        rows: &[Vec<Value>],
        chunk: &[usize],
        report: &mut WriteReport,
    ) -> Result<()> {
        let whole = columns.given.len() == self.group.table.definition().columns.len();
        let first = match self.event_time {
            None if whole => How::Upsert,
            _ if self.rows_exist.load(Ordering::Relaxed) => How::Update,
            _ => How::Insert,
        };
        let mut pending: Vec<(usize, How)> = chunk.iter().map(|number| (*number, first)).collect();
        let (mut batch, mut scratch) = (Batch::new(), Scratch::default());
        for _ in 0..ROUNDS {
            let mut again = Vec::new();
            let mut rest = pending.as_slice();
            while !rest.is_empty() {
                let mut added = Vec::with_capacity(rest.len());
                batch.clear();
                while let Some(((number, how), others)) = rest.split_first() {
                    match self.add(&mut batch, columns, &rows[*number], *how, &mut scratch) {
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

    fn add<'r>(
        &self,
        batch: &mut Batch,
        columns: &Columns<'_>,
        row: &'r [Value],
        how: How,
        scratch: &mut Scratch<'r>,
    ) -> duet_client::Result<()> {
        let table = &self.group.table;
        match how {
            How::Update => {
                scratch.key.clear();
                scratch.key.extend(columns.key.iter().map(|place| &row[*place]));
                scratch.assignments.clear();
                scratch.assignments.extend(columns.assigned.iter().map(|place| {
                    let value = ValueRef::from(&row[*place]);
                    let advances = columns.event_time == Some(*place);
                    let set = if advances { Assignment::Advance(value) } else { Assignment::Set(value) };
                    (columns.given[*place], set)
                }));
                batch.update(table, scratch.key.as_slice(), &scratch.assignments, Expectation::Any)?;
            }
            How::Insert | How::Upsert => {
                scratch.values.clear();
                scratch.values.resize(table.definition().columns.len(), ValueRef::Null);
                for (column, value) in columns.given.iter().zip(row) {
                    scratch.values[usize::from(*column)] = ValueRef::from(value);
                }
                match how {
                    How::Insert => batch.insert(table, &scratch.values)?,
                    _ => batch.upsert(table, &scratch.values, Expectation::Any)?,
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
