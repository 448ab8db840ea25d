//! A fleet, and a folder of migrations that goes one or more further than this build.

use std::path::PathBuf;

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use strowger::schema::{self, HISTORY_TABLE};

use crate::crash::tapped::Tapped;
use crate::support::{Ran, World};

/// The first version that this build does not have.
pub(super) const NEXT: i32 = schema::MAX + 1;

/// One column more.
pub(super) const COLUMN: &str = "alter table memories add column mood text;";

/// A folder with this build's migrations and these after them.
pub(super) fn folder(w: &World, further: &[&str]) -> PathBuf {
    let folder = w.dir.join(format!("migrations-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/tenant-migrations");
    for file in std::fs::read_dir(ours).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    for (sql, version) in further.iter().zip(NEXT..) {
        std::fs::write(folder.join(format!("V{version}__further.sql")), sql).unwrap();
    }
    folder
}

/// `strowgerctl migrate …` with a folder.
pub(super) fn migrate(w: &World, what: &str, folder: &std::path::Path, more: &[&str]) -> Ran {
    let mut all = vec!["migrate", what, "--migrations", folder.to_str().unwrap()];
    all.extend(more);
    w.ctl(&all)
}

/// What a run printed, whether everybody was migrated or not.
pub(super) fn printed(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{:?}: {}", ran.code, ran.stderr))
}

/// So many tenants, one of them in a database of its own.
pub(super) async fn fleet(w: &World, many: usize) -> Vec<Tenant> {
    let mut all = vec![w.tenant("In a database", Isolation::Database).await];
    for n in 1..many {
        all.push(w.tenant(&format!("Tenant {n}"), Isolation::Schema).await);
    }
    all
}

/// The versions in a tenant's own history, as psql sees them.
pub(super) async fn history(w: &World, tenant: &Tenant) -> Vec<i32> {
    let sql = format!("select version from {}.{HISTORY_TABLE} order by version", tenant.schema);
    let rows = w.superuser(&tenant.cluster, &tenant.database).await.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The version that control has.
pub(super) async fn in_control(w: &World, tenant: &Tenant) -> i32 {
    provisioner::tenants::get(&w.with, tenant.id).await.unwrap().schema_version
}

/// A tenant's own history and control say the same, it has the column if it is at a version that brought it, and nobody
/// is still a member of its owner role.
pub(super) async fn is_whole(w: &World, tenant: &Tenant, version: i32) {
    let expected: Vec<i32> = (1..=version).collect();
    assert_eq!(history(w, tenant).await, expected, "{}", tenant.name);
    assert_eq!(in_control(w, tenant).await, version, "{}", tenant.name);
    let db = w.superuser(&tenant.cluster, &tenant.database).await;
    let sql = "select count(*) from pg_auth_members m join pg_roles r on r.oid = m.roleid where r.rolname = $1";
    let owner = w.prefix.tenant(tenant.id, "owner");
    assert_eq!(db.query_one(sql, &[&owner]).await.unwrap().get::<_, i64>(0), 0, "{}", tenant.name);
}

pub(super) async fn has_column(w: &World, tenant: &Tenant) -> bool {
    let db = w.superuser(&tenant.cluster, &tenant.database).await;
    let sql = "select 1 from information_schema.columns where table_schema = $1 and column_name = 'mood'";
    !db.query(sql, &[&tenant.schema]).await.unwrap().is_empty()
}

/// Everybody is at a version, with what it brought and what it did not.
pub(super) async fn all_at(w: &World, tenants: &[Tenant], version: i32) {
    for tenant in tenants {
        is_whole(w, tenant, version).await;
        assert_eq!(has_column(w, tenant).await, version >= NEXT, "{}", tenant.name);
    }
}

/// A statement in a tenant's schema, by a superuser.
pub(super) async fn psql(w: &World, tenant: &Tenant, sql: &str) {
    let db = w.superuser(&tenant.cluster, &tenant.database).await;
    db.batch_execute(&format!("set search_path = {}; {sql}", tenant.schema)).await.unwrap();
}

/// Takes tenants back to this build's version, as if nothing had been.
pub(super) async fn take_back(w: &World, tenants: &[Tenant], sql: &str) {
    for tenant in tenants {
        psql(w, tenant, &format!("{sql}; delete from refinery_schema_history where version > {}", schema::MAX)).await;
        let owner = w.prefix.tenant(tenant.id, "owner");
        psql(w, tenant, &format!("revoke {owner} from {}", w.prefix.name("admin"))).await;
    }
    let control = w.superuser("control", &w.prefix.name("control")).await;
    control.execute("update placements set schema_version = $1", &[&schema::MAX]).await.unwrap();
}

/// Goes on as `migrate status` says: with `resume`, or with `run` if the run was not yet written down.
pub(super) async fn go_on(w: &World, tapped: &Tapped, run: &[&str], runs_before: i64) {
    let control = w.superuser("control", &w.prefix.name("control")).await;
    let runs: i64 = control.query_one("select count(*) from migration_runs", &[]).await.unwrap().get(0);
    let is_open = runs > runs_before && w.ctl(&["migrate", "status"]).json()["state"] != "done";
    let again: &[&str] = if is_open { &["migrate", "resume"] } else { run };
    let (status, _) = tapped.run(again).await;
    assert!(status["state"] == "done" || status["run"] == json!(null), "{status}");
}
