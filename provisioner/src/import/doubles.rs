//! The first pass: which rows are doubles of others, before anything is written.
//!
//! It must come first, because which of two rows stays depends on both, and they may stand far apart. It holds a fingerprint of each
//! row of one tenant at a time, never the texts.

use std::collections::{HashMap, HashSet};

use strowger::id::TenantId;

use super::row::{Raw, age, identities};
use super::shape::Shape;

type Age = (String, usize, String, String);

/// Finds the rows that another one stands for.
#[derive(Default)]
pub(super) struct Doubles {
    of: Option<TenantId>,
    newest: HashMap<u128, Age>,
    merged: HashSet<String>,
}

impl Doubles {
    /// Looks at a row that can be imported.
    pub(super) fn see(&mut self, shape: &Shape, tenant: TenantId, raw: &Raw, values: &[Option<String>]) {
        if self.of != Some(tenant) {
            self.newest.clear();
            self.of = Some(tenant);
        }
        let mine = age(shape.target, raw);
        for identity in identities(shape.target, values) {
            match self.newest.get(&identity) {
                Some(other) if *other > mine => {
                    self.merged.insert(raw.place.clone());
                }
                Some(other) => {
                    self.merged.insert(other.3.clone());
                    self.newest.insert(identity, mine.clone());
                }
                None => {
                    self.newest.insert(identity, mine.clone());
                }
            }
        }
    }

    /// The places of rows that are not written.
    pub(super) fn merged(self) -> HashSet<String> {
        self.merged
    }
}
