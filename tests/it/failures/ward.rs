//! A tenant with one memory of its own, and clients that ask for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{RequestBuilder, Response, header};
use serde_json::Value;
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::support::{Server, World};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until `condition` is true.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "it did not come true: {what}");
}

/// What a request came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200 with the tenant's own memory and nothing else.
    Own,
    /// A refusal by its name.
    Refused(u16, String),
}

pub(crate) fn refused(code: &str) -> Answer {
    Answer::Refused(503, code.to_owned())
}

/// One tenant.
pub(crate) struct Ward {
    pub(crate) tenant: Tenant,
    word: String,
    token: String,
    /// A superuser in its database.
    pub(crate) db: Client,
}

impl Ward {
    pub(crate) async fn new(w: &World, name: &str, isolation: Isolation) -> Self {
        let tenant = w.tenant(name, isolation).await;
        let token = w.token(tenant.id, &[Scope::ReadMemories]).await;
        let word = format!("only {name} knows");
        let sql = "insert into memories (user_id, content) values ('+18005550199', $1)";
        w.as_tenant(tenant.id).await.execute(sql, &[&word]).await.unwrap();
        let db = w.superuser(&tenant.cluster, &tenant.database).await;
        Self { tenant, word, token, db }
    }

    /// A statement by a superuser. `SCHEMA` and `LOGIN` stand for the tenant's.
    pub(crate) async fn run(&self, sql: &str) {
        let sql = sql.replace("SCHEMA", &self.tenant.schema).replace("LOGIN", &self.tenant.login_role);
        self.db.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Ends its sessions: servers have to connect anew.
    pub(crate) async fn end_sessions(&self) {
        self.run("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'LOGIN'").await;
    }

    /// Its sessions that wait for a lock.
    pub(crate) async fn waiting(&self) -> i64 {
        self.count("and wait_event_type = 'Lock'").await
    }

    /// Its sessions.
    pub(crate) async fn sessions(&self) -> i64 {
        self.count("").await
    }

    async fn count(&self, more: &str) -> i64 {
        let sql = format!("select count(*) from pg_stat_activity where usename = $1 {more}");
        self.db.query_one(&sql, &[&self.tenant.login_role]).await.unwrap().get(0)
    }

    pub(crate) fn request(&self, server: &Server) -> RequestBuilder {
        server.get("/v1/memories").bearer_auth(&self.token)
    }

    pub(crate) async fn ask(&self, server: &Server) -> Answer {
        let asked = self.request(server).send().await.unwrap();
        read(asked, &self.word).await
    }

    /// Asks without waiting for the answer.
    pub(crate) fn start_asking(&self, server: &Server) -> JoinHandle<Answer> {
        let (request, word) = (self.request(server), self.word.clone());
        tokio::spawn(async move { read(request.send().await.unwrap(), &word).await })
    }

    /// Waits for this answer; until then only others with a name may come.
    pub(crate) async fn comes_to(&self, server: &Server, expected: &Answer, what: &str) {
        let mut last = Answer::Own;
        until(&format!("{what}: {expected:?}"), async || {
            last = self.ask(server).await;
            last == *expected
        })
        .await;
    }

    /// A client that asks again and again, and is to be given `Own` each time, or, if it is `patient`, a named refusal.
    pub(crate) fn constant_client(&self, server: &Server, patient: bool) -> Constant {
        let (request, word) = (self.request(server), self.word.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let running = tokio::spawn(async move {
            let mut served = 0;
            while !told.load(Ordering::SeqCst) {
                match read(request.try_clone().unwrap().send().await.unwrap(), &word).await {
                    Answer::Own => served += 1,
                    Answer::Refused(503, _) if patient => {}
                    refusal @ Answer::Refused(..) => panic!("{word}: {refusal:?}"),
                }
            }
            served
        });
        Constant { stop, running }
    }
}

pub(crate) struct Constant {
    stop: Arc<AtomicBool>,
    running: JoinHandle<usize>,
}

impl Constant {
    /// How often it was served. Panics if it ever was not.
    pub(crate) async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let served = self.running.await.unwrap();
        assert!(served > 0);
        served
    }
}

/// Every answer is the tenant's own data or a problem with a name; a 503 says when to come back.
async fn read(response: Response, word: &str) -> Answer {
    let status = response.status().as_u16();
    let retry_after = response.headers().contains_key(header::RETRY_AFTER);
    let body: Value = response.json().await.unwrap();
    if status == 200 {
        let memories: Vec<_> = body["memories"].as_array().unwrap().iter().map(|m| &m["content"]).collect();
        assert_eq!(memories, [word], "somebody else's data, or none");
        return Answer::Own;
    }
    assert_eq!(retry_after, status == 503, "{body}");
    Answer::Refused(status, body["code"].as_str().unwrap().to_owned())
}

/// A lock on a tenant's memories: whoever reads them waits, and holds a connection.
pub(crate) async fn hold(w: &World, ward: &Ward) -> tokio_postgres::Client {
    let db = w.superuser(&ward.tenant.cluster, &ward.tenant.database).await;
    let sql = format!("begin; lock table {}.memories in access exclusive mode", ward.tenant.schema);
    db.batch_execute(&sql).await.unwrap();
    db
}
