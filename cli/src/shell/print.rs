//! Rows for people and for programs.

use mysql::Value;
use std::fmt::Write as _;
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// Rows that decide how wide columns are; what follows is printed as it comes.
const MEASURED_ROWS: usize = 1_000;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table with borders.
    Table,
    /// One column a line.
    Vertical,
    /// Columns separated by tabs, with special characters escaped.
    Tabs,
}

/// A value of the text protocol.
pub fn text(value: &Value, form: Form) -> String {
    let bytes = match value {
        Value::NULL => return "NULL".to_owned(),
        Value::Bytes(bytes) => bytes.as_slice(),
        other => return other.as_sql(true),
    };
    let Ok(content) = std::str::from_utf8(bytes) else {
        return bytes.iter().fold("0x".to_owned(), |mut hexadecimal, byte| {
            // Writing into memory cannot fail.
            let _ = write!(hexadecimal, "{byte:02X}");
            hexadecimal
        });
    };
    escaped(content, form)
}

fn escaped(content: &str, form: Form) -> String {
    let mut shown = String::with_capacity(content.len());
    for letter in content.chars() {
        match (letter, form) {
            ('\t', Form::Tabs) => shown.push_str("\\t"),
            ('\n', Form::Tabs | Form::Table) => shown.push_str("\\n"),
            ('\0', Form::Tabs) => shown.push_str("\\0"),
            ('\\', Form::Tabs) => shown.push_str("\\\\"),
            ('\n' | '\t', Form::Vertical) => shown.push(letter),
            // Nothing that a row holds may command the terminal.
            (control, Form::Table | Form::Vertical) if control.is_control() => {
                shown.extend(control.escape_default());
            }
            (other, _) => shown.push(other),
        }
    }
    shown
}

/// Prints the rows of one result as they come.
pub struct Printer<'a> {
    output: &'a mut dyn Write,
    form: Form,
    names: Vec<String>,
    /// Rows until columns are measured.
    waiting: Vec<Vec<String>>,
    widths: Vec<usize>,
    rows: u64,
}

impl<'a> Printer<'a> {
    /// A printer of rows with columns of these names, which stay on one line each in all forms.
    pub fn new(output: &'a mut dyn Write, form: Form, names: &[String]) -> Printer<'a> {
        let one_line = if form == Form::Vertical { Form::Table } else { form };
        let names = names.iter().map(|name| escaped(name, one_line)).collect();
        Printer { output, form, names, waiting: Vec::new(), widths: Vec::new(), rows: 0 }
    }

    /// Prints a row, maybe later.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn row(&mut self, row: &[Value]) -> io::Result<()> {
        let row: Vec<String> = row.iter().map(|value| text(value, self.form)).collect();
        self.rows += 1;
        match self.form {
            Form::Tabs => {
                if self.rows == 1 {
                    writeln!(self.output, "{}", self.names.join("\t"))?;
                }
                writeln!(self.output, "{}", row.join("\t"))
            }
            Form::Vertical => {
                let width = self.names.iter().map(|name| name.width()).max().unwrap_or_default();
                writeln!(self.output, "{0} {1}. row {0}", "*".repeat(27), self.rows)?;
                for (name, value) in self.names.iter().zip(&row) {
                    writeln!(self.output, "{}{name}: {value}", " ".repeat(width - name.width()))?;
                }
                Ok(())
            }
            Form::Table if self.widths.is_empty() => {
                self.waiting.push(row);
                if self.waiting.len() >= MEASURED_ROWS { self.begin_table() } else { Ok(()) }
            }
            Form::Table => self.line(&row),
        }
    }

    /// Prints what is left; how many rows there were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(mut self) -> io::Result<u64> {
        if self.form == Form::Table && self.rows > 0 {
            if self.widths.is_empty() {
                self.begin_table()?;
            }
            self.border()?;
        }
        Ok(self.rows)
    }

    fn begin_table(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width());
            cells.max().unwrap_or_default().max(self.names[column].width()).max(1)
        };
        self.widths = (0..self.names.len()).map(width).collect();
        self.border()?;
        let names = self.names.clone();
        self.line(&names)?;
        self.border()?;
        rows.iter().try_for_each(|row| self.line(row))
    }

    fn border(&mut self) -> io::Result<()> {
        let parts: Vec<String> = self.widths.iter().map(|width| "-".repeat(width + 2)).collect();
        writeln!(self.output, "+{}+", parts.join("+"))
    }

    fn line(&mut self, cells: &[String]) -> io::Result<()> {
        for (cell, width) in cells.iter().zip(&self.widths) {
            let padding = width.saturating_sub(cell.width());
            write!(self.output, "| {cell}{} ", " ".repeat(padding))?;
        }
        writeln!(self.output, "|")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(form: Form, rows: &[Vec<Value>]) -> String {
        printed_with(form, &["id".to_owned(), "name".to_owned()], rows)
    }

    fn printed_with(form: Form, names: &[String], rows: &[Vec<Value>]) -> String {
        let mut output = Vec::new();
        let mut printer = Printer::new(&mut output, form, names);
        rows.iter().for_each(|row| printer.row(row).expect("memory"));
        assert_eq!(printer.end().expect("memory"), rows.len() as u64);
        String::from_utf8(output).expect("UTF-8")
    }

    #[test]
    fn rows_are_printed_in_all_forms() {
        let text = |content: &str| Value::Bytes(content.as_bytes().to_vec());
        let rows = [vec![text("1"), text("é\ta\nb\x1b[2J")], vec![Value::NULL, Value::Bytes(vec![0xFF, 1])]];
        assert_eq!(
            printed(Form::Table, &rows),
            "+------+------------------+\n\
             | id   | name             |\n\
             +------+------------------+\n\
             | 1    | é\\ta\\nb\\u{1b}[2J |\n\
             | NULL | 0xFF01           |\n\
             +------+------------------+\n"
        );
        assert_eq!(printed(Form::Tabs, &rows[1..]), "id\tname\nNULL\t0xFF01\n");
        assert!(printed(Form::Vertical, &rows[1..]).ends_with("  id: NULL\nname: 0xFF01\n"));
        assert_eq!(printed(Form::Table, &[]), "");
    }

    #[test]
    fn headings_and_cells_stay_on_their_line() {
        let names = ["a\nb".to_owned(), "c\td\\".to_owned()];
        let rows = [vec![Value::Bytes(b"1\n2".to_vec()), Value::Bytes(b"3\t4\\".to_vec())]];
        assert_eq!(
            printed_with(Form::Table, &names, &rows),
            "+------+-------+\n\
             | a\\nb | c\\td\\ |\n\
             +------+-------+\n\
             | 1\\n2 | 3\\t4\\ |\n\
             +------+-------+\n"
        );
        assert_eq!(printed_with(Form::Tabs, &names, &rows), "a\\nb\tc\\td\\\\\n1\\n2\t3\\t4\\\\\n");
        assert!(printed_with(Form::Vertical, &names, &rows).ends_with(" a\\nb: 1\n2\nc\\td\\: 3\t4\\\n"));
    }

    #[test]
    fn many_rows_are_printed_as_they_come() {
        let rows: Vec<Vec<Value>> = (0..3_000)
            .map(|number| vec![Value::Bytes(number.to_string().into_bytes()), Value::NULL])
            .collect();
        assert_eq!(printed(Form::Table, &rows).lines().count(), 3_000 + 4);
    }
}
