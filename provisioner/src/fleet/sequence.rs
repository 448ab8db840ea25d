//! The migrations that a run goes by: those of this build, or a folder with the whole sequence for a rehearsal.

use std::path::Path;

use refinery::Migration;
use strowger::schema;

use super::statements;
use crate::error::{Error, Result};

/// What ends or begins a transaction: the runner does that.
const TRANSACTIONS: [&str; 7] = ["begin", "start", "commit", "end", "rollback", "abort", "prepare"];

/// All migrations from the first to the target.
pub(super) struct Sequence {
    all: Vec<Migration>,
}

/// A row of a tenant's own history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) version: i32,
    pub(super) name: String,
    pub(super) checksum: String,
}

/// What a tenant needs next.
pub(super) enum Next<'s> {
    /// Nothing.
    Nothing,
    /// These, in one transaction with their history rows.
    Together(&'s [Migration]),
    /// This one, statement by statement.
    Alone(&'s Migration),
}

impl Sequence {
    /// Those of this build, or of `folder`, which must begin with those of this build.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self> {
        let ours = Self::checked(schema::migrations().get_migrations().clone())?;
        let Some(folder) = folder else { return Ok(ours) };
        let found = refinery::load_sql_migrations(folder)
            .map_err(|error| Error::Conflict(format!("read the migrations in {}: {error}", folder.display())))?;
        let found = Self::checked(found)?;
        for known in &ours.all {
            if !found.all.contains(known) {
                return Err(Error::Conflict(format!(
                    "{} must hold {known}.sql just as this build has it: released migrations never change",
                    folder.display()
                )));
            }
        }
        Ok(found)
    }

    fn checked(mut all: Vec<Migration>) -> Result<Self> {
        all.sort();
        for (migration, number) in all.iter().zip(1..) {
            if migration.version() != number || !migration.to_string().starts_with('V') {
                return Err(Error::Conflict(format!("{migration}: migrations are numbered from V1 without a gap")));
            }
            let words = statements::split(text(migration)).into_iter().filter_map(statements::first_word);
            if let Some(word) = words.into_iter().find(|word| TRANSACTIONS.contains(&word.as_str())) {
                return Err(Error::Conflict(format!(
                    "{migration}: the runner begins and ends transactions, so `{word}` must go"
                )));
            }
        }
        Ok(Self { all })
    }

    /// The newest version.
    pub(super) fn target(&self) -> i32 {
        self.all.last().map_or(0, Migration::version)
    }

    /// The names of those after a version.
    pub(super) fn names_after(&self, version: i32) -> Vec<String> {
        self.all.iter().filter(|m| m.version() > version).map(ToString::to_string).collect()
    }

    /// What comes after a tenant's history. An error says why that is not one that this sequence could have made.
    pub(super) fn after(&self, history: &[Applied]) -> std::result::Result<Next<'_>, String> {
        if let Some(wrong) = self.divergence(history) {
            return Err(wrong);
        }
        let reached = version_of(history);
        let pending = &self.all[self.all.iter().take_while(|m| m.version() <= reached).count()..];
        let together = pending.iter().take_while(|m| !schema::is_without_transaction(m)).count();
        Ok(match pending {
            [] => Next::Nothing,
            [first, ..] if together == 0 => Next::Alone(first),
            _ => Next::Together(&pending[..together]),
        })
    }

    /// What is wrong with a history: a gap, another checksum. Versions after the target are a newer build's.
    pub(super) fn divergence(&self, history: &[Applied]) -> Option<String> {
        let reached = version_of(history);
        for known in self.all.iter().filter(|m| m.version() <= reached) {
            match history.iter().find(|row| row.version == known.version()) {
                None => return Some(format!("its history goes to version {reached} and lacks {known}")),
                Some(row) if row.name != known.name() || row.checksum != known.checksum().to_string() => {
                    return Some(format!("its history has another V{}__{} than {known}", row.version, row.name));
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// The version that a history stands at.
pub(super) fn version_of(history: &[Applied]) -> i32 {
    history.iter().map(|row| row.version).max().unwrap_or(0)
}

/// The SQL of a migration.
pub(super) fn text(migration: &Migration) -> &str {
    migration.sql().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(files: &[(&str, &str)]) -> Result<Sequence> {
        Sequence::checked(files.iter().map(|(name, sql)| Migration::unapplied(name, sql).unwrap()).collect())
    }

    fn history(of: &Sequence, versions: &[i32]) -> Vec<Applied> {
        let row = |m: &Migration| Applied {
            version: m.version(),
            name: m.name().to_owned(),
            checksum: m.checksum().to_string(),
        };
        of.all.iter().filter(|m| versions.contains(&m.version())).map(row).collect()
    }

    #[test]
    fn what_needs_no_transaction_comes_alone() {
        let alone = "-- strowger: no transaction\nselect 2";
        let all =
            sequence(&[("V1__a", "select 1"), ("V2__b", "select 1"), ("V3__c", alone), ("V4__d", "select 1")]).unwrap();
        assert!(matches!(all.after(&[]), Ok(Next::Together(first)) if first.len() == 2));
        assert!(matches!(all.after(&history(&all, &[1, 2])), Ok(Next::Alone(third)) if third.version() == 3));
        assert!(matches!(all.after(&history(&all, &[1, 2, 3])), Ok(Next::Together(last)) if last.len() == 1));
        assert!(matches!(all.after(&history(&all, &[1, 2, 3, 4])), Ok(Next::Nothing)));
    }

    #[test]
    fn a_history_that_is_not_ours_is_named() {
        let all = sequence(&[("V1__a", "select 1"), ("V2__b", "select 1")]).unwrap();
        assert_eq!(all.divergence(&history(&all, &[2])).unwrap(), "its history goes to version 2 and lacks V1__a");
        let mut changed = history(&all, &[1, 2]);
        changed[1].checksum = "0".to_owned();
        assert_eq!(all.divergence(&changed).unwrap(), "its history has another V2__b than V2__b");
        let mut newer = history(&all, &[1, 2]);
        newer.push(Applied { version: 3, name: "c".to_owned(), checksum: "0".to_owned() });
        assert_eq!(all.divergence(&newer), None);
    }

    #[test]
    fn a_file_that_ends_its_own_transaction_is_refused() {
        assert!(sequence(&[("V1__a", "create table a (); -- so\n COMMIT; create table b ()")]).is_err());
        assert!(sequence(&[("V1__a", "select 1"), ("V3__b", "select 1")]).is_err());
        assert!(sequence(&[("V1__a", "do $$ begin null; end $$")]).is_ok());
    }
}
