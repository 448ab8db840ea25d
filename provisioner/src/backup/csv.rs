//! COPY's own text made CSV that every Postgres loads, and everything else that reads CSV.
//!
//! Every value is in quotes, so that nothing between two commas is NULL and nothing else is. Postgres writes CSV too, but not so that an
//! older psql reads it back: up to version 17 it takes a line of a value that is `\.` alone for the end of the file.

use std::io::{self, Write};

/// Where in a line the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// A value begins.
    Begin,
    /// In a value that begins with a backslash: NULL, or a value that begins with what is escaped.
    FirstEscaped,
    /// After NULL.
    Null,
    Value,
    Escaped,
}

/// What of a line that psql must not meet has been read and not written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Backslash,
    BackslashAndDot,
}

/// Takes the text in pieces of any size.
pub(super) struct Csv<W> {
    out: W,
    at: At,
    held: Held,
    /// The last byte of the value was a line's end.
    at_line: bool,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, at: At::Begin, held: Held::Nothing, at_line: false }
    }

    /// The names of the columns, as the first line.
    pub(super) fn header(&mut self, columns: &[String]) -> io::Result<()> {
        let quoted: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.replace('"', "\"\""))).collect();
        writeln!(self.out, "{}", quoted.join(","))
    }

    pub(super) fn feed(&mut self, text: &[u8]) -> io::Result<()> {
        text.iter().try_for_each(|byte| self.byte(*byte))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn byte(&mut self, byte: u8) -> io::Result<()> {
        match (self.at, byte) {
            (_, b'\t' | b'\n') => return self.end(byte),
            (At::Begin, b'\\') => self.at = At::FirstEscaped,
            (At::FirstEscaped, b'N') => self.at = At::Null,
            (At::Begin | At::FirstEscaped, _) => {
                self.out.write_all(b"\"")?;
                let first = if self.at == At::Begin { byte } else { escaped(byte) };
                self.at = At::Value;
                self.value(first)?;
            }
            (At::Value, b'\\') => self.at = At::Escaped,
            (At::Escaped, _) => {
                self.at = At::Value;
                self.value(escaped(byte))?;
            }
            (At::Value | At::Null, _) => self.value(byte)?,
        }
        Ok(())
    }

    /// A value has ended, and with a line's end the row. An empty one is in quotes too.
    fn end(&mut self, byte: u8) -> io::Result<()> {
        if self.at == At::Begin {
            self.out.write_all(b"\"")?;
        }
        if self.at != At::Null {
            self.let_go()?;
            self.out.write_all(b"\"")?;
        }
        (self.at, self.at_line) = (At::Begin, false);
        self.out.write_all(if byte == b'\t' { b"," } else { b"\n" })
    }

    /// A byte of a value as it is. Where a line of it would be `\.` alone, the quotes end before and begin after that, which Postgres takes
    /// for the same value.
    fn value(&mut self, byte: u8) -> io::Result<()> {
        match (self.held, byte) {
            (Held::Nothing, b'\\') if self.at_line => {
                (self.held, self.at_line) = (Held::Backslash, false);
                return Ok(());
            }
            (Held::Backslash, b'.') => {
                self.held = Held::BackslashAndDot;
                return Ok(());
            }
            (Held::BackslashAndDot, b'\n' | b'\r') => {
                self.held = Held::Nothing;
                self.out.write_all(b"\"\\.\"")?;
            }
            _ => self.let_go()?,
        }
        self.at_line = byte == b'\n';
        self.out.write_all(if byte == b'"' { b"\"\"" } else { std::slice::from_ref(&byte) })
    }

    fn let_go(&mut self) -> io::Result<()> {
        let held: &[u8] = match self.held {
            Held::Nothing => b"",
            Held::Backslash => b"\\",
            Held::BackslashAndDot => b"\\.",
        };
        self.held = Held::Nothing;
        self.out.write_all(held)
    }
}

/// What stands for a byte after a backslash.
fn escaped(byte: u8) -> u8 {
    match byte {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::Csv;
    use proptest::prelude::*;

    fn csv(text: &[u8], cut: usize) -> String {
        let mut csv = Csv::new(Vec::new());
        let (first, second) = text.split_at(cut.min(text.len()));
        csv.feed(first).unwrap();
        csv.feed(second).unwrap();
        String::from_utf8(csv.out).unwrap()
    }

    /// As Postgres writes a row.
    fn copied(row: &[Option<String>]) -> String {
        let value = |value: &Option<String>| {
            let Some(value) = value else { return "\\N".to_owned() };
            let pairs = [
                ("\\", "\\\\"),
                ("\t", "\\t"),
                ("\n", "\\n"),
                ("\r", "\\r"),
                ("\u{8}", "\\b"),
                ("\u{b}", "\\v"),
                ("\u{c}", "\\f"),
            ];
            pairs.iter().fold(value.clone(), |text, (from, to)| text.replace(from, to))
        };
        row.iter().map(value).collect::<Vec<_>>().join("\t") + "\n"
    }

    /// As Postgres reads it: quotes may begin and end anywhere in a value, and only what had none can be NULL.
    fn read(text: &str) -> Vec<Vec<Option<String>>> {
        let (mut rows, mut row, mut value, mut quoted, mut inside) =
            (Vec::new(), Vec::new(), String::new(), false, false);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if inside && chars.peek() == Some(&'"') => value.push(chars.next().unwrap()),
                '"' => (inside, quoted) = (!inside, true),
                ',' | '\n' if !inside => {
                    let value = std::mem::take(&mut value);
                    row.push(if quoted || !value.is_empty() { Some(value) } else { None });
                    quoted = false;
                    if c == '\n' {
                        rows.push(std::mem::take(&mut row));
                    }
                }
                other => value.push(other),
            }
        }
        rows
    }

    proptest! {
        #[test]
        fn what_is_read_back_is_what_was_copied_and_no_line_ends_the_file(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of("[\\\\.N,\"\n\r\ta\u{8}ß]{0,6}"), 3), 0..4), cut in 0usize..40,
        ) {
            let text: String = rows.iter().map(|row| copied(row)).collect();
            let written = csv(text.as_bytes(), cut);
            prop_assert_eq!(read(&written), rows);
            prop_assert!(written.split('\n').all(|line| line.trim_end_matches('\r') != "\\."), "{}", written);
        }
    }

    #[test]
    fn null_is_nothing_and_empty_is_two_quotes() {
        assert_eq!(csv(b"\\N\t\t\\\\N\n", 1), ",\"\",\"\\N\"\n");
        assert_eq!(csv(b"a\\n\\\\.\\nb\n", 0), "\"a\n\"\\.\"\nb\"\n");
    }
}
