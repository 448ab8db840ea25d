//! A login's way in: its own database, and no other on any cluster.

use std::sync::Arc;

use strowger::control::clusters::Isolation::{Database, Schema};
use strowger::control::tenants::Tenant;

use crate::support::{World, connect, world};

/// The SQLSTATE of logging in with a tenant's credential to a database, on a tenant's cluster.
async fn knock(w: &World, who: &Tenant, at: &Tenant, database: &str) -> Option<String> {
    let url = |of: String| of.split('?').next().unwrap().to_owned();
    let own = url(provisioner::tenants::connection(&w.with, who.id).await.unwrap());
    let there = url(provisioner::tenants::connection(&w.with, at.id).await.unwrap());
    let (credential, _) = own.rsplit_once('@').unwrap();
    let (_, server) = there.rsplit_once('@').unwrap();
    let (server, _) = server.split_once('/').unwrap();
    let failed = connect(&format!("{credential}@{server}/{database}")).await.err()?;
    Some(failed.code().map_or_else(|| failed.to_string(), |code| code.code().to_owned()))
}

async fn tenants(w: &Arc<World>) -> [Tenant; 3] {
    [w.tenant("A", Schema).await, w.tenant("C", Database).await, w.tenant("D", Database).await]
}

/// Turned red by `grant all on database {} to public` for the revoke in `clone_template`, or by leaving "postgres"
/// out of `shut_out_public` (42501), and by leaving the last statement out of `make_template` (55000). No line of ours stands
/// behind 28P01: the other cluster has no such role.
#[test]
fn a_login_enters_its_own_database_and_no_other() {
    world(async |w| {
        let [a, c, d] = tenants(&w).await;
        let template = w.prefix.name("template");
        let refused = "42501";
        for (who, at, database, expected) in [
            (&a, &a, "postgres", refused),
            (&a, &a, "template1", refused),
            (&a, &a, "template0", "55000"),
            (&a, &a, &template, "55000"),
            (&c, &c, &d.database, refused),
            (&d, &d, &c.database, refused),
            (&c, &c, "postgres", refused),
            (&c, &c, "template1", refused),
            (&c, &c, &template, "55000"),
            // The other tenant's cluster does not know the login.
            (&a, &c, &c.database, "28P01"),
            (&c, &a, &a.database, "28P01"),
        ] {
            assert_eq!(
                knock(&w, who, at, database).await.as_deref(),
                Some(expected),
                "{} at {database}",
                who.login_role
            );
            assert_eq!(knock(&w, who, who, &who.database).await, None, "{} enters its own", who.login_role);
        }
        let control = w.urls.server.split('?').next().unwrap().rsplit_once('@').unwrap().1;
        let own = provisioner::tenants::connection(&w.with, a.id).await.unwrap();
        let error = connect(&format!("{}@{control}", own.rsplit_once('@').unwrap().0)).await.err().unwrap();
        assert_eq!(error.code().unwrap().code(), "28P01", "control has a cluster of its own");
    });
}

/// Turned red by leaving out one of the `revoke all on database … from public`, in bootstrap/cluster.rs.
#[test]
fn a_new_role_with_nothing_but_login_enters_no_database() {
    world(async |w| {
        let [.., d] = tenants(&w).await;
        let role = w.prefix.name("stranger");
        for cluster in ["control", "shared", "dedicated"] {
            let db = w.superuser(cluster, "postgres").await;
            db.batch_execute(&format!("create role {role} login password 'x'")).await.unwrap();
            let port: String = db.query_one("select current_setting('port')", &[]).await.unwrap().get(0);
            let ours = format!("{}\\_%", w.prefix);
            let sql =
                "select datname::text from pg_database where datname like $1 or datname in ('postgres', 'template1')";
            let databases = db.query(sql, &[&ours]).await.unwrap();
            assert!(databases.len() >= 3, "{cluster}");
            for row in databases {
                let name: String = row.get(0);
                let error = connect(&format!("postgres://{role}:x@127.0.0.1:{port}/{name}")).await.err().unwrap();
                let expected = if name == w.prefix.name("template") { "55000" } else { "42501" };
                assert_eq!(error.code().unwrap().code(), expected, "{name} on {cluster}");
            }
        }
        assert_eq!(knock(&w, &d, &d, &d.database).await, None);
    });
}
