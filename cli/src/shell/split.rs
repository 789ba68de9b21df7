//! Where statements end: at a semicolon, or at `\G`, outside of quotes and comments.

/// A statement and how its rows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text, without what ended it.
    pub sql: String,
    /// One column a line: it was ended by `\G`.
    pub vertical: bool,
}

/// Collects lines until statements are complete.
#[derive(Debug, Default)]
pub struct Splitter {
    text: String,
}

/// What surrounds a place of a text.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Nothing,
    Quote(u8),
    Line,
    Comment,
}

impl Splitter {
    /// Adds text; the statements that it completes.
    pub fn add(&mut self, text: &str) -> Vec<Statement> {
        self.text.push_str(text);
        let mut statements = Vec::new();
        let (mut start, mut at, mut inside) = (0, 0, Inside::Nothing);
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(at).copied() {
            let next = bytes.get(at + 1).copied();
            let mut step = 1;
            match (inside, byte, next) {
                (Inside::Nothing, b';', _) | (Inside::Nothing, b'\\', Some(b'G' | b'g')) => {
                    let sql = self.text[start..at].trim().to_owned();
                    let vertical = next == Some(b'G') && byte == b'\\';
                    step = if byte == b';' { 1 } else { 2 };
                    start = at + step;
                    if !sql.is_empty() {
                        statements.push(Statement { sql, vertical });
                    }
                }
                (Inside::Nothing, b'\'' | b'"' | b'`', _) => inside = Inside::Quote(byte),
                (Inside::Nothing, b'#', _) => inside = Inside::Line,
                (Inside::Nothing, b'-', Some(b'-'))
                    if bytes.get(at + 2).is_none_or(u8::is_ascii_whitespace) =>
                {
                    inside = Inside::Line;
                }
                (Inside::Nothing, b'/', Some(b'*')) => (inside, step) = (Inside::Comment, 2),
                (Inside::Quote(quote), b'\\', Some(_)) if quote != b'`' => step = 2,
                (Inside::Quote(quote), _, _) if byte == quote => inside = Inside::Nothing,
                (Inside::Line, b'\n', _) => inside = Inside::Nothing,
                (Inside::Comment, b'*', Some(b'/')) => (inside, step) = (Inside::Nothing, 2),
                _ => {}
            }
            at += step;
        }
        self.text.drain(..start);
        if inside == Inside::Nothing && self.text.trim().is_empty() {
            self.text.clear();
        }
        statements
    }

    /// Whether a statement has begun.
    pub fn has_begun(&self) -> bool {
        !self.text.is_empty()
    }

    /// What is left at the end of the input: a last statement may lack its semicolon.
    pub fn rest(&mut self) -> Option<Statement> {
        let sql = std::mem::take(&mut self.text).trim().to_owned();
        (!sql.is_empty()).then_some(Statement { sql, vertical: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut statements = splitter.add(text);
        statements.extend(splitter.rest());
        statements.into_iter().map(|statement| statement.sql).collect()
    }

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        assert_eq!(split("SELECT 1; SELECT 2"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(split("SELECT ';', \";\", `;`;"), ["SELECT ';', \";\", `;`"]);
        assert_eq!(split(r"SELECT 'it\'s;', 'a''b;';"), [r"SELECT 'it\'s;', 'a''b;'"]);
        assert_eq!(split("SELECT 1 -- ; one\n + 2;"), ["SELECT 1 -- ; one\n + 2"]);
        assert_eq!(split("SELECT 1 # ;\n;SELECT 5--2;"), ["SELECT 1 # ;", "SELECT 5--2"]);
        assert_eq!(split("SELECT /* ; */ 1;;; "), ["SELECT /* ; */ 1"]);
        assert_eq!(split("SELECT `a\\`;"), ["SELECT `a\\`"]);
        assert_eq!(split("SELECT 'é;ü'; SELECT 'x"), ["SELECT 'é;ü'", "SELECT 'x"]);
    }

    #[test]
    fn lines_are_collected() {
        let mut splitter = Splitter::default();
        assert!(splitter.add("SELECT '\n").is_empty() && splitter.has_begun());
        assert!(splitter.add(";\n").is_empty());
        let statements = splitter.add("' \\G\n");
        assert_eq!(statements, [Statement { sql: "SELECT '\n;\n'".to_owned(), vertical: true }]);
        assert!(!splitter.has_begun());
        assert!(splitter.add("  \n").is_empty() && !splitter.has_begun());
    }
}
