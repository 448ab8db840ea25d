//! What the clusters of a world hold, and what the control database says that they should.

use std::collections::BTreeSet;

use strowger::control::clusters::Isolation;
use strowger::control::tenants::{self, State, Tenant};

use crate::support::World;

/// Every tenant was erased: control has the receipts, and nothing else of theirs.
pub(crate) async fn only_receipts_are_left(w: &World, when: &str) {
    let left = "select (select count(*) from placements) + (select count(*) from data_keys where tenant_id is not null)
                       + (select count(*) from jobs where state in ('waiting', 'queued', 'running', 'failed'))
                       + (select count(*) from numbers where state <> 'released')
                       + (select count(*) from tenants t where not exists (select from erasures e where e.tenant_id = t.id))";
    let left = crate::jobs::control(w).await.query_one(left, &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0, "{when}");
}

/// Roles, databases and schemas, as `cluster kind name`.
pub(crate) struct Catalog(BTreeSet<String>);

const CLUSTERS: [&str; 2] = ["shared", "dedicated"];

impl Catalog {
    pub(crate) async fn read(w: &World) -> Self {
        let mut all = BTreeSet::new();
        for cluster in CLUSTERS {
            let db = w.superuser(cluster, "postgres").await;
            let ours = format!("{}\\_%", w.prefix);
            for (what, sql) in [
                ("role", "select rolname::text from pg_roles where rolname like $1"),
                ("database", "select datname::text from pg_database where datname like $1"),
            ] {
                let rows = db.query(sql, &[&ours]).await.unwrap();
                all.extend(rows.iter().map(|row| format!("{cluster} {what} {}", row.get::<_, &str>(0))));
            }
            let open = "select datname::text from pg_database where datname like $1 and datallowconn";
            for row in db.query(open, &[&ours]).await.unwrap() {
                let database: String = row.get(0);
                let sql = "select nspname::text from pg_namespace where nspname like 'tenant%'";
                let rows = w.superuser(cluster, &database).await.query(sql, &[]).await.unwrap();
                all.extend(rows.iter().map(|row| format!("{cluster} schema {database}.{}", row.get::<_, &str>(0))));
            }
        }
        Self(all)
    }

    /// There is what there was, and nothing else.
    pub(crate) async fn still_holds(self, w: &World) {
        assert_eq!(Self::read(w).await.0, self.0);
        occupancy_is_counted(w).await;
        is_sound(w);
    }

    /// There is what there was, and these tenants, whole; and nothing else. No job but theirs was ever begun.
    pub(crate) async fn holds_exactly(self, w: &World, names: &[String]) {
        self.also_holds(w, names).await;
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let sql =
            "select (select count(*) from placements), (select count(*) from data_keys where tenant_id is not null),
                          (select count(*) from jobs where state = 'done'), (select count(*) from jobs)";
        let row = control.query_one(sql, &[]).await.unwrap();
        let count = i64::try_from(names.len()).unwrap();
        assert_eq!([0, 1, 2, 3].map(|i| row.get::<_, i64>(i)), [count; 4], "one of each, and no open job");
    }

    /// There is what there was, and these tenants, whole; and nothing else on the clusters.
    pub(crate) async fn also_holds(mut self, w: &World, names: &[String]) {
        let tenants = tenants::list(w.with.control()).await.unwrap();
        let found: BTreeSet<&str> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        assert_eq!(found, names.iter().map(String::as_str).collect(), "one tenant for each name");
        for tenant in &tenants {
            assert_eq!(tenant.state, State::Active, "{}", tenant.name);
            self.0.extend(belongings(w, tenant));
            history_is_complete(w, tenant).await;
        }
        assert_eq!(Self::read(w).await.0, self.0, "no orphans on the clusters");
        for cluster in CLUSTERS {
            let sql = "select r.rolname::text from pg_auth_members m join pg_roles r on r.oid = m.roleid
                       join pg_roles a on a.oid = m.member where a.rolname = $1 and r.rolname like '%owner'";
            let db = w.superuser(cluster, "postgres").await;
            let owned = db.query(sql, &[&w.prefix.name("admin")]).await.unwrap();
            assert!(owned.is_empty(), "the admin is still a member of an owner role");
        }
        occupancy_is_counted(w).await;
        is_sound(w);
    }
}

/// The audit chains are whole, and the doctor finds nothing on either side: no orphan, nobody half made, no job that was given up.
pub(crate) fn is_sound(w: &World) {
    w.ctl(&["audit", "verify"]).json();
    let doctor = w.ctl(&["doctor"]);
    assert_eq!(doctor.code, Some(0), "{} {}", doctor.stdout, doctor.stderr);
}

/// What triggers count as tenants come and go is what a count finds.
async fn occupancy_is_counted(w: &World) {
    let control = w.superuser("control", &w.prefix.name("control")).await;
    let sql = "select o.cluster_id from occupancy o
               where (o.kept, o.deleted) <> (select count(*), count(*) filter (where t.state = 'deleted')
                                             from placements p join tenants t on t.id = p.tenant_id
                                             where p.cluster_id = o.cluster_id)";
    assert!(control.query(sql, &[]).await.unwrap().is_empty(), "a cluster's occupancy is miscounted");
}

fn belongings(w: &World, tenant: &Tenant) -> Vec<String> {
    let cluster = &tenant.cluster;
    let mut all: Vec<String> =
        ["owner", "rw", "a", "b"].map(|role| format!("{cluster} role {}", w.prefix.tenant(tenant.id, role))).into();
    if tenant.isolation == Isolation::Database {
        all.push(format!("{cluster} database {}", tenant.database));
    }
    all.push(format!("{cluster} schema {}.{}", tenant.database, tenant.schema));
    all
}

async fn history_is_complete(w: &World, tenant: &Tenant) {
    let db = w.superuser(&tenant.cluster, &tenant.database).await;
    let sql = format!("select count(*) from {}.{}", tenant.schema, strowger::schema::HISTORY_TABLE);
    let applied: i64 = db.query_one(&sql, &[]).await.unwrap().get(0);
    let all = strowger::schema::migrations().get_migrations().len();
    assert_eq!(applied, i64::try_from(all).unwrap(), "migrations of {}", tenant.name);
}
