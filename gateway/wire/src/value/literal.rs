//! Literals of statements.

use crate::error::{Result, SqlError, not_supported};
use crate::value::number;
use duet_client::Value;
use sqlparser::ast;

/// The value of a literal; `None` when it is a parameter.
///
/// # Errors
/// What MySQL has no such literal for.
pub fn literal(value: &ast::Value) -> Result<Value> {
    Ok(match value {
        ast::Value::Number(text, _) => number::literal(text).ok_or_else(|| {
            SqlError::arithmetic_overflow(format!("Illegal number '{text}' found during parsing"))
        })?,
        ast::Value::SingleQuotedString(text)
        | ast::Value::DoubleQuotedString(text)
        | ast::Value::NationalStringLiteral(text) => Value::Text(text.clone()),
        ast::Value::HexStringLiteral(digits) => Value::Bytes(unhex(digits)?),
        // B'101'
        ast::Value::SingleQuotedByteStringLiteral(digits) => Value::Bytes(unbit(digits)?),
        ast::Value::Boolean(truth) => Value::Int(i64::from(*truth)),
        ast::Value::Null => Value::Null,
        other => return not_supported(&format!("the literal {other}")),
    })
}

/// The bytes of binary digits, the last digit being the last bit.
fn unbit(digits: &str) -> Result<Vec<u8>> {
    if !digits.bytes().all(|digit| matches!(digit, b'0' | b'1')) {
        return Err(SqlError::syntax(format!("'{digits}' is no binary literal")));
    }
    let chunks = digits.as_bytes().rchunks(8);
    let byte = |chunk: &[u8]| chunk.iter().fold(0, |byte, digit| byte << 1 | (digit - b'0'));
    Ok(chunks.rev().map(byte).collect())
}

/// The bytes of hexadecimal digits.
fn unhex(digits: &str) -> Result<Vec<u8>> {
    let wrong = || SqlError::syntax(format!("'{digits}' is no hexadecimal literal"));
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err(wrong());
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong()))
        .collect()
}
