//! The tables every tenant has: `tenant-migrations/`, embedded, and the versions this build can serve.
//!
//! A leaf: it knows migrations, not tenants or connections.

mod tables;

use std::ops::RangeInclusive;

use crate::id::TenantId;

pub use tables::tables;

mod embedded {
    refinery::embed_migrations!("tenant-migrations");
}

/// The oldest schema version that this build serves.
///
/// A build that needs a table or column raises it, in a release after the one that brought the migration: so old and new
/// processes can serve together while the fleet is on its way.
pub const MIN: i32 = 6;

/// The newest schema version that this build serves: the newest embedded migration, which new tenants get.
pub const MAX: i32 = 7;

/// The name of a tenant's live schema, the same in both isolation kinds, so that a dump needs no renaming.
pub fn name(tenant: TenantId) -> String {
    format!("tenant_{tenant}")
}

/// The tables that a tenant's own logins may read and never write.
pub const READ_ONLY_TABLES: [&str; 2] = ["identity", "numbers"];

/// Where refinery keeps its history, inside the tenant's schema. A tenant's logins cannot see it.
pub const HISTORY_TABLE: &str = "refinery_schema_history";

/// About how many relations one tenant adds to its cluster's catalogs: tables, their indexes and their TOAST.
///
/// Only for weighing clusters against each other; a test says when it is no longer near the truth.
pub const RELATIONS: u64 = 96;

/// All tenant migrations, ready to run on a connection whose `search_path` is the tenant's schema.
pub fn migrations() -> refinery::Runner {
    embedded::migrations::runner()
}

/// The first line of a file whose statements cannot run in a transaction; they may be run again after an interruption.
const NO_TRANSACTION: &str = "-- strowger: no transaction";

/// Whether a migration's statements must be run one by one, outside a transaction.
pub fn is_without_transaction(migration: &refinery::Migration) -> bool {
    migration.sql().and_then(|sql| sql.lines().next()).is_some_and(|line| line.trim_end() == NO_TRANSACTION)
}

/// Nobody uses a schema that is being made, so nothing in it needs to be done concurrently: it all fits into one transaction.
fn for_a_new_schema(migration: &refinery::Migration) -> String {
    let sql = migration.sql().unwrap_or_default();
    if is_without_transaction(migration) { sql.replace(" concurrently", "") } else { sql.to_owned() }
}

/// Every migration and its row in refinery's history, to be run as one batch in the transaction that makes a schema.
///
/// `applied_on` is RFC 3339, as refinery writes it; a later run of [`migrations`] finds nothing to do.
pub fn batch(applied_on: &str) -> String {
    batch_to(MAX, applied_on)
}

/// The same up to an older version, for what was backed up at that one.
pub fn batch_to(version: i32, applied_on: &str) -> String {
    let history = format!(
        "create table {HISTORY_TABLE} (version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255));\n"
    );
    history + &between(1..=version, applied_on)
}

/// Some versions with their rows in the history, for a schema that nobody uses yet and that has those before.
pub fn between(versions: RangeInclusive<i32>, applied_on: &str) -> String {
    let mut sql = String::new();
    let mut all = migrations().get_migrations().clone();
    all.sort_by_key(refinery::Migration::version);
    for migration in all.iter().filter(|migration| versions.contains(&migration.version())) {
        sql.push_str(&for_a_new_schema(migration));
        // Names come from our own file names and checksums are numbers: nothing here needs quoting.
        let (version, name, checksum) = (migration.version(), migration.name(), migration.checksum());
        sql.push_str(&format!(
            "\ninsert into {HISTORY_TABLE} values ({version}, '{name}', '{applied_on}', '{checksum}');\n"
        ));
    }
    sql
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_new_schema_gets_its_indexes_in_the_transaction_that_makes_it() {
        let made = |sql| super::for_a_new_schema(&refinery::Migration::unapplied("V3__x", sql).unwrap());
        let alone = "-- strowger: no transaction\ncreate index concurrently if not exists a on b (c);";
        assert_eq!(made(alone), "-- strowger: no transaction\ncreate index if not exists a on b (c);");
        assert_eq!(made("select ' concurrently'"), "select ' concurrently'");
    }

    #[test]
    fn migrations_are_numbered_without_gaps() {
        let mut versions: Vec<_> =
            super::migrations().get_migrations().iter().map(refinery::Migration::version).collect();
        versions.sort_unstable();
        assert!(versions.iter().zip(1..).all(|(found, expected)| i64::from(*found) == expected), "{versions:?}");
        assert_eq!(versions.last(), Some(&super::MAX));
        const { assert!(super::MIN <= super::MAX) };
    }
}
