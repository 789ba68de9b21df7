//! Feature vectors as they were read: values stay in the receive buffers until they are asked for.

use crate::FeatureError;
use crate::view::{PreparedGroup, PreparedView, Read};
use duet_client::{Batch, Reply, RowView, Value, ValueRef};
use duet_protocol::value::event_time;

/// Where the look-ups of a row are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowPlace {
    pub(crate) batch: u32,
    pub(crate) first: u32,
}

/// What came of the look-up of one group for one row.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupStatus {
    /// There is a row.
    Present,
    /// There is none.
    NotFound,
    /// There is one, but it is older than the group's time to live.
    OutsideMaxAge,
    /// It could not be read.
    Failed(FeatureError),
}

/// The value of one feature.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureValue<'a> {
    /// The stored value.
    Present(ValueRef<'a>),
    /// NULL is stored.
    Null,
    /// There is no row.
    NotFound,
    /// The row is older than the time to live.
    OutsideMaxAge,
    /// The row could not be read.
    Failed,
}

/// The vectors of one request.
#[derive(Debug)]
pub struct Vectors {
    view: PreparedView,
    read: Read,
    now: i64,
    ignore_ttl: bool,
}

/// One vector: the rows of its groups.
#[derive(Debug)]
pub struct Vector<'v> {
    view: &'v PreparedView,
    groups: Vec<GroupRow<'v>>,
}

#[derive(Debug)]
struct GroupRow<'v> {
    status: GroupStatus,
    row: Option<RowView<'v>>,
    event_time: Option<i64>,
}

impl Vectors {
    pub(crate) fn new(view: PreparedView, read: Read, now: i64, ignore_ttl: bool) -> Vectors {
        Vectors { view, read, now, ignore_ttl }
    }

    /// Number of rows asked for.
    pub fn len(&self) -> usize {
        self.read.places.len()
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.read.places.is_empty()
    }

    /// When the rows were read, in microseconds since 1970-01-01 UTC; the age of a value is the difference to its event time.
    pub fn read_at(&self) -> i64 {
        self.now
    }

    /// Why a row could not be asked for: its keys do not fit.
    pub fn error(&self, row: usize) -> Option<&FeatureError> {
        let errors = &self.read.errors;
        let found = errors.binary_search_by_key(&(row as u32), |(row, _)| *row);
        found.ok().map(|index| &errors[index].1)
    }

    /// The vector of a row; `None` when its keys do not fit, or there is no such row.
    pub fn vector(&self, row: usize) -> Option<Vector<'_>> {
        let place = self.read.places.get(row)?;
        if self.error(row).is_some() {
            return None;
        }
        let batch = self.read.batches.get(place.batch as usize)?;
        let groups = self.view.groups().iter().enumerate();
        let groups =
            groups.map(|(number, group)| self.group_row(group, batch, place.first as usize + number));
        Some(Vector { view: &self.view, groups: groups.collect() })
    }

    fn group_row<'v>(&self, group: &PreparedGroup, batch: &'v Batch, index: usize) -> GroupRow<'v> {
        let failed = |error| GroupRow { status: GroupStatus::Failed(error), row: None, event_time: None };
        match batch.reply(index) {
            Ok(Reply::Row { row, .. }) => {
                let event_time =
                    group.event_time.and_then(|column| event_time(&row.column(column.into()).ok()?));
                let limit = group.ttl.filter(|_| !self.ignore_ttl);
                let gone = |ttl| event_time.is_some_and(|time: i64| time.saturating_add(ttl) < self.now);
                let status = match limit {
                    Some(ttl) if gone(ttl) => GroupStatus::OutsideMaxAge,
                    _ => GroupStatus::Present,
                };
                GroupRow { status, row: Some(row), event_time }
            }
            Ok(Reply::NoRow) => GroupRow { status: GroupStatus::NotFound, row: None, event_time: None },
            Ok(Reply::Written(_) | Reply::Page(_) | Reply::Resolved(_) | Reply::Ended(_)) => {
                failed(FeatureError::new(crate::Reason::Database, "an answer of another kind"))
            }
            Err(error) => failed(error.into()),
        }
    }
}

impl Vector<'_> {
    /// What came of the look-up of a group, by its position in the view.
    pub fn status(&self, group: usize) -> &GroupStatus {
        &self.groups[group].status
    }

    /// Event time of a group's row in microseconds since 1970-01-01 UTC, if it has one.
    pub fn event_time(&self, group: usize) -> Option<i64> {
        self.groups[group].event_time
    }

    /// Whether every group has a row.
    pub fn is_complete(&self) -> bool {
        self.groups.iter().all(|group| group.status == GroupStatus::Present)
    }

    /// The first look-up that failed.
    pub fn failure(&self) -> Option<&FeatureError> {
        self.groups.iter().find_map(|group| match &group.status {
            GroupStatus::Failed(error) => Some(error),
            GroupStatus::Present | GroupStatus::NotFound | GroupStatus::OutsideMaxAge => None,
        })
    }

    /// The value of a feature, by its position in the vector.
    pub fn value(&self, feature: usize) -> FeatureValue<'_> {
        let feature = &self.view.features()[feature];
        let group = &self.groups[feature.group];
        match (&group.status, &group.row) {
            (GroupStatus::Present, Some(row)) => match row.column(feature.column.into()) {
                Ok(ValueRef::Null) => FeatureValue::Null,
                Ok(value) => FeatureValue::Present(value),
                Err(_) => FeatureValue::Failed,
            },
            (GroupStatus::OutsideMaxAge, _) => FeatureValue::OutsideMaxAge,
            (GroupStatus::NotFound, _) => FeatureValue::NotFound,
            (GroupStatus::Failed(_) | GroupStatus::Present, _) => FeatureValue::Failed,
        }
    }

    /// All values in the order of the vector, copied; what is not there is NULL.
    pub fn values(&self) -> Vec<Value> {
        let value = |feature| match self.value(feature) {
            FeatureValue::Present(value) => value.to_value(),
            FeatureValue::Null
            | FeatureValue::NotFound
            | FeatureValue::OutsideMaxAge
            | FeatureValue::Failed => Value::Null,
        };
        (0..self.view.features().len()).map(value).collect()
    }
}
