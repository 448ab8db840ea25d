//! What a table's text comes to: rows, bytes, and a checksum that does not depend on the order of the rows.

use aws_lc_rs::digest::{Context, SHA256};

use super::format::Table;
use crate::error::{Error, Result};

/// Counts COPY text as it passes, in pieces of any size.
///
/// The checksum is the sum, modulo 2^128, of the first sixteen bytes of each line's SHA-256: Postgres promises no order of rows, and
/// reads restored ones back in another.
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    sum: u128,
    line: Context,
}

impl Default for Tally {
    fn default() -> Self {
        Self { rows: 0, bytes: 0, sum: 0, line: Context::new(&SHA256) }
    }
}

impl Tally {
    /// A line's end is a byte that COPY text has nowhere else.
    pub(crate) fn feed(&mut self, text: &[u8]) {
        self.bytes += u64::try_from(text.len()).unwrap_or_default();
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            self.line.update(piece);
            if piece.ends_with(b"\n") {
                let digest = std::mem::replace(&mut self.line, Context::new(&SHA256)).finish();
                let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
                self.sum = self.sum.wrapping_add(u128::from_be_bytes(first));
                self.rows += 1;
            }
        }
    }

    /// In hexadecimal.
    pub(crate) fn checksum(&self) -> String {
        format!("{:032x}", self.sum)
    }

    /// What was counted must be what a table is said to have. `what` and `which` say of what it was counted, and where.
    pub(super) fn expect(&self, what: &str, table: &Table, which: &str) -> Result<()> {
        if (self.rows, self.bytes, self.checksum()) == (table.rows, table.bytes, table.checksum.clone()) {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "{what}: {} {which} has {} rows and {} bytes and should have {} and {}, or the same with other content: nothing was changed",
            table.name, self.rows, self.bytes, table.rows, table.bytes
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn neither_the_order_of_rows_nor_the_pieces_matter(rows in prop::collection::vec("[^\n]{0,20}", 0..20), cut in 0usize..400) {
            let text = |rows: &[String]| rows.iter().flat_map(|row| [row.as_str(), "\n"]).collect::<String>();
            let (mut one, mut two) = (Tally::default(), Tally::default());
            one.feed(text(&rows).as_bytes());
            let backwards: Vec<String> = rows.iter().rev().cloned().collect();
            let whole = text(&backwards);
            let (first, second) = whole.as_bytes().split_at(cut.min(whole.len()));
            two.feed(first);
            two.feed(second);
            prop_assert_eq!((one.rows, one.bytes, one.checksum()), (two.rows, two.bytes, two.checksum()));
            prop_assert_eq!(one.rows, u64::try_from(rows.len()).unwrap());
        }
    }

    #[test]
    fn a_row_twice_is_not_a_row_once_or_another_row() {
        let sum = |text: &str| {
            let mut tally = Tally::default();
            tally.feed(text.as_bytes());
            tally.checksum()
        };
        assert_ne!(sum("a\n"), sum("a\na\n"));
        assert_ne!(sum("a\n"), sum("b\n"));
        assert_ne!(sum("a\nb\n"), sum("ab\n\n"));
    }
}
