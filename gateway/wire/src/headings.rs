//! What columns of a result are called that the statement gives no name: the text of their expressions, as it was written.

use sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableFactor, Value};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Word};

/// Most characters of a heading.
const MAX_HEADING: usize = 256;

/// Texts of the items of a SELECT.
#[derive(Clone, Debug)]
pub struct Headings {
    /// Where the word SELECT is.
    select: Location,
    /// A text for each item that has no name and is not one itself.
    pub items: Vec<Option<String>>,
}

/// A place in a text that only goes forward, as the tokenizer counts lines and characters.
pub struct Place<'t> {
    text: &'t str,
    byte: usize,
    line: u64,
    column: u64,
}

impl<'t> Place<'t> {
    /// The beginning of a text.
    pub fn at_start(text: &'t str) -> Place<'t> {
        Place { text, byte: 0, line: 1, column: 1 }
    }

    /// The byte at a location that is not before the last one.
    fn byte_at(&mut self, location: Location) -> usize {
        for character in self.text[self.byte..].chars() {
            if (self.line, self.column) >= (location.line, location.column) {
                break;
            }
            self.byte += character.len_utf8();
            match character {
                '\n' => (self.line, self.column) = (self.line + 1, 1),
                _ => self.column += 1,
            }
        }
        self.byte
    }
}

fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(Word { keyword, quote_style: None, .. }) => *keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Whether a word ends the items of a SELECT.
fn ends_items(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::WINDOW
            | Keyword::FOR
            | Keyword::INTO
    )
}

/// Whether a word stands between SELECT and its items.
fn is_modifier(token: &Token) -> bool {
    const MODIFIERS: [&str; 10] = [
        "ALL",
        "DISTINCT",
        "DISTINCTROW",
        "HIGH_PRIORITY",
        "SQL_BIG_RESULT",
        "SQL_BUFFER_RESULT",
        "SQL_CALC_FOUND_ROWS",
        "SQL_NO_CACHE",
        "SQL_SMALL_RESULT",
        "STRAIGHT_JOIN",
    ];
    matches!(token, Token::Word(Word { value, quote_style: None, .. })
        if MODIFIERS.iter().any(|modifier| value.eq_ignore_ascii_case(modifier)))
}

/// Whether the tokens of an item are a name, or one literal, or `*`.
fn is_name(item: &[TokenWithSpan]) -> bool {
    let is_word = |token: &Token| {
        matches!(
            token,
            Token::Word(_)
                | Token::Mul
                | Token::SingleQuotedString(_)
                | Token::DoubleQuotedString(_)
                | Token::Placeholder(_)
        )
    };
    item.is_empty()
        || item.len() == 1 && is_word(&item[0].token)
        || item.iter().all(|token| matches!(token.token, Token::Word(_) | Token::Period | Token::Mul))
            && item.iter().any(|token| token.token == Token::Period)
}

/// The items of every SELECT of a statement.
pub fn headings(tokens: &[TokenWithSpan], place: &mut Place<'_>) -> Vec<Headings> {
    /// Items that are still being read.
    struct Open {
        headings: Headings,
        depth: usize,
        /// The first token of the item.
        first: usize,
        done: bool,
    }
    let mut ranges: Vec<(usize, usize, usize, usize)> = Vec::new();
    let mut all: Vec<Open> = Vec::new();
    let mut stack: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut close = |all: &mut Vec<Open>, open: usize, end: usize| {
        let item = &tokens[all[open].first..end];
        let number = all[open].headings.items.len();
        all[open].headings.items.push(None);
        if !is_name(item) {
            ranges.push((all[open].first, end, open, number));
        }
        all[open].first = end + 1;
    };
    for (index, token) in tokens.iter().enumerate() {
        let word = keyword(&token.token);
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                while let Some(open) = stack.last().copied().filter(|open| all[*open].depth >= depth) {
                    if !all[open].done {
                        close(&mut all, open, index);
                    }
                    stack.pop();
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        if let Some(open) = stack.last().copied().filter(|open| all[*open].depth == depth && !all[*open].done)
        {
            let is_part = index > 0 && tokens[index - 1].token == Token::Period;
            if token.token == Token::Comma {
                close(&mut all, open, index);
            } else if ends_items(word) && !is_part {
                close(&mut all, open, index);
                all[open].done = true;
            } else if index == all[open].first
                && all[open].headings.items.is_empty()
                && is_modifier(&token.token)
            {
                all[open].first = index + 1;
            }
        }
        if word == Keyword::SELECT {
            // The one before it at this depth, of a UNION, is over.
            while stack.last().is_some_and(|open| all[*open].depth >= depth) {
                stack.pop();
            }
            stack.push(all.len());
            let headings = Headings { select: token.span.start, items: Vec::new() };
            all.push(Open { headings, depth, first: index + 1, done: false });
        }
    }
    while let Some(open) = stack.pop() {
        if !all[open].done {
            close(&mut all, open, tokens.len());
        }
    }
    // Texts lie within each other where there are subqueries: those that begin first, first.
    ranges.sort_unstable();
    let mut starts: Vec<(Location, bool, usize)> = Vec::with_capacity(2 * ranges.len());
    for (number, (first, end, ..)) in ranges.iter().enumerate() {
        starts.push((tokens[*first].span.start, true, number));
        starts.push((tokens[*end - 1].span.end, false, number));
    }
    starts.sort_unstable();
    let mut begun = vec![0; ranges.len()];
    for (location, begins, number) in starts {
        let byte = place.byte_at(location);
        match begins {
            true => begun[number] = byte,
            false => {
                let (_, _, open, item) = ranges[number];
                let text = place.text.get(begun[number]..byte).unwrap_or_default();
                let end = text.char_indices().nth(MAX_HEADING).map_or(text.len(), |(end, _)| end);
                all[open].headings.items[item] = Some(text[..end].to_owned());
            }
        }
    }
    all.retain(|open| open.headings.items.iter().any(Option::is_some));
    all.into_iter().map(|open| open.headings).collect()
}

/// Gives items without a name their text as one.
pub fn name_items(statement: &mut Statement, headings: &[Headings]) {
    if headings.is_empty() {
        return;
    }
    match statement {
        Statement::Query(query) => in_query(query, headings),
        Statement::Explain { statement, .. } => name_items(statement, headings),
        _ => {}
    }
}

fn in_query(query: &mut Query, headings: &[Headings]) {
    for table in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
        in_query(&mut table.query, headings);
    }
    in_body(&mut query.body, headings);
}

fn in_body(body: &mut SetExpr, headings: &[Headings]) {
    match body {
        SetExpr::Select(select) => in_select(select, headings),
        SetExpr::Query(query) => in_query(query, headings),
        SetExpr::SetOperation { left, right, .. } => {
            in_body(left, headings);
            in_body(right, headings);
        }
        _ => {}
    }
}

fn in_select(select: &mut Select, headings: &[Headings]) {
    let start = select.select_token.0.span.start;
    // They are in the order of the statement.
    let known = headings.binary_search_by_key(&start, |known| known.select).ok().map(|at| &headings[at]);
    if let Some(known) = known.filter(|known| known.items.len() == select.projection.len()) {
        for (item, heading) in select.projection.iter_mut().zip(&known.items) {
            let (SelectItem::UnnamedExpr(expression), Some(heading)) = (&item, heading) else { continue };
            *item = match bare(expression) {
                inner if is_named(inner) => SelectItem::UnnamedExpr(inner.clone()),
                Expr::Value(_) => {
                    let alias = Ident::with_quote('`', heading.trim_matches(['(', ')', ' ']));
                    SelectItem::ExprWithAlias { expr: expression.clone(), alias }
                }
                _ => {
                    let alias = Ident::with_quote('`', heading.as_str());
                    SelectItem::ExprWithAlias { expr: expression.clone(), alias }
                }
            };
        }
    }
    for from in &mut select.from {
        let relations = std::iter::once(&mut from.relation);
        for relation in relations.chain(from.joins.iter_mut().map(|join| &mut join.relation)) {
            in_relation(relation, headings);
        }
    }
}

fn in_relation(relation: &mut TableFactor, headings: &[Headings]) {
    match relation {
        TableFactor::Derived { subquery, .. } => in_query(subquery, headings),
        TableFactor::NestedJoin { table_with_joins, .. } => {
            in_relation(&mut table_with_joins.relation, headings);
            for join in &mut table_with_joins.joins {
                in_relation(&mut join.relation, headings);
            }
        }
        _ => {}
    }
}

/// Whether an expression is called something by itself: a column, or a text.
fn is_named(expression: &Expr) -> bool {
    match expression {
        Expr::Identifier(name) => !name.value.starts_with('@'),
        Expr::CompoundIdentifier(names) => names.first().is_some_and(|name| !name.value.starts_with('@')),
        Expr::Value(value) => {
            matches!(value.value, Value::SingleQuotedString(_) | Value::DoubleQuotedString(_))
        }
        _ => false,
    }
}

/// What is within brackets around a name alone.
fn bare(expression: &Expr) -> &Expr {
    match expression {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}
