//! Along the chains, row by row in order: each row against itself, against the one before it, and against known heads.
//!
//! Holds one end a chain and a bounded number of findings, however long the log is.

use std::collections::{BTreeMap, HashMap, HashSet};

use strowger::control::chains::{Head, PLATFORM, Row};

use super::hash;

/// More findings than these are counted and not named.
const NAMED: usize = 100;

/// How far from its place a moved row is still known as moved, and not as changed.
const REACH: i64 = 100;

/// Something in the log that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// A tenant's id, or 0 for the platform.
    pub chain: i32,
    /// The row.
    pub seq: i64,
    /// What was done, in a word.
    pub finding: What,
    /// For the operator.
    pub explanation: String,
}

/// What was done to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A column is not what was hashed.
    Changed,
    /// Rows are gone from between others, or from the beginning.
    Removed,
    /// A row stands where another one was written.
    Reordered,
    /// A row that the chain has no place for.
    Inserted,
    /// A row is right by itself and does not follow the row before it.
    Unlinked,
    /// Rows are gone from the end.
    CutOff,
    /// A head, signed or Postgres's own, has another hash for this row.
    Rewritten,
}

/// What has been seen of one chain.
struct End {
    first: i64,
    seq: i64,
    hash: Vec<u8>,
}

/// A look along all chains.
#[derive(Default)]
pub(super) struct Walk {
    /// Whether every chain is seen from its first row on.
    from_beginning: bool,
    ends: BTreeMap<i32, End>,
    /// Hashes that were signed earlier, until their row comes by.
    known: HashMap<(i32, i64), Vec<u8>>,
    signed_heads: usize,
    rows: u64,
    findings: Vec<Finding>,
    more: u64,
    /// Rows whose hash does not fit: changed, or moved.
    suspects: Vec<Row>,
}

impl Walk {
    /// Before the first row. `signed`: heads that somebody kept.
    pub(super) fn new(from_beginning: bool, signed: &[Head]) -> Self {
        let known = signed.iter().map(|head| ((head.chain, head.seq), head.hash.clone())).collect();
        Self { from_beginning, known, signed_heads: signed.len(), ..Self::default() }
    }

    /// The next row, by chain and place.
    pub(super) fn row(&mut self, row: Row) {
        self.rows += 1;
        let end = self.ends.get(&row.chain);
        let expected = match end {
            Some(end) => end.seq.saturating_add(1),
            None if self.from_beginning => 1,
            None => row.seq,
        };
        let fits = hash::of(&row) == row.hash;
        if row.seq < expected {
            let why = if fits { "is there twice" } else { "is there twice, and one of them was never hashed" };
            return self.found(row.chain, row.seq, What::Inserted, format!("row {} {why}: a row was added", row.seq));
        }
        let before = if row.seq == 1 { Some(hash::BEGINNING.as_slice()) } else { end.map(|end| end.hash.as_slice()) };
        let first = end.map_or(row.seq, |end| end.first);
        let follows = row.seq > expected || before.is_none_or(|before| before == row.previous);
        if row.seq > expected {
            let gone = gone(expected, row.seq - 1);
            self.found(row.chain, expected, What::Removed, format!("{gone}: removed before row {}", row.seq));
        } else if fits && !follows {
            let why = format!(
                "row {} does not follow the row before it: that one was rewritten, added or put there",
                row.seq
            );
            self.found(row.chain, row.seq, What::Unlinked, why);
        }
        if let Some(known) = self.known.remove(&(row.chain, row.seq))
            && known != row.hash
        {
            let why = format!("row {} has not the hash that was signed: the chain was rewritten", row.seq);
            self.found(row.chain, row.seq, What::Rewritten, why);
        }
        self.ends.insert(row.chain, End { first, seq: row.seq, hash: row.hash.clone() });
        if !fits && self.suspects.len() < NAMED {
            self.suspects.push(row);
        } else if !fits {
            self.more += 1;
        }
    }

    /// Holds the ends against heads that were signed earlier: chains may have grown since.
    pub(super) fn reach(&mut self, signed: &[Head]) {
        for head in signed {
            let seq = self.ends.get(&head.chain).map_or(0, |end| end.seq);
            if seq < head.seq {
                let why = format!(
                    "{}: the signed head says that the chain reached row {}",
                    gone(seq + 1, head.seq),
                    head.seq
                );
                self.found(head.chain, seq + 1, What::CutOff, why);
            }
        }
    }

    /// Holds the ends against the heads of the same moment.
    pub(super) fn end_at(&mut self, heads: &[Head]) {
        for head in heads {
            let (first, seq, same) = match self.ends.get(&head.chain) {
                Some(end) => (end.first, end.seq, end.hash == head.hash),
                None => (head.seq.saturating_add(1), head.first.map_or(0, |first| first - 1), true),
            };
            if let Some(expected) = head.first.filter(|expected| *expected < first && seq >= *expected) {
                let gone = gone(expected, first - 1);
                self.found(head.chain, expected, What::Removed, format!("{gone}: removed from the beginning"));
            }
            if seq < head.seq {
                let why = format!("{}: the head says that the chain ends at row {}", gone(seq + 1, head.seq), head.seq);
                self.found(head.chain, seq + 1, What::CutOff, why);
            } else if seq > head.seq {
                let why = format!("the head says that the chain ends at row {}: a row was added", head.seq);
                self.found(head.chain, head.seq + 1, What::Inserted, why);
            } else if !same {
                let why = format!("row {seq} has not the hash that the head says: the end of the chain was rewritten");
                self.found(head.chain, seq, What::Rewritten, why);
            }
        }
        let known: HashSet<i32> = heads.iter().map(|head| head.chain).collect();
        for chain in self.ends.keys().filter(|chain| !known.contains(chain)).copied().collect::<Vec<_>>() {
            self.found(
                chain,
                1,
                What::Inserted,
                "this chain has no head: its rows were added, or its head removed".into(),
            );
        }
    }

    /// Everything that was found, by chain and row; and how many chains and rows were seen.
    pub(super) fn end(mut self) -> Report {
        for row in std::mem::take(&mut self.suspects) {
            let (what, why) = match written_as(&row) {
                Some(seq) => (
                    What::Reordered,
                    format!("row {} was written as row {seq}: rows were put in another order", row.seq),
                ),
                None => (What::Changed, format!("row {} does not fit its hash: a column of it was changed", row.seq)),
            };
            self.found(row.chain, row.seq, what, why);
        }
        self.findings.sort_by_key(|finding| (finding.chain, finding.seq, finding.finding));
        let Self { ends, signed_heads, rows, findings, more, .. } = self;
        Report { chains: ends.len(), rows, signed_heads, findings, more }
    }

    fn found(&mut self, chain: i32, seq: i64, finding: What, explanation: String) {
        if self.findings.len() < NAMED {
            self.findings.push(Finding { chain, seq, finding, explanation });
        } else {
            self.more += 1;
        }
    }
}

/// The place that a row with a wrong hash was written for, when it is not far away.
fn written_as(row: &Row) -> Option<i64> {
    let near = row.seq.saturating_sub(REACH).max(1)..=row.seq.saturating_add(REACH);
    near.into_iter().find(|seq| hash::of(&Row { seq: *seq, ..row.clone() }) == row.hash)
}

fn gone(from: i64, to: i64) -> String {
    if from == to { format!("row {from} is missing") } else { format!("rows {from} to {to} are missing") }
}

/// What came of a look along the chains.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    /// How many chains there are.
    pub chains: usize,
    /// How many rows were looked at.
    pub rows: u64,
    /// How many heads that were signed earlier it was held against.
    pub signed_heads: usize,
    /// What is wrong, by chain and row.
    pub findings: Vec<Finding>,
    /// How much more is wrong than is named.
    pub more: u64,
}

impl Report {
    /// One sentence about what is wrong; `None` when nothing is.
    pub fn complaint(&self) -> Option<String> {
        let first = self.findings.first()?;
        let whose = if first.chain == PLATFORM { "the platform".to_owned() } else { format!("tenant {}", first.chain) };
        let others = match self.findings.len() as u64 + self.more {
            1 => String::new(),
            all => format!(" ({all} findings in all)"),
        };
        Some(format!("in the chain of {whose}, {}{others}", first.explanation))
    }
}
