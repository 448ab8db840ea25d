//! Where the doctor is at the moment: one cluster, and what was found there so far.

use strowger::control::clusters::Cluster;

use super::{Finding, Known, Remedy};
use crate::steps::MAINTENANCE_DATABASE;

/// What is looked at on one cluster, and where findings go.
pub(super) struct Ward<'k> {
    pub(super) known: &'k Known,
    pub(super) cluster: &'k Cluster,
    pub(super) found: Vec<Finding>,
}

impl Ward<'_> {
    pub(super) fn place(&self) -> String {
        format!("cluster {}", self.cluster.name)
    }

    pub(super) fn push(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    pub(super) fn as_admin(&self, sql: String) -> Remedy {
        Remedy::AsAdmin(self.cluster.name.clone(), MAINTENANCE_DATABASE.to_owned(), sql)
    }
}
