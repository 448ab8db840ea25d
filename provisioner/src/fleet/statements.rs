//! Where one SQL statement ends and the next begins.
//!
//! Postgres runs several statements that are sent together as one transaction; a file that must not run in one is sent
//! statement by statement.

/// The statements of a text, comments before them included, without those that are empty.
pub(super) fn split(sql: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < sql.len() {
        let end = token(sql, at);
        if &sql[at..end] == ";" {
            all.push(&sql[start..at]);
            start = end;
        }
        at = end;
    }
    all.push(&sql[start..]);
    all.retain(|statement| first_word(statement).is_some());
    all
}

/// The first word of a statement, in lower case; `None` for comments alone.
pub(super) fn first_word(statement: &str) -> Option<String> {
    let mut at = 0;
    while at < statement.len() {
        let end = token(statement, at);
        let found = &statement[at..end];
        if !found.starts_with("--") && !found.starts_with("/*") && !found.trim().is_empty() {
            let word = statement[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
            return word.map(str::to_ascii_lowercase);
        }
        at = end;
    }
    None
}

/// The end of what begins at `at`: a comment, a quoted text or name, or a single character.
fn token(sql: &str, at: usize) -> usize {
    let rest = &sql[at..];
    let until =
        |closing: &str, from: usize| rest[from..].find(closing).map_or(sql.len(), |i| at + from + i + closing.len());
    let bytes = sql.as_bytes();
    let before = at.checked_sub(1).map(|i| bytes[i]);
    match bytes[at] {
        b'-' if rest.starts_with("--") => until("\n", 2),
        b'/' if rest.starts_with("/*") => at + comment(rest),
        b'\'' if matches!(before, Some(b'e' | b'E')) => at + escaped(rest),
        b'\'' => until("'", 1),
        b'"' => until("\"", 1),
        b'$' if before.is_none_or(|b| !is_word(b)) => match tag(rest) {
            Some(tag) => until(tag, tag.len()),
            None => at + 1,
        },
        _ => at + rest.chars().next().map_or(1, char::len_utf8),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// `$$` or `$name$` at the beginning of a text.
fn tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 2;
    let name = &rest[1..end - 1];
    let named = name.bytes().all(|b| is_word(b) && b != b'$') && !name.starts_with(|c: char| c.is_ascii_digit());
    named.then(|| &rest[..end])
}

/// The length of a comment, in which others may be.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a text with backslashes in it.
fn escaped(rest: &str) -> usize {
    let mut bytes = rest.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'\'' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::{first_word, split};

    #[test]
    fn a_statement_ends_only_at_a_semicolon_of_its_own() {
        for one in [
            "select ';'",
            "select 'it''s; so'",
            "select e'\\';'",
            "select \";\"",
            "do $$ begin; end; $$",
            "do $tag$ $$; $tag$",
            "select 1 -- ; not here\n",
            "select /* ; /* ; */ ; */ 1",
            "select a$b$c, 'ü;'",
        ] {
            assert_eq!(split(one), [one], "{one}");
            assert_eq!(split(&format!("{one};\n{one};")).len(), 2, "{one}");
        }
        assert_eq!(split("select a$1; select b$1"), ["select a$1", " select b$1"]);
        assert!(split(" ;; -- nothing\n; /* nothing */ ").is_empty());
    }

    #[test]
    fn a_statement_is_known_by_its_first_word() {
        assert_eq!(first_word("-- why\n/* so */ COMMIT").as_deref(), Some("commit"));
        assert_eq!(first_word("-- nothing"), None);
    }
}
