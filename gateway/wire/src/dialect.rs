//! The parser's dialect of MySQL, with MySQL's precedence of XOR (below AND, above OR), its `!`, its `||` and its intervals. Comments
//! that hold statements, `/*! … */`, are left to `parse`, which knows for which versions they are.

use sqlparser::ast::{DateTimeField, Expr, Interval, Statement, TrimWhereField, UnaryOperator};
use sqlparser::dialect::{Dialect, MySqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use std::any::TypeId;

/// See the module.
#[derive(Debug, Default)]
pub struct MySql;

const OTHERS: MySqlDialect = MySqlDialect {};
/// Precedence of unary signs, above those of all operators with two sides but that of paths into documents.
const UNARY: u8 = 46;
const PATH: u8 = 60;

macro_rules! as_others {
    ($($name:ident)+) => { $(fn $name(&self) -> bool { OTHERS.$name() })+ };
}

impl Dialect for MySql {
    fn dialect(&self) -> TypeId {
        // The parser asks for the dialect in some places.
        TypeId::of::<MySqlDialect>()
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Xor => 7,
            // Below LIKE, IN and BETWEEN, above IS.
            Precedence::Eq => 18,
            other => OTHERS.prec_value(other),
        }
    }

    /// `||` is OR, unless a mode that there is not here makes it a concatenation. From tight to loose: `->`, unary signs, `^`, `*`, `+`,
    /// `<<`, `&`, `|`.
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match parser.peek_token_ref().token {
            Token::StringConcat => Some(Ok(self.prec_value(Precedence::Or))),
            Token::Arrow | Token::LongArrow => Some(Ok(PATH)),
            Token::Caret => Some(Ok(UNARY - 1)),
            Token::ShiftLeft | Token::ShiftRight => Some(Ok(self.prec_value(Precedence::PlusMinus) - 1)),
            _ => None,
        }
    }

    /// Signs bind tighter than all operators but `->`; INTERVAL with all units of MySQL, as `DAY_HOUR`; TRIM of a side without what is removed from there.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let sign = match parser.peek_token_ref().token {
            Token::Minus => Some(UnaryOperator::Minus),
            Token::Plus => Some(UnaryOperator::Plus),
            Token::Tilde => Some(UnaryOperator::BitwiseNot),
            Token::ExclamationMark => Some(UnaryOperator::BangNot),
            _ => None,
        };
        if let Some(op) = sign {
            parser.advance_token();
            let operand = parser.parse_subexpr(UNARY);
            return Some(operand.map(|operand| Expr::UnaryOp { op, expr: Box::new(operand) }));
        }
        if let Some(side) = trimmed_side(parser) {
            return Some(parser.parse_expr().and_then(|expression| {
                parser.expect_token(&Token::RParen)?;
                Ok(Expr::Trim {
                    expr: Box::new(expression),
                    trim_where: Some(side),
                    trim_what: None,
                    trim_characters: None,
                })
            }));
        }
        if !parser.parse_keyword(Keyword::INTERVAL) {
            return None;
        }
        let interval = |parser: &mut Parser| {
            let value = Box::new(parser.parse_expr()?);
            let unit = parser.parse_identifier()?;
            Ok(Expr::Interval(Interval {
                value,
                leading_field: Some(DateTimeField::Custom(unit)),
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            }))
        };
        Some(interval(parser))
    }

    fn supports_bang_not_operator(&self) -> bool {
        true
    }

    fn is_identifier_start(&self, character: char) -> bool {
        OTHERS.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        OTHERS.is_identifier_part(character)
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        OTHERS.is_delimited_identifier_start(character)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        OTHERS.identifier_quote_style(identifier)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expression: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        // The parser takes a NULL behind these for a part of them.
        let words = [&parser.peek_nth_token_ref(0).token, &parser.peek_nth_token_ref(1).token].map(keyword);
        let (negated, operator) = match words {
            [Keyword::NOT, operator] => (true, operator),
            [operator, _] => (false, operator),
        };
        if matches!(operator, Keyword::REGEXP | Keyword::RLIKE) {
            for _ in 0..=usize::from(negated) {
                parser.advance_token();
            }
            let pattern = parser.parse_subexpr(self.prec_value(Precedence::Like));
            return Some(pattern.map(|pattern| Expr::RLike {
                negated,
                expr: Box::new(expression.clone()),
                pattern: Box::new(pattern),
                regexp: operator == Keyword::REGEXP,
            }));
        }
        OTHERS.parse_infix(parser, expression, precedence)
    }

    fn parse_statement(&self, parser: &mut Parser) -> Option<Result<Statement, ParserError>> {
        OTHERS.parse_statement(parser)
    }

    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        OTHERS.is_table_factor_alias(explicit, keyword, parser)
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    as_others! {
        supports_string_literal_backslash_escape
        supports_string_literal_concatenation
        ignores_wildcard_escapes
        supports_numeric_prefix
        supports_bitwise_shift_operators
        require_interval_qualifier
        supports_limit_comma
        supports_create_table_select
        supports_insert_set
        supports_user_host_grantee
        supports_table_hints
        requires_single_line_comment_whitespace
        supports_match_against
        supports_select_modifiers
        supports_set_names
        supports_comma_separated_set_assignments
        supports_update_order_by
        supports_data_type_signed_suffix
        supports_cross_join_constraint
        supports_double_ampersand_operator
        supports_binary_kw_as_cast
        supports_comment_optimizer_hint
        supports_constraint_keyword_without_name
        supports_key_column_option
        supports_group_by_with_modifier
        supports_left_associative_joins_without_parens
    }
}

fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Takes `TRIM (BOTH FROM`, with the other sides as well.
fn trimmed_side(parser: &mut Parser) -> Option<TrimWhereField> {
    let [name, open, side, from] = [0, 1, 2, 3].map(|nth| &parser.peek_nth_token_ref(nth).token);
    if keyword(name) != Keyword::TRIM || *open != Token::LParen || keyword(from) != Keyword::FROM {
        return None;
    }
    let side = match keyword(side) {
        Keyword::BOTH => TrimWhereField::Both,
        Keyword::LEADING => TrimWhereField::Leading,
        Keyword::TRAILING => TrimWhereField::Trailing,
        _ => return None,
    };
    for _ in 0..4 {
        parser.advance_token();
    }
    Some(side)
}
