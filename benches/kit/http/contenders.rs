//! The programs that Strowger is measured against, each in a process of its own: the same questions to Postgres, and nothing else
//! that a server needs: no token, no limits, no log, one tenant or a promise in every query.

use std::io::Write as _;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use tokio_postgres::types::{self, ToSql};
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;

/// Which of them.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One tenant's own database, opened with its login.
    Single,
    /// One table for all tenants, whose policies show a transaction one tenant's rows.
    Shared,
}

#[derive(Clone)]
struct Contender {
    kind: Kind,
    pool: Pool,
}

/// Serves until the process is killed: `single` or `shared`, where the data is, and how many connections.
pub(crate) async fn serve(kind: &str, url: &str, connections: usize) {
    let kind = if kind == "shared" { Kind::Shared } else { Kind::Single };
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(url.parse().unwrap(), NoTls, config);
    let pool = Pool::builder(manager).max_size(connections).build().unwrap();
    let app = Router::new()
        .route("/v1/memories", get(list))
        .route("/v2/context/enriched", post(context))
        .route("/v1/memories/search", post(search))
        .with_state(Contender { kind, pool });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on http://{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    axum::serve(listener, app).await.unwrap();
}

#[derive(Deserialize)]
struct Asked {
    user_id: Option<String>,
    /// Only the shared table has to be told.
    customer_id: Option<i32>,
    query: Option<String>,
    limit: Option<i64>,
}

impl Contender {
    /// One question to the database, in a transaction of its own where that says whose rows are seen.
    async fn rows(&self, db: &mut Object, asked: &Asked, sql: &str, with: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        let statement = db.prepare_cached(sql).await.unwrap();
        if self.kind == Kind::Single {
            return db.query(&statement, with).await.unwrap();
        }
        let whose = db.prepare_cached("select set_config('bench.customer', $1, true)").await.unwrap();
        let transaction = db.transaction().await.unwrap();
        let customer = asked.customer_id.unwrap().to_string();
        transaction.query(&whose, &[&customer]).await.unwrap();
        let rows = transaction.query(&statement, with).await.unwrap();
        transaction.commit().await.unwrap();
        rows
    }
}

#[derive(Serialize)]
struct Memory {
    id: Uuid,
    user_id: String,
    r#type: String,
    key: Option<String>,
    content: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Serialize)]
struct Memories {
    memories: Vec<Memory>,
}

impl Memories {
    fn shown(rows: &[Row]) -> Json<Self> {
        let memory = |row: &Row| Memory {
            id: row.get(0),
            user_id: row.get(1),
            r#type: row.get(2),
            key: row.get(3),
            content: row.get(4),
            created_at: row.get(5),
        };
        Json(Self { memories: rows.iter().map(memory).collect() })
    }
}

async fn list(State(this): State<Contender>, Query(asked): Query<Asked>) -> Json<Memories> {
    let sql = "select id, user_id, type, key, content, created_at from memories
               where user_id = $1 and ($2::text is null or type = $2)
                 and ($3::timestamptz is null or (created_at, id) < ($3, $4))
               order by created_at desc, id desc limit $5";
    let (kind, at, id) = (None::<String>, None::<OffsetDateTime>, None::<Uuid>);
    let more = asked.limit.unwrap_or(50) + 1;
    let mut db = this.pool.get().await.unwrap();
    let rows = this.rows(&mut db, &asked, sql, &[&asked.user_id, &kind, &at, &id, &more]).await;
    Memories::shown(&rows)
}

async fn context(State(this): State<Contender>, Json(asked): Json<Asked>) -> Json<Box<RawValue>> {
    let sql = "select jsonb_build_object(
        'user_id', $1::text,
        'known', p.user_id is not null,
        'quick_bio', coalesce(p.quick_bio, ''),
        'profile', coalesce(p.fields, '{}') || jsonb_build_object('name', p.name),
        'summaries', coalesce((select jsonb_agg(to_jsonb(x)) from (
            select id, summary, key_topics, created_at from call_summaries
            where user_id = $1 order by created_at desc, id desc limit 5) x), '[]'),
        'memories', coalesce((select jsonb_agg(to_jsonb(x)) from (
            select id, type, key, content, created_at from memories
            where user_id = $1 order by created_at desc, id desc limit 20) x), '[]'),
        'personality', coalesce((select averages from personality_averages where user_id = $1), '{}'),
        'agent', c.content), c.version
        from (select version, content from configurations order by version desc limit 1) c
        left join caller_profiles p on p.user_id = $1";
    let mut db = this.pool.get().await.unwrap();
    let rows = this.rows(&mut db, &asked, sql, &[&asked.user_id]).await;
    let types::Json(found) = rows[0].get(0);
    Json(found)
}

async fn search(State(this): State<Contender>, Json(asked): Json<Asked>) -> Json<Memories> {
    let ranking = "with q as (select replace(plainto_tsquery('simple', $3)::text, ' & ', ' | ')::tsquery as words)
                   select id from memories m, q
                   where ($1::text is null or user_id = $1) and ($2::text is null or type = $2) and m.words @@ q.words
                   order by ts_rank_cd(m.words, q.words, 32) desc, created_at desc, id desc limit $4";
    // All of the tenant's memories are searched.
    let (caller, kind, most) = (None::<String>, None::<String>, 1000_i64);
    let mut db = this.pool.get().await.unwrap();
    let ranked = this.rows(&mut db, &asked, ranking, &[&caller, &kind, &asked.query, &most]).await;
    let best = usize::try_from(asked.limit.unwrap_or(50)).unwrap();
    let ids: Vec<Uuid> = ranked.iter().take(best).map(|row| row.get(0)).collect();
    let sql = "select id, user_id, type, key, content, created_at from memories where id = any($1)";
    let mut found = this.rows(&mut db, &asked, sql, &[&ids]).await;
    found.sort_by_key(|row| ids.iter().position(|id| *id == row.get::<_, Uuid>(0)));
    Memories::shown(&found)
}
