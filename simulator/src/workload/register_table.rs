//! Tables of registers: how keys, rows and updates look as bytes, and how rows are read back.

use crate::history::{Action, Fingerprint, Violation};
use duet_protocol::ids::RowVersion;
use duet_protocol::layout::TableLayout;
use duet_protocol::row::{RowError, RowView};
use duet_protocol::scan_program::{Comparison, Filter};
use duet_protocol::schema::{ColumnType, IndexKind, IndexState, TableDefinition, TableIndex};
use duet_protocol::update::{Assignment, encode_update, update_result_value};
use duet_protocol::value::{Value, ValueRef};
use std::borrow::Cow;

/// Name of the index that comes and goes while traffic runs; no client scans it.
pub const PASSING_INDEX: &str = "passing";

/// Database of all tables of a run.
pub const DATABASE: &str = "simulation";

/// Form of the primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One integer.
    Single,
    /// A tenant, which places the row, and a text.
    Composite,
}

/// Tenants of a table with a composite key.
const TENANTS: u64 = 7;

impl Shape {
    /// The shape of the `number`-th table.
    pub fn of(number: u32) -> Shape {
        if number.is_multiple_of(2) { Shape::Single } else { Shape::Composite }
    }

    fn key_columns(self) -> usize {
        match self {
            Shape::Single => 1,
            Shape::Composite => 2,
        }
    }

    /// Definition of a table of this shape.
    ///
    /// # Panics
    /// Never: the definition is valid.
    pub fn definition(self, name: &str) -> TableDefinition {
        let builder = TableDefinition::builder(DATABASE, name);
        let builder = match self {
            Shape::Single => builder.required("id", ColumnType::BigIntUnsigned),
            Shape::Composite => builder
                .required("tenant", ColumnType::Int)
                .required("name", ColumnType::Varchar { characters: 20 }),
        };
        let builder = builder
            .required("fingerprint", ColumnType::BigIntUnsigned)
            .required("counter", ColumnType::BigInt)
            .nullable("padding", ColumnType::Varbinary { bytes: 1000 });
        let builder = match self {
            Shape::Single => builder.primary_key(["id"]).ordered_index("by_counter", &["counter"]),
            Shape::Composite => builder
                .primary_key(["tenant", "name"])
                .partition_key(["tenant"])
                .ordered_index("by_padding", &["padding", "tenant"])
                .ordered_index("by_counter", &["counter", "fingerprint"]),
        };
        builder.build().expect("the definition is valid")
    }
}

/// What a row of a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Key of the register.
    pub key: u64,
    /// Fingerprint of the last write.
    pub fingerprint: Fingerprint,
    /// Counter.
    pub counter: i64,
}

/// Rows that a scan wants, by something that no write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyBound {
    /// Keys below this one, in a table with a single key column.
    Below(u64),
    /// Keys of this tenant and those before it, in a table with a composite key.
    Tenant(i64),
}

impl KeyBound {
    /// Whether the row of this key is wanted.
    pub fn contains(&self, key: u64) -> bool {
        match self {
            KeyBound::Below(bound) => key < *bound,
            KeyBound::Tenant(last) => tenant_of(key) <= *last,
        }
    }

    /// The same as a filter on the first column.
    pub fn filter(&self) -> Filter<u16> {
        let (comparison, value) = match self {
            KeyBound::Below(bound) => (Comparison::Less, Value::UInt(*bound)),
            KeyBound::Tenant(last) => (Comparison::LessOrEqual, Value::Int(*last)),
        };
        Filter::Compare { column: 0, comparison, value }
    }
}

fn tenant_of(key: u64) -> i64 {
    (key % TENANTS) as i64 - 3
}

/// A table of registers as clients know it.
#[derive(Clone, Debug)]
pub struct RegisterTable {
    /// Table id.
    pub id: u32,
    /// Table version.
    pub version: u16,
    shape: Shape,
    layout: TableLayout,
    indexes: Vec<(u32, Vec<u16>)>,
}

impl RegisterTable {
    /// Compiles a table of the dictionary.
    ///
    /// # Panics
    /// When the definition is not one of [`Shape::definition`].
    pub fn new(id: u32, version: u16, definition: &TableDefinition, indexes: &[TableIndex]) -> RegisterTable {
        let shape = match definition.primary_key.len() {
            1 => Shape::Single,
            _ => Shape::Composite,
        };
        let layout = TableLayout::new(definition).expect("the cluster holds valid definitions");
        let ordered = definition.indexes.iter().zip(indexes).filter(|(index, known)| {
            index.kind == IndexKind::Ordered
                && known.state == IndexState::Public
                && index.name != PASSING_INDEX
        });
        let indexes = ordered.map(|(index, known)| (known.id, index.columns.clone())).collect();
        RegisterTable { id, version, shape, layout, indexes }
    }

    /// Ordered secondary indexes: their numbers and columns.
    pub fn indexes(&self) -> &[(u32, Vec<u16>)] {
        &self.indexes
    }

    /// The encoded primary key.
    pub fn key(&self, key: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.layout.encode_key(&self.key_values(key), &mut bytes).expect("keys fit");
        bytes
    }

    fn key_values(&self, key: u64) -> Vec<ValueRef<'static>> {
        match self.shape {
            Shape::Single => vec![ValueRef::UInt(key)],
            Shape::Composite => {
                vec![ValueRef::Int(tenant_of(key)), ValueRef::Text(Cow::Owned(format!("name {key}")))]
            }
        }
    }

    /// Hash that places the row of an encoded key.
    pub fn partition_hash(&self, key: &[u8]) -> u64 {
        self.layout.partition_hash(key)
    }

    /// The value section of a write: an image for inserts and upserts, a program for updates, nothing for deletes.
    pub fn payload(&self, key: u64, action: Action, fingerprint: Fingerprint, padding: u64) -> Vec<u8> {
        match action {
            Action::Insert { counter } | Action::Upsert { counter } => {
                self.image(key, fingerprint, counter, padding)
            }
            Action::Set | Action::CompareAndSet { .. } => self.program(fingerprint, Some(padding), false),
            Action::Increment => self.program(fingerprint, None, true),
            Action::Delete => Vec::new(),
        }
    }

    fn image(&self, key: u64, fingerprint: Fingerprint, counter: i64, padding: u64) -> Vec<u8> {
        let mut values = self.key_values(key);
        let padding = padding_of(fingerprint, padding);
        values.extend([
            ValueRef::UInt(fingerprint),
            ValueRef::Int(counter),
            padding.map_or(ValueRef::Null, |bytes| ValueRef::Bytes(Cow::Owned(bytes))),
        ]);
        let (mut encoded_key, mut value) = (Vec::new(), Vec::new());
        self.layout.encode_row(&values, &mut encoded_key, &mut value).expect("rows fit");
        value
    }

    fn program(&self, fingerprint: Fingerprint, padding: Option<u64>, increment: bool) -> Vec<u8> {
        let first = self.shape.key_columns() as u16;
        let mut assignments = vec![(first, Assignment::Set(ValueRef::UInt(fingerprint)))];
        if increment {
            assignments.push((first + 1, Assignment::Add(ValueRef::Int(1))));
        }
        if let Some(padding) = padding {
            let assignment = padding_of(fingerprint, padding)
                .map_or(Assignment::SetNull, |bytes| Assignment::Set(ValueRef::Bytes(Cow::Owned(bytes))));
            assignments.push((first + 2, assignment));
        }
        let mut program = Vec::new();
        encode_update(&self.layout, &assignments, &mut program).expect("updates fit");
        program
    }

    /// The layout.
    pub fn layout(&self) -> &TableLayout {
        &self.layout
    }

    /// Index of the counter.
    pub fn counter_column(&self) -> u16 {
        self.shape.key_columns() as u16 + 1
    }

    /// A bound that divides the keys at this one.
    pub fn bound(&self, key: u64) -> KeyBound {
        match self.shape {
            Shape::Single => KeyBound::Below(key),
            Shape::Composite => KeyBound::Tenant(tenant_of(key)),
        }
    }

    /// The counter in the result of an update; `None` when there is none.
    pub fn counter_of(&self, result: &[u8]) -> Option<i64> {
        let index = self.shape.key_columns() as u16 + 1;
        match update_result_value(&self.layout, index, result) {
            Ok(Value::Int(counter)) => Some(counter),
            Ok(_) | Err(_) => None,
        }
    }

    /// Reads a row back.
    ///
    /// # Errors
    /// When the bytes are not those of a row that a register can have.
    pub fn read(&self, key: &[u8], value: &[u8], version: RowVersion) -> Result<Content, Violation> {
        let damaged = |reason: String| {
            Violation::new("rows are whole", format!("table {} row version {version}: {reason}", self.id))
        };
        self.layout.validate_value(value).map_err(|error| damaged(error.to_string()))?;
        let row = RowView::new(&self.layout, key, value);
        let column = |index: usize| row.column(index).map_err(|error: RowError| damaged(error.to_string()));
        let first = self.shape.key_columns();
        let key = match (column(first - 1)?, self.shape) {
            (ValueRef::UInt(key), Shape::Single) => Some(key),
            (ValueRef::Text(name), Shape::Composite) => {
                name.strip_prefix("name ").and_then(|number| number.parse().ok())
            }
            _ => None,
        };
        let (Some(key), ValueRef::UInt(fingerprint), ValueRef::Int(counter)) =
            (key, column(first)?, column(first + 1)?)
        else {
            return Err(damaged("a column has another type".to_owned()));
        };
        if let ValueRef::Bytes(padding) = column(first + 2)?
            && padding.windows(2).any(|pair| pair[0] != pair[1])
        {
            return Err(damaged("the padding is mixed".to_owned()));
        }
        Ok(Content { key, fingerprint, counter })
    }
}

/// The padding that a write leaves: NULL, or a number of equal bytes that both depend on the fingerprint.
fn padding_of(fingerprint: Fingerprint, largest: u64) -> Option<Vec<u8>> {
    let length = fingerprint.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (largest > 0).then(|| vec![fingerprint as u8; (length % (largest + 1)) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use duet_protocol::update::apply_update;

    #[test]
    fn rows_and_updates_are_read_back() {
        for number in 0..2 {
            let definition = Shape::of(number).definition("t");
            let table = RegisterTable::new(3, 1, &definition, &[]);
            let version = RowVersion { epoch: 1, seq: 1 };
            let key = table.key(12);
            let image = table.payload(12, Action::Insert { counter: 5 }, 77, 30);
            let content = table.read(&key, &image, version);
            assert_eq!(content, Ok(Content { key: 12, fingerprint: 77, counter: 5 }));
            let program = table.payload(12, Action::Increment, 78, 30);
            let mut updated = Vec::new();
            let result = apply_update(&table.layout, &image, &program, &mut updated).expect("fits");
            assert_eq!(result.as_bytes(), 6i64.to_le_bytes());
            let content = table.read(&key, &updated, version);
            assert_eq!(content, Ok(Content { key: 12, fingerprint: 78, counter: 6 }));
            let program = table.payload(12, Action::Set, 80, 0);
            let mut set = Vec::new();
            apply_update(&table.layout, &updated, &program, &mut set).expect("fits");
            assert!(set.len() < updated.len());
        }
    }
}
