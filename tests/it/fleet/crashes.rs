//! `strowgerctl migrate` is killed at every statement it sends, and taken up again.

use strowger::control::clusters::Isolation::{Database, Schema};
use strowger::control::tenants::Tenant;
use strowger::schema;

use super::rehearsal::{COLUMN, NEXT, all_at, fleet, folder, go_on, history, in_control, is_whole, psql, take_back};
use crate::crash::is_sound;
use crate::crash::tapped::{Tapped, deaths, in_more_lanes};
use crate::support::counting_proxy::Moment;
use crate::support::{World, world};

/// A tenant is at one version or the other, whole: it has the column if and only if its history says so.
async fn nobody_is_in_between(w: &World, tenants: &[Tenant], what: &str) {
    for tenant in tenants {
        // Postgres may still be at the last statement of the one that was killed.
        psql(w, tenant, "lock table memories").await;
        let migrated = history(w, tenant).await.last() == Some(&NEXT);
        assert_eq!(super::rehearsal::has_column(w, tenant).await, migrated, "{what}: {}", tenant.name);
        assert!(in_control(w, tenant).await <= if migrated { NEXT } else { schema::MAX }, "{what}: {}", tenant.name);
    }
}

async fn killed_everywhere(w: &World, lane: Moment, tenants: &[Tenant], sql: &str, undo: &str) {
    let tapped = Tapped::new(w).await;
    let folder = folder(w, &[sql]);
    let run = ["migrate", "run", "--parallel", "1", "--migrations", folder.to_str().unwrap()];
    let (_, statements) = tapped.run(&run).await;
    let control = w.superuser("control", &w.prefix.name("control")).await;
    for (at, moment) in deaths(statements, lane) {
        take_back(w, tenants, undo).await;
        let runs: i64 = control.query_one("select count(*) from migration_runs", &[]).await.unwrap().get(0);
        tapped.stop(at, moment, &run).await;
        if sql == COLUMN {
            nobody_is_in_between(w, tenants, &format!("{moment:?} {at}")).await;
        }
        go_on(w, &tapped, &run, runs).await;
        for tenant in tenants {
            is_whole(w, tenant, NEXT).await;
        }
    }
    take_back(w, tenants, undo).await;
    let (_, again) = tapped.run(&run).await;
    println!("migrate run: killed at each of {statements} statements ({lane:?}); an unkilled run sends {again}");
    assert_eq!(again, statements);
    is_sound(w);
}

/// Turns red when a tenant's migration and its history row are two transactions, or when a run that died is not taken up.
#[test]
fn killed_runs_are_made_whole() {
    in_more_lanes(async |w, lane| {
        let tenants = fleet(&w, 2).await;
        killed_everywhere(&w, lane, &tenants, COLUMN, "alter table memories drop column if exists mood").await;
        all_at(&w, &tenants, NEXT).await;
    });
}

/// An index that is made without a transaction, and a statement after it.
const INDEX: &str = "-- strowger: no transaction
-- Why; it is long.
create index concurrently if not exists memories_by_key on memories (key);
create index concurrently if not exists memories_by_type on memories (type);";

async fn indexes_are_valid(w: &World, tenant: &Tenant) {
    let db = w.superuser(&tenant.cluster, &tenant.database).await;
    let sql = "select count(*) filter (where indisvalid), count(*) from pg_index i join pg_class c on c.oid = i.indexrelid
               join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname like 'memories\\_by\\_%'";
    let row = db.query_one(sql, &[&tenant.schema]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2), "{}", tenant.name);
}

/// Turns red when what a killed `create index concurrently` left is taken for the index.
#[test]
fn killed_runs_without_a_transaction_are_made_whole() {
    in_more_lanes(async |w, lane| {
        let tenants = [w.tenant("A schema", Schema).await, w.tenant("A database", Database).await];
        let undo = "drop index if exists memories_by_key, memories_by_type";
        killed_everywhere(&w, lane, &tenants, INDEX, undo).await;
        for tenant in &tenants {
            indexes_are_valid(&w, tenant).await;
        }
    });
}

/// An old transaction keeps `create index concurrently` from ending, which leaves an index that is not valid.
///
/// Turns red without `invalid_indexes`: the second run would find that the index exists.
#[test]
fn an_index_that_is_not_valid_is_made_again() {
    world(async |w| {
        let tenant = w.tenant("One", Schema).await;
        let old = w.superuser("shared", &tenant.database).await;
        old.batch_execute(&format!(
            "begin; insert into {}.memories (user_id, content) values ('x', 'y')",
            tenant.schema
        ))
        .await
        .unwrap();
        let folder = folder(&w, &[INDEX]);
        let run =
            ["migrate", "run", "--attempts", "1", "--lock-timeout", "100", "--migrations", folder.to_str().unwrap()];
        let ran = w.ctl(&run);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        is_whole(&w, &tenant, schema::MAX).await;
        let db = w.superuser("shared", &tenant.database).await;
        let invalid = "select count(*) from pg_index where not indisvalid";
        assert_eq!(db.query_one(invalid, &[]).await.unwrap().get::<_, i64>(0), 1, "the control");
        old.batch_execute("rollback").await.unwrap();
        assert_eq!(w.ctl(&["migrate", "resume"]).json()["state"], "done");
        is_whole(&w, &tenant, NEXT).await;
        indexes_are_valid(&w, &tenant).await;
    });
}

/// Turns red when up-to-date tenants are asked one by one.
#[test]
fn nothing_to_do_costs_one_query_whatever_the_size_of_the_fleet() {
    world(async |w| {
        let tapped = Tapped::new(&w).await;
        let none = tapped.run(&["migrate", "run"]).await;
        fleet(&w, 6).await;
        let some = tapped.run(&["migrate", "run"]).await;
        assert_eq!(some, none);
        // What every command sends before it begins: its settings, and the ping of a pooled session.
        let (_, least) = tapped.run(&["cluster", "list"]).await;
        assert_eq!(some.1, least, "one query, like a list of three rows");
    });
}
