//! Tenant A, whose login is in the wrong hands, and tenant B, whom it reaches for.

use std::sync::Arc;
use std::time::Duration;

use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use tokio_postgres::Client;

use crate::support::World;

/// How near B is to A. As a number it indexes the SQLSTATEs of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    SameDatabase,
    SameCluster,
    Elsewhere,
}

/// Both tenants with a memory each, connections as their own logins, and in B's schema one thing of every kind.
pub(super) struct Pair {
    pub(super) world: Arc<World>,
    pub(super) a: Tenant,
    pub(super) b: Tenant,
    /// As A's login.
    pub(super) db: Client,
    /// As B's login.
    pub(super) b_db: Client,
    pub(super) reach: Reach,
    b_pid: i32,
}

impl Pair {
    pub(super) async fn new(w: &Arc<World>, a: Isolation, b: Isolation) -> Self {
        let (a, b) = (w.tenant("A", a).await, w.tenant("B", b).await);
        for (tenant, word) in [(&a, "alpha"), (&b, "beta")] {
            w.as_tenant(tenant.id).await.batch_execute(&remember(word)).await.unwrap();
            let owner = tenant.login_role.replace("_a", "_owner");
            let db = w.superuser(&tenant.cluster, &tenant.database).await;
            db.batch_execute(&things(&tenant.schema, &owner)).await.unwrap();
        }
        let (db, b_db) = (w.as_tenant(a.id).await, w.as_tenant(b.id).await);
        let b_pid = b_db.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
        let reach = match () {
            () if (&a.cluster, &a.database) == (&b.cluster, &b.database) => Reach::SameDatabase,
            () if a.cluster == b.cluster => Reach::SameCluster,
            () => Reach::Elsewhere,
        };
        Self { world: Arc::clone(w), a, b, db, b_db, reach, b_pid }
    }

    /// The statement against B.
    pub(super) fn against_b(&self, sql: &str) -> String {
        self.fill(sql, &self.b, "beta")
    }

    /// The same against A itself, as a control.
    pub(super) fn against_a(&self, sql: &str) -> String {
        self.fill(sql, &self.a, "alpha")
    }

    fn fill(&self, sql: &str, target: &Tenant, word: &str) -> String {
        let prefix = |tenant: &Tenant| tenant.login_role.strip_suffix("_a").unwrap().to_owned();
        sql.replace("{b:", &format!("{}_", prefix(target)))
            .replace("{a:", &format!("{}_", prefix(&self.a)))
            .replace(":}", "")
            .replace("{b}", &target.schema)
            .replace("{a}", &self.a.schema)
            .replace("{b_database}", &target.database)
            .replace("{a_database}", &self.a.database)
            .replace("{b_pid}", &self.b_pid.to_string())
            .replace("{word}", word)
            .replace("{sw}", self.world.prefix.name("").trim_end_matches('_'))
            .replace("{oid", "{OID")
            .replace("{OID ", &format!("(select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = '{}' and c.relname = '", target.schema))
            .replace(" OID}", "')")
    }

    /// The SQLSTATE of a statement that is undone; `None` if it went through.
    pub(super) async fn attempt(&self, sql: &str, alone: bool) -> Option<String> {
        if !alone {
            self.db.batch_execute("begin").await.unwrap();
        }
        let done = self.run(sql).await;
        if !alone {
            self.db.batch_execute("rollback").await.unwrap();
        }
        done.err().map(|error| error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()))
    }

    async fn run(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        if sql.ends_with("to stdout") {
            return self.db.copy_out(sql).await.map(drop);
        }
        if !sql.ends_with("from stdin") {
            return self.db.batch_execute(sql).await;
        }
        // A server that asks for the data has not refused. Dropping both halves closes the session, data or no data.
        let url = provisioner::tenants::connection(&self.world.with, self.a.id).await.unwrap();
        let (db, session) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::select! {
            done = db.batch_execute(sql) => done,
            _ = session => Ok(()),
            () = tokio::time::sleep(Duration::from_secs(2)) => Ok(()),
        }
    }

    /// The control after each refusal: the same connection still reads A's own memory, and no other.
    pub(super) async fn still_reads_its_own(&self) -> bool {
        let rows = self.db.query("select content from memories", &[]).await;
        rows.is_ok_and(|rows| rows.iter().map(|row| row.get::<_, &str>(0)).eq(["alpha"]))
    }

    /// The control after all of them: B's session lives and its memory is as it was.
    pub(super) async fn b_is_unharmed(&self) {
        let row = self.b_db.query_one("select string_agg(content, ',') from memories", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "beta");
    }
}

fn remember(word: &str) -> String {
    format!("insert into memories (user_id, content) values ('+1', '{word}')")
}

/// What later schema versions may bring: a sequence, a function, a view; and statistics of what is there.
fn things(schema: &str, owner: &str) -> String {
    format!(
        "begin; set local role {owner}; set local search_path = {schema};
         create sequence serial; create view recent as select content from memories;
         create function recall() returns text language sql as 'select content from {schema}.memories';
         commit;
         analyze {schema}.memories"
    )
}
