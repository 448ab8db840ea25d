//! The same rows everywhere: 300 callers a tenant, each with a profile, twenty memories and five summaries.

use tokio_postgres::Client;

/// In `memories`, for each tenant.
pub(crate) const MEMORIES: usize = CALLERS * 20;
pub(crate) const CALLERS: usize = 300;

/// Words that memories are made of, some rare and some in every tenth memory.
const WORDS: [&str; 40] = [
    "policy",
    "renewal",
    "garage",
    "kitchen",
    "violin",
    "window",
    "tomorrow",
    "invoice",
    "daughter",
    "morning",
    "roof",
    "engine",
    "lesson",
    "mortgage",
    "garden",
    "piano",
    "deductible",
    "balcony",
    "amplifier",
    "delivery",
    "boiler",
    "licence",
    "strings",
    "viewing",
    "agent",
    "premium",
    "tuning",
    "basement",
    "contract",
    "holiday",
    "repair",
    "estimate",
    "cello",
    "fence",
    "claim",
    "parking",
    "teacher",
    "deposit",
    "refund",
    "weekend",
];

pub(crate) fn caller(n: usize) -> String {
    format!("+1555{:07}", n % CALLERS)
}

/// Two words, another pair for each `n`.
pub(crate) fn question(n: usize) -> String {
    format!("{} {}", WORDS[n % WORDS.len()], WORDS[(n / 3 + 7) % WORDS.len()])
}

/// Fills the tables that the session's `search_path` finds. `customer` is the shared tables' first column.
pub(crate) async fn fill(db: &Client, customer: Option<i32>) {
    let (column, value) =
        customer.map_or((String::new(), String::new()), |id| ("customer_id, ".into(), format!("{id}, ")));
    let words = WORDS.map(|word| format!("'{word}'")).join(", ");
    let caller = "'+1555' || lpad(c::text, 7, '0')";
    let callers = format!("generate_series(0, {}) c", CALLERS - 1);
    let word = |step: usize| format!("(array[{words}])[1 + (c * 31 + m * 7 + c * m * {step}) % {}]", WORDS.len());
    let text = format!(
        "'The caller asked about the ' || {} || ' and the ' || {} || ', before the ' || {} || ' of number ' || c || '.'",
        word(3),
        word(11),
        word(17)
    );
    let at = "timestamptz '2026-01-01' + c * interval '1 second' + m * interval '1 day'";
    let sql = format!(
        "insert into memories ({column}id, user_id, type, key, content, created_at)
             select {value}md5('{column}{value}' || c || '/' || m)::uuid, {caller}, 'general', 'k' || m, {text}, {at}
             from {callers}, generate_series(1, 20) m;
         insert into caller_profiles ({column}user_id, name, quick_bio, fields)
             select {value}{caller}, 'Caller ' || c, 'Caller ' || c || ' | somewhere', '{{\"looking_for\": \"an answer\"}}' from {callers};
         insert into call_summaries ({column}user_id, call_sid, summary, key_topics, created_at)
             select {value}{caller}, '{value}' || c || '/' || m, {text}, array['topic'], {at} from {callers}, generate_series(1, 5) m;
         insert into personality_averages ({column}user_id, averages, calls)
             select {value}{caller}, '{{\"formality\": 50, \"patience\": 70}}', 5 from {callers};
         analyze memories, caller_profiles, call_summaries, personality_averages;"
    );
    db.batch_execute(&sql).await.unwrap();
}

/// One table for all: the customer first in every key and index, and a policy on each.
pub(crate) const SHARED: &str = "
    create table memories (
        customer_id integer not null, id uuid not null, user_id text not null, type text not null default 'general',
        key text, content text not null, created_at timestamptz not null default clock_timestamp(),
        words tsvector generated always as (to_tsvector('simple'::regconfig, left(content, 100000))) stored,
        primary key (customer_id, id), unique (customer_id, user_id, type, key));
    create index on memories (customer_id, user_id, created_at desc, id desc);
    create index on memories (customer_id, created_at desc, id desc);
    create index on memories using gin (words);
    create table caller_profiles (
        customer_id integer not null, user_id text not null, name text, quick_bio text not null default '',
        fields jsonb not null default '{}', primary key (customer_id, user_id));
    create table call_summaries (
        customer_id integer not null, id uuid not null default gen_random_uuid(), user_id text not null, call_sid text,
        summary text not null, key_topics text[] not null default '{}', created_at timestamptz not null,
        primary key (customer_id, id), unique (customer_id, call_sid));
    create index on call_summaries (customer_id, user_id, created_at desc, id desc);
    create table personality_averages (
        customer_id integer not null, user_id text not null, averages jsonb not null, calls integer not null,
        primary key (customer_id, user_id));
    create table configurations (
        customer_id integer not null, version integer not null, content jsonb not null, primary key (customer_id, version));
    do $$ declare t text; begin
        foreach t in array array['memories', 'caller_profiles', 'call_summaries', 'personality_averages', 'configurations'] loop
            execute format('alter table %I enable row level security', t);
            execute format('create policy own on %I using (customer_id = current_setting(''bench.customer'')::integer)', t);
        end loop;
    end $$;
    create role bench_shared login password 'bench';
    grant select on all tables in schema public to bench_shared;";
