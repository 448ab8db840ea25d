//! Where in a dump a statement ends, where the rows of a COPY begin, and where psql would be told to do something.
//!
//! psql takes a backslash outside of quotes for a command of its own, and one of its commands is a shell. We do not use psql, so a
//! mistake here is a syntax error in Postgres and nothing worse; what is refused is refused because a dump without it can be had.

/// A part of a dump.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A statement and the line it begins at.
    Statement(usize, String),
    /// A line of rows for the COPY before it, line end included.
    Rows(Vec<u8>),
    /// The end of those rows.
    EndOfRows,
}

/// Why a dump is not read on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(super) struct Refused {
    pub(super) line: usize,
    pub(super) what: &'static str,
}

const COMMAND: &str = "a backslash command of psql: make the dump with pg_dump, plain, without --create";
const NOT_UTF8: &str = "not UTF-8: make the dump with pg_dump --encoding=UTF8";

/// Where in SQL we are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Inside {
    Sql,
    /// 'text', or E'text' where a backslash escapes.
    Text {
        escapes: bool,
    },
    Name,
    /// $tag$ … $tag$
    Dollars(Vec<u8>),
    /// Comments in comments.
    Comment(usize),
    Rows,
}

/// Reads a dump line by line.
pub(super) struct Scanner {
    inside: Inside,
    sql: Vec<u8>,
    began: usize,
    line: usize,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self { inside: Inside::Sql, sql: Vec::new(), began: 1, line: 0 }
    }

    /// The pieces that end with this line, which has its line end unless it is the last.
    pub(super) fn feed(&mut self, line: &[u8]) -> Result<Vec<Piece>, Refused> {
        self.line += 1;
        if self.inside == Inside::Rows {
            if line.strip_suffix(b"\n").unwrap_or(line).trim_ascii_end() == b"\\." {
                self.inside = Inside::Sql;
                return Ok(vec![Piece::EndOfRows]);
            }
            return Ok(vec![Piece::Rows(line.to_vec())]);
        }
        if self.inside == Inside::Sql && self.is_empty() && is_restrict(line) {
            return Ok(Vec::new());
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < line.len() {
            at = self.step(line, at, &mut pieces)?;
        }
        Ok(pieces)
    }

    /// What is left after the last line.
    pub(super) fn end(mut self) -> Result<Option<Piece>, Refused> {
        match self.inside {
            Inside::Sql => self.statement(),
            _ => Err(Refused { line: self.began, what: "the dump ends in the middle of what begins here" }),
        }
    }

    fn is_empty(&self) -> bool {
        self.sql.trim_ascii().is_empty()
    }

    /// Takes one character or a mark of several; gives where to go on.
    fn step(&mut self, line: &[u8], at: usize, pieces: &mut Vec<Piece>) -> Result<usize, Refused> {
        if self.is_empty() {
            self.began = self.line;
        }
        let rest = &line[at..];
        let length = match &mut self.inside {
            Inside::Sql => return self.in_sql(line, at, pieces),
            Inside::Text { escapes: true } if rest[0] == b'\\' => rest.len().min(2),
            Inside::Text { .. } | Inside::Name if rest.starts_with(b"''") || rest.starts_with(b"\"\"") => {
                // Doubled it stands for itself, if it is the one that would end us; else two harmless characters.
                2
            }
            Inside::Text { .. } if rest[0] == b'\'' => self.leave(1),
            Inside::Name if rest[0] == b'"' => self.leave(1),
            Inside::Dollars(tag) if rest.starts_with(tag) => {
                let length = tag.len();
                self.leave(length)
            }
            Inside::Comment(depth) if rest.starts_with(b"/*") => {
                *depth += 1;
                2
            }
            Inside::Comment(1) if rest.starts_with(b"*/") => self.leave(2),
            Inside::Comment(depth) if rest.starts_with(b"*/") => {
                *depth -= 1;
                2
            }
            _ => 1,
        };
        self.sql.extend(&rest[..length]);
        Ok(at + length)
    }

    fn leave(&mut self, length: usize) -> usize {
        self.inside = Inside::Sql;
        length
    }

    fn in_sql(&mut self, line: &[u8], at: usize, pieces: &mut Vec<Piece>) -> Result<usize, Refused> {
        let rest = &line[at..];
        let mut length = 1;
        match rest[0] {
            b'\\' => return Err(Refused { line: self.line, what: COMMAND }),
            b';' => return self.at_semicolon(line, at, pieces),
            b'-' if rest.starts_with(b"--") => {
                // A comment is dropped: what is left of a statement may be nothing at all.
                self.sql.push(b'\n');
                return Ok(line.len());
            }
            b'/' if rest.starts_with(b"/*") => {
                self.inside = Inside::Comment(1);
                length = 2;
            }
            b'\'' => self.inside = Inside::Text { escapes: self.follows_escape_mark() },
            b'"' => self.inside = Inside::Name,
            b'$' if !self.sql.last().is_some_and(|b| is_word(*b)) => {
                if let Some(tag) = tag(rest) {
                    length = tag.len();
                    self.inside = Inside::Dollars(tag.to_vec());
                }
            }
            _ => {}
        }
        self.sql.extend(&rest[..length]);
        Ok(at + length)
    }

    fn at_semicolon(&mut self, line: &[u8], at: usize, pieces: &mut Vec<Piece>) -> Result<usize, Refused> {
        let Some(statement) = self.statement()? else { return Ok(at + 1) };
        let has_rows = matches!(&statement, Piece::Statement(_, sql) if reads_rows(sql));
        pieces.push(statement);
        if has_rows {
            if !line[at + 1..].trim_ascii().is_empty() {
                return Err(Refused { line: self.line, what: "something stands between a COPY and its rows" });
            }
            self.inside = Inside::Rows;
            return Ok(line.len());
        }
        Ok(at + 1)
    }

    fn statement(&mut self) -> Result<Option<Piece>, Refused> {
        let line = self.began;
        let sql = String::from_utf8(std::mem::take(&mut self.sql)).map_err(|_| Refused { line, what: NOT_UTF8 })?;
        Ok(Some(sql.trim()).filter(|sql| !sql.is_empty()).map(|sql| Piece::Statement(line, sql.to_owned())))
    }

    /// Whether the text that begins here is an E'text'.
    fn follows_escape_mark(&self) -> bool {
        match self.sql.as_slice() {
            [.., before, b'e' | b'E'] => !is_word(*before),
            [b'e' | b'E'] => true,
            _ => false,
        }
    }
}

/// What pg_dump itself writes since 2025, to bind psql: nothing to us.
fn is_restrict(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    matches!(words.next(), Some(b"\\restrict" | b"\\unrestrict"))
        && words.next().is_some_and(|token| token.iter().all(u8::is_ascii_alphanumeric))
        && words.next().is_none()
}

/// Whether rows follow a statement.
pub(super) fn reads_rows(sql: &str) -> bool {
    let words: Vec<String> = sql.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
    words.first().is_some_and(|word| word == "copy")
        && words.windows(2).any(|pair| pair[0] == "from" && pair[1].trim_end_matches(';') == "stdin")
}

/// The `$tag$` that a text begins with.
fn tag(rest: &[u8]) -> Option<&[u8]> {
    let end = rest.iter().skip(1).position(|b| !is_word(*b) || *b == b'$')? + 1;
    (rest[end] == b'$' && !rest[1].is_ascii_digit()).then(|| &rest[..=end])
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(text: &str) -> Result<Vec<Piece>, Refused> {
        let mut scanner = Scanner::new();
        let mut all = Vec::new();
        for line in text.as_bytes().split_inclusive(|b| *b == b'\n') {
            all.extend(scanner.feed(line)?);
        }
        all.extend(scanner.end()?);
        Ok(all)
    }

    fn statements(text: &str) -> Vec<String> {
        let sql = |piece| if let Piece::Statement(_, sql) = piece { Some(sql) } else { None };
        scan(text).unwrap().into_iter().filter_map(sql).collect()
    }

    #[test]
    fn backslashes_are_data_in_rows_and_quotes_and_commands_elsewhere() {
        let rows = "copy t from stdin;\n\\N\tC:\\\\x\n\\! touch /tmp/x\n\\.\nselect 1;\n";
        assert_eq!(scan(rows).unwrap().len(), 5);
        assert_eq!(statements("select '\\! x', E'a\\';b', $a$ \\! ; $a$, \"\\c\" /* \\! /* ; */ */;select 2").len(), 2);
        for (text, line) in [
            ("\\! touch /tmp/x\n", 1),
            ("select 1;\n  \\! id\n", 2),
            ("select 1 \\g /tmp/x\n", 1),
            ("copy t from stdin;\n\\.\n\\connect other\n", 3),
            ("select 'a'; -- it's\n\\! id\n", 2),
            ("\\restrict a b\n", 1),
            ("select 1\n\\restrict abc\n", 2),
            ("copy t from program 'x';\n\\.\n", 2),
        ] {
            assert_eq!(scan(text), Err(Refused { line, what: COMMAND }), "{text}");
        }
        assert_eq!(statements("\\restrict aB3\nselect 1;\n\\unrestrict aB3\n"), ["select 1"]);
    }

    #[test]
    fn an_unfinished_dump_is_not_a_dump() {
        for text in ["select 'a", "copy t from stdin;\n1\n", "/* a", "select $a$ b"] {
            assert!(scan(text).is_err(), "{text}");
        }
        assert!(scan("copy t from stdin; select 1;\n").is_err());
        let latin = [b"select '".as_slice(), &[0xe9], b"';\n"].concat();
        assert_eq!(Scanner::new().feed(&latin), Err(Refused { line: 1, what: NOT_UTF8 }));
    }

    #[test]
    fn dollars_in_names_quote_nothing() {
        assert_eq!(
            statements("select a$b$ ; select $1; select $b$;$b$"),
            ["select a$b$", "select $1", "select $b$;$b$"]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut scanner = Scanner::new();
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                if scanner.feed(line).is_err() {
                    return Ok(());
                }
            }
            let _ = scanner.end();
        }

        /// Whatever stands in them, texts, names, dollar quotes and rows come out as they went in.
        #[test]
        fn quoted_words_are_left_alone(words in prop::collection::vec("[a-z;\\\\'\"$/*\n-]{0,12}", 1..6), how in 0usize..4) {
            let quoted: Vec<String> = words.iter().map(|word| match how {
                0 => format!("'{}'", word.replace('\'', "''")),
                1 => format!("E'{}'", word.replace('\\', "\\\\").replace('\'', "\\'")),
                2 => format!("\"{}\"", word.replace('"', "\"\"")),
                _ => format!("$q1${}$q1$", word.replace('$', "")),
            }).map(|word| format!("select {word}")).collect();
            prop_assert_eq!(statements(&quoted.join(";\n")), quoted);
            let rows: Vec<String> = words.iter().map(|word| format!("x{}\n", word.replace('\n', ""))).collect();
            let pieces = scan(&format!("copy t from stdin;\n{}\\.\n", rows.concat())).unwrap();
            prop_assert_eq!(pieces.len(), rows.len() + 2);
            for (piece, row) in pieces[1..].iter().zip(&rows) {
                prop_assert_eq!(piece, &Piece::Rows(row.clone().into_bytes()));
            }
        }
    }
}
