//! What Postgres answers, but without anything of a neighbour's in it. Each query counts; on A's own it finds something.

use super::pair::{Pair, Reach};

/// Turned red by making the schema's first grant in provisioner/src/steps/schema.rs one to PUBLIC:
/// `grant usage on schema {schema} to public; grant all on all tables in schema {schema} to public; grant all on all
/// sequences in schema {schema} to public`.
const QUERIES: &[&str] = &[
    "select count(*) from pg_stats where schemaname = '{b}'",
    "select count(*) from information_schema.tables where table_schema = '{b}'",
    "select count(*) from information_schema.columns where table_schema = '{b}'",
    "select count(*) from information_schema.sequences where sequence_schema = '{b}'",
    "select count(*) from database_to_xml(true, false, '') x where x::text like '%{word}%'",
    "select count(*) from information_schema.role_table_grants where table_schema = '{b}'",
];

/// Asks all of them.
pub(super) async fn try_all(pair: &Pair) {
    for query in QUERIES {
        let count = async |sql: String| pair.db.query_one(&sql, &[]).await.expect(&sql).get::<_, i64>(0);
        assert_eq!(count(pair.against_b(query)).await, 0, "{query}");
        assert!(count(pair.against_a(query)).await > 0, "{query} finds nothing of A's own either");
    }
    if pair.reach == Reach::SameDatabase {
        pair.world
            .superuser("shared", &pair.b.database)
            .await
            .batch_execute(&pair.against_b("select nextval('{b}.serial')"))
            .await
            .unwrap();
        let seen = pair.against_b("select last_value from pg_sequences where schemaname = '{b}'");
        assert_eq!(pair.db.query_one(&seen, &[]).await.unwrap().get::<_, Option<i64>>(0), None);
    }
    pair.b_is_unharmed().await;
}
