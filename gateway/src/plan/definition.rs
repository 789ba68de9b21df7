//! CREATE TABLE: types, defaults, keys and options.

use crate::error::{Result, SqlError, not_supported};
use crate::expression::{Environment, Facts, Scope, compile};
use crate::plan::character_sets::{check_character_set, check_collation};
use crate::value::store::fit;
use duet_client::{Column, ColumnType, CurrentTime, TableDefinition, Value};
use duet_protocol::schema::{MAX_COLUMN_COMMENT_CHARACTERS, MAX_FRACTION_DIGITS};
use sqlparser::ast::{
    BinaryLength, CharacterLength, ColumnDef, ColumnOption, CreateTable, CreateTableOptions, DataType,
    ExactNumberInfo, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, IndexColumn, ObjectName,
    SqlOption, TableConstraint,
};

/// Engines that are this store, by the names that tools use.
const ENGINES: &[&str] = &["ndbcluster", "ndb", "duet", "innodb"];

/// A table that is to be created.
#[derive(Clone, Debug)]
pub struct NewTable {
    /// Its definition.
    pub definition: TableDefinition,
    /// The column with numbers of its own, and the first of them.
    pub auto_increment: Option<(u16, u64)>,
    /// Clauses that change nothing here.
    pub warnings: Vec<SqlError>,
}

fn characters(length: Option<&CharacterLength>, first: u32) -> Result<u32> {
    match length {
        None => Ok(first),
        Some(CharacterLength::IntegerLength { length, .. }) => u32::try_from(*length).map_err(|_| too_long()),
        Some(CharacterLength::Max) => not_supported("MAX as a length"),
    }
}

fn too_long() -> SqlError {
    SqlError::column_too_long("Column length too big")
}

fn bytes(length: Option<u64>, first: u32) -> Result<u32> {
    length.map_or(Ok(first), |length| u32::try_from(length).map_err(|_| too_long()))
}

fn decimal(info: ExactNumberInfo) -> Result<ColumnType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale.unsigned_abs()),
    };
    if precision > 38 {
        return not_supported("decimals of more than 38 digits");
    }
    if scale > precision.min(30) {
        return Err(SqlError::column_too_long("Too big scale specified for a decimal column"));
    }
    Ok(ColumnType::Decimal { precision: precision as u8, scale: scale as u8 })
}

/// The type of a column.
///
/// # Errors
/// 1235 for types that are not supported, 1074 for lengths out of range.
pub fn column_type(data_type: &DataType) -> Result<ColumnType> {
    Ok(match data_type {
        DataType::TinyInt(_) | DataType::Bool | DataType::Boolean => ColumnType::TinyInt,
        DataType::TinyIntUnsigned(_) | DataType::UTinyInt => ColumnType::TinyIntUnsigned,
        DataType::SmallInt(_) | DataType::Int2(_) => ColumnType::SmallInt,
        DataType::SmallIntUnsigned(_) | DataType::Int2Unsigned(_) | DataType::USmallInt => {
            ColumnType::SmallIntUnsigned
        }
        DataType::MediumInt(_) => ColumnType::MediumInt,
        DataType::MediumIntUnsigned(_) => ColumnType::MediumIntUnsigned,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => ColumnType::Int,
        DataType::IntUnsigned(_) | DataType::IntegerUnsigned(_) | DataType::Int4Unsigned(_) => {
            ColumnType::IntUnsigned
        }
        DataType::BigInt(_) | DataType::Int8(_) => ColumnType::BigInt,
        DataType::BigIntUnsigned(_) | DataType::Int8Unsigned(_) | DataType::UBigInt => {
            ColumnType::BigIntUnsigned
        }
        DataType::Float(ExactNumberInfo::None) | DataType::Float4 => ColumnType::Float,
        DataType::Float(ExactNumberInfo::Precision(digits)) if *digits <= 24 => ColumnType::Float,
        DataType::Float(ExactNumberInfo::Precision(_)) => ColumnType::Double,
        DataType::Double(ExactNumberInfo::None)
        | DataType::DoublePrecision
        | DataType::Real
        | DataType::Float8
        | DataType::Float64 => ColumnType::Double,
        DataType::Decimal(info) | DataType::Numeric(info) | DataType::Dec(info) => decimal(*info)?,
        DataType::Char(length) | DataType::Character(length) => {
            ColumnType::Char { characters: characters(length.as_ref(), 1)? }
        }
        DataType::Varchar(Some(length))
        | DataType::CharVarying(Some(length))
        | DataType::CharacterVarying(Some(length))
        | DataType::Nvarchar(Some(length)) => {
            ColumnType::Varchar { characters: characters(Some(length), 0)? }
        }
        DataType::Binary(length) => ColumnType::Binary { bytes: bytes(*length, 1)? },
        DataType::Varbinary(Some(BinaryLength::IntegerLength { length })) => {
            ColumnType::Varbinary { bytes: bytes(Some(*length), 0)? }
        }
        DataType::Text | DataType::TinyText | DataType::MediumText | DataType::LongText => ColumnType::Text,
        DataType::Blob(_) | DataType::TinyBlob | DataType::MediumBlob | DataType::LongBlob => {
            ColumnType::Blob
        }
        DataType::Date => ColumnType::Date,
        DataType::Time(..) => ColumnType::Time,
        DataType::Datetime(_) => ColumnType::DateTime,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::JSON => ColumnType::Json,
        other => return not_supported(&format!("the type {other}")),
    })
}

/// The name of a type as SHOW COLUMNS gives it.
pub fn type_name(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Boolean => "tinyint(1)".to_owned(),
        ColumnType::TinyInt => "tinyint".to_owned(),
        ColumnType::TinyIntUnsigned => "tinyint unsigned".to_owned(),
        ColumnType::SmallInt => "smallint".to_owned(),
        ColumnType::SmallIntUnsigned => "smallint unsigned".to_owned(),
        ColumnType::MediumInt => "mediumint".to_owned(),
        ColumnType::MediumIntUnsigned => "mediumint unsigned".to_owned(),
        ColumnType::Int => "int".to_owned(),
        ColumnType::IntUnsigned => "int unsigned".to_owned(),
        ColumnType::BigInt => "bigint".to_owned(),
        ColumnType::BigIntUnsigned => "bigint unsigned".to_owned(),
        ColumnType::Float => "float".to_owned(),
        ColumnType::Double => "double".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        ColumnType::Char { characters } => format!("char({characters})"),
        ColumnType::Varchar { characters } => format!("varchar({characters})"),
        ColumnType::Binary { bytes } => format!("binary({bytes})"),
        ColumnType::Varbinary { bytes } => format!("varbinary({bytes})"),
        ColumnType::Text => "text".to_owned(),
        ColumnType::Blob => "blob".to_owned(),
        ColumnType::Date => "date".to_owned(),
        ColumnType::Time => "time(6)".to_owned(),
        ColumnType::DateTime => "datetime(6)".to_owned(),
        ColumnType::Timestamp => "timestamp(6)".to_owned(),
        ColumnType::Json => "json".to_owned(),
        ColumnType::Vector { dimensions } => format!("vector({dimensions})"),
    }
}

/// The name of a column's type as SHOW COLUMNS gives it. One that takes the current time has the digits of that, because MySQL takes no
/// other; it holds microseconds all the same.
pub fn column_type_name(column: &Column) -> String {
    match (column.current_time, type_name(column.column_type).split_once('(')) {
        (Some(CurrentTime { digits: 0, .. }), Some((name, _))) => name.to_owned(),
        (Some(CurrentTime { digits, .. }), Some((name, _))) => format!("{name}({digits})"),
        _ => type_name(column.column_type),
    }
}

/// What the options of a column say beside its type.
#[derive(Default)]
struct Extras {
    is_key: bool,
    is_unique: bool,
    auto_increment: bool,
}

/// A column, as in CREATE TABLE and ADD COLUMN.
///
/// # Errors
/// 1067 for a default that does not fit, 1235 for what is not supported.
pub fn column_definition(definition: &ColumnDef, warnings: &mut Vec<SqlError>) -> Result<Column> {
    let (column, extras) = column_with_extras(definition, warnings)?;
    match extras {
        Extras { is_key: false, is_unique: false, auto_increment: false } => Ok(column),
        Extras { .. } => not_supported("keys of a column that is added"),
    }
}

fn column_with_extras(definition: &ColumnDef, warnings: &mut Vec<SqlError>) -> Result<(Column, Extras)> {
    let mut column = Column::new(definition.name.value.clone(), column_type(&definition.data_type)?);
    column.nullable = true;
    let mut extras = Extras::default();
    let (mut default, mut on_update) = (None, None);
    for option in &definition.options {
        match &option.option {
            ColumnOption::Null => column.nullable = true,
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::Default(value) => default = Some(value),
            ColumnOption::PrimaryKey(_) => extras.is_key = true,
            ColumnOption::Unique(_) => extras.is_unique = true,
            ColumnOption::Comment(comment) => {
                if comment.chars().nth(MAX_COLUMN_COMMENT_CHARACTERS).is_some() {
                    let most = MAX_COLUMN_COMMENT_CHARACTERS;
                    let message = format!("Comment for field '{}' is too long (max = {most})", column.name);
                    return Err(SqlError { code: 1_629, state: "HY000", message });
                }
                comment.clone_into(&mut column.comment);
            }
            ColumnOption::CharacterSet(name) => check_character_set(&unquoted(name), warnings)?,
            ColumnOption::Collation(name) => check_collation(&unquoted(name), warnings)?,
            ColumnOption::DialectSpecific(tokens) => {
                let text: Vec<String> =
                    tokens.iter().map(|token| token.to_string().to_ascii_uppercase()).collect();
                match text.join(" ").as_str() {
                    "AUTO_INCREMENT" => extras.auto_increment = true,
                    other => return not_supported(other),
                }
            }
            ColumnOption::ForeignKey(_) => return not_supported("foreign keys"),
            // What MariaDB calls JSON.
            ColumnOption::Check(check) if is_json_check(&check.expr, &column) => {
                column.column_type = ColumnType::Json;
            }
            ColumnOption::Check(_) => return not_supported("CHECK"),
            ColumnOption::Generated { .. } => return not_supported("generated columns"),
            ColumnOption::OnUpdate(value) => on_update = Some(value),
            other => return not_supported(&other.to_string()),
        }
    }
    if extras.is_key {
        column.nullable = false;
    }
    let digits = fraction_digits(&definition.data_type);
    if let Some(default) = default {
        match time_function(default) {
            Some(Some(given)) if Some(given) == digits => column = column.current_time_on_insert(given),
            Some(_) => return Err(invalid_default(&column)),
            None => column.default = default_value(default, &column)?,
        }
    }
    if let Some(value) = on_update {
        match time_function(value) {
            Some(Some(given)) if Some(given) == digits => column = column.current_time_on_update(given),
            _ => {
                let message = format!("Invalid ON UPDATE clause for '{}' column", column.name);
                return Err(SqlError { code: 1_294, state: "HY000", message });
            }
        }
    }
    Ok((column, extras))
}

/// The digits of a second's fraction that a type says, none being 0; `None` of types that cannot take the current time.
fn fraction_digits(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Datetime(digits) | DataType::Timestamp(digits, _) => {
            u8::try_from(digits.unwrap_or(0)).ok().filter(|digits| *digits <= MAX_FRACTION_DIGITS)
        }
        _ => None,
    }
}

/// Of what stands for the current time the digits of the second's fraction, `Some(None)` where they cannot be; `None` of all else.
fn time_function(expression: &Expr) -> Option<Option<u8>> {
    let function = match expression {
        Expr::Nested(inner) => return time_function(inner),
        Expr::Function(function) => function,
        _ => return None,
    };
    let name = function.name.to_string().to_ascii_uppercase();
    if !matches!(name.as_str(), "CURRENT_TIMESTAMP" | "NOW" | "LOCALTIME" | "LOCALTIMESTAMP") {
        return None;
    }
    let arguments = match &function.args {
        FunctionArguments::None => return Some(Some(0)),
        FunctionArguments::List(list) => list.args.as_slice(),
        FunctionArguments::Subquery(_) => return Some(None),
    };
    Some(match arguments {
        [] => Some(0),
        [digits] => digits.to_string().parse().ok().filter(|digits| *digits <= MAX_FRACTION_DIGITS),
        _ => None,
    })
}

fn invalid_default(column: &Column) -> SqlError {
    SqlError::invalid_default(format!("Invalid default value for '{}'", column.name))
}

/// `json_valid(column)` of a column that is as long as one of JSON.
fn is_json_check(condition: &Expr, column: &Column) -> bool {
    let Expr::Function(function) = condition else { return false };
    let FunctionArguments::List(list) = &function.args else { return false };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))] = list.args.as_slice() else {
        return false;
    };
    matches!(column.column_type, ColumnType::Text | ColumnType::Json)
        && function.name.to_string().eq_ignore_ascii_case("json_valid")
        && name.value.eq_ignore_ascii_case(&column.name)
}

/// The last part of a name, without its quotes.
fn unquoted(name: &ObjectName) -> String {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.map(|last| last.value.clone()).unwrap_or_default()
}

/// Whether it says a value without any function, whose value could change.
fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_literal(expr),
        _ => false,
    }
}

fn default_value(expression: &Expr, column: &Column) -> Result<Option<Value>> {
    let wrong = || invalid_default(column);
    if !is_literal(expression) {
        return not_supported("defaults that are no constants");
    }
    let compiled = compile(expression, &mut Scope::empty("default"))?;
    let value = compiled.evaluate(&Environment::new(&[], &Facts::default())).map_err(|_| wrong())?;
    if value == Value::Null {
        return if column.nullable { Ok(None) } else { Err(wrong()) };
    }
    fit(value, column, 1).map(Some).map_err(|_| wrong())
}

/// Names of the columns of a key.
pub fn key_columns(columns: &[IndexColumn]) -> Result<Vec<String>> {
    let name = |column: &IndexColumn| match &column.column.expr {
        _ if column.column.options.sort == Some(sqlparser::ast::OrderBySort::Desc) => {
            not_supported("descending columns of an index")
        }
        Expr::Identifier(name) => Ok(name.value.clone()),
        _ => not_supported("prefixes and expressions in an index"),
    };
    columns.iter().map(name).collect()
}

/// Reads CREATE TABLE.
///
/// # Errors
/// 1235 for what is not supported; MySQL's codes for what makes no sense.
pub fn new_table(create: &CreateTable, database: &str, name: &str) -> Result<NewTable> {
    if create.query.is_some() || create.like.is_some() || create.clone.is_some() {
        return not_supported("CREATE TABLE from another table");
    }
    if create.temporary {
        return not_supported("temporary tables");
    }
    if create.partition_by.is_some() {
        return not_supported("PARTITION BY");
    }
    if create.or_replace {
        return not_supported("CREATE OR REPLACE");
    }
    let mut warnings = Vec::new();
    let mut columns: Vec<Column> = Vec::new();
    let mut key: Option<Vec<String>> = None;
    let mut set_key = |names: Vec<String>| match key.replace(names) {
        None => Ok(()),
        Some(_) => Err(SqlError::multiple_primary_keys("Multiple primary key defined")),
    };
    let mut auto: Option<String> = None;
    let mut indexes: Vec<(Option<String>, bool, Vec<String>)> = Vec::new();
    for definition in &create.columns {
        let (column, extras) = column_with_extras(definition, &mut warnings)?;
        if columns.iter().any(|known| known.name.eq_ignore_ascii_case(&column.name)) {
            return Err(SqlError::duplicate_column(format!("Duplicate column name '{}'", column.name)));
        }
        if extras.is_key {
            set_key(vec![column.name.clone()])?;
        }
        if extras.is_unique {
            indexes.push((None, true, vec![column.name.clone()]));
        }
        if extras.auto_increment && auto.replace(column.name.clone()).is_some() {
            return Err(wrong_auto());
        }
        columns.push(column);
    }
    for constraint in &create.constraints {
        match constraint {
            TableConstraint::PrimaryKey(constraint) => set_key(key_columns(&constraint.columns)?)?,
            TableConstraint::Unique(constraint) => {
                let name = constraint.index_name.as_ref().or(constraint.name.as_ref());
                indexes.push((name.map(|name| name.value.clone()), true, key_columns(&constraint.columns)?));
            }
            TableConstraint::Index(constraint) => {
                let name = constraint.name.as_ref().map(|name| name.value.clone());
                indexes.push((name, false, key_columns(&constraint.columns)?));
            }
            TableConstraint::ForeignKey(_) => return not_supported("foreign keys"),
            TableConstraint::Check(_) => return not_supported("CHECK"),
            TableConstraint::FulltextOrSpatial(_) => return not_supported("FULLTEXT and SPATIAL"),
            other => return not_supported(&other.to_string()),
        }
    }
    let (comment, first) = options(&create.table_options, &mut warnings)?;
    let Some(key) = key else {
        return Err(SqlError::needs_primary_key("This table type requires a primary key"));
    };
    for name in &key {
        let column = columns.iter_mut().find(|column| column.name.eq_ignore_ascii_case(name));
        let missing = || SqlError::unknown_key_column(format!("Key column '{name}' doesn't exist in table"));
        column.ok_or_else(missing)?.nullable = false;
    }
    let mut auto_increment = None;
    if let Some(name) = auto {
        let index = columns.iter().position(|column| column.name == name).unwrap_or(0);
        let column = &mut columns[index];
        if crate::value::store::integer_range(column.column_type).is_none() || column.default.is_some() {
            return Err(SqlError::other(format!("Incorrect column specifier for column '{name}'")));
        }
        column.nullable = false;
        let indexed = key[0].eq_ignore_ascii_case(&name)
            || indexes.iter().any(|(_, _, columns)| columns[0].eq_ignore_ascii_case(&name));
        if !indexed {
            return Err(wrong_auto());
        }
        auto_increment = Some((index as u16, first.unwrap_or(1).max(1)));
    }
    let mut builder = TableDefinition::builder(database, name).primary_key(key).comment(comment);
    for column in columns {
        builder = builder.column(column);
    }
    let mut names: Vec<String> = Vec::new();
    for (name, unique, columns) in indexes {
        let name = name.unwrap_or_else(|| free_name(&columns[0], &names));
        if names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            return Err(SqlError::duplicate_index(format!("Duplicate key name '{name}'")));
        }
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        builder = match unique {
            true => builder.unique_index(&name, &columns),
            false => builder.ordered_index(&name, &columns),
        };
        names.push(name);
    }
    let definition = builder.build().map_err(definition_error)?;
    Ok(NewTable { definition, auto_increment, warnings })
}

fn wrong_auto() -> SqlError {
    SqlError::wrong_auto_increment(
        "Incorrect table definition; there can be only one auto column and it must be defined as a key",
    )
}

/// The error of a definition that the store does not take.
pub fn definition_error(error: duet_protocol::schema::SchemaError) -> SqlError {
    use duet_protocol::schema::SchemaError;
    let text = error.to_string();
    match error {
        SchemaError::UnknownColumn { column, .. } => {
            SqlError::unknown_key_column(format!("Key column '{column}' doesn't exist in table"))
        }
        SchemaError::NameTooLong { .. } => SqlError::name_too_long(text),
        SchemaError::InvalidCurrentTime { .. } => SqlError { code: 1_235, state: "42000", message: text },
        SchemaError::CommentTooLong { .. } => SqlError { code: 1_628, state: "HY000", message: text },
        SchemaError::InvalidColumnType { .. } => SqlError::column_too_long(text),
        SchemaError::KeyTooLarge { .. } | SchemaError::IndexKeyTooLarge { .. } => {
            SqlError { code: 1_071, state: "42000", message: text }
        }
        SchemaError::KeyTypeNotOrderable { column, .. }
        | SchemaError::IndexTypeNotOrderable { column, .. } => SqlError {
            code: 1_170,
            state: "42000",
            message: format!("BLOB/TEXT column '{column}' used in key specification without a key length"),
        },
        _ => SqlError::invalid_definition(text),
    }
}

/// The first name of an index of this column that is free: as MySQL chooses it.
pub fn free_name(column: &str, names: &[String]) -> String {
    let mut name = column.to_owned();
    let mut number = 2;
    while names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
        name = format!("{column}_{number}");
        number += 1;
    }
    name
}

/// Comment and first number of AUTO_INCREMENT.
fn options(options: &CreateTableOptions, warnings: &mut Vec<SqlError>) -> Result<(String, Option<u64>)> {
    let list = match options {
        CreateTableOptions::None => return Ok((String::new(), None)),
        CreateTableOptions::Plain(list)
        | CreateTableOptions::With(list)
        | CreateTableOptions::Options(list)
        | CreateTableOptions::TableProperties(list) => list,
    };
    let (mut comment, mut first) = (String::new(), None);
    for option in list {
        match option {
            SqlOption::Comment(text) => {
                comment = match text {
                    sqlparser::ast::CommentDef::WithEq(text)
                    | sqlparser::ast::CommentDef::WithoutEq(text) => text.clone(),
                };
            }
            SqlOption::KeyValue { key, value } => {
                let text = value.to_string();
                let text = text.trim_matches(['\'', '"', '`']);
                match key.value.to_ascii_uppercase().as_str() {
                    "ENGINE" => warn_of_engine(text, warnings),
                    "AUTO_INCREMENT" => first = text.parse().ok(),
                    "COMMENT" => text.clone_into(&mut comment),
                    "COLLATE" | "DEFAULT COLLATE" => check_collation(text, warnings)?,
                    key if key.ends_with("CHARSET") || key.ends_with("CHARACTER SET") => {
                        check_character_set(text, warnings)?;
                    }
                    _ => {}
                }
            }
            SqlOption::NamedParenthesizedList(named) if named.key.value.eq_ignore_ascii_case("ENGINE") => {
                let name = named.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
                warn_of_engine(&name, warnings);
            }
            _ => {}
        }
    }
    Ok((comment, first))
}

fn warn_of_engine(name: &str, warnings: &mut Vec<SqlError>) {
    if !ENGINES.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        let message = format!("Unknown storage engine '{name}'; the table is one of Duet all the same");
        warnings.push(SqlError { code: 1_286, state: "42000", message });
    }
}
