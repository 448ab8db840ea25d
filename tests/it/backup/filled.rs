//! Rows that are hard to carry, in every table that a tenant has.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::psql;

/// Any text that Postgres stores, as SQL; now and then one that COPY must not take for something else.
fn text(runner: &mut TestRunner) -> String {
    let odd = prop::sample::select(vec![
        "",
        "\\N",
        "\\.",
        "x\n\\.\ny",
        "\n\\.\r\n\\N",
        "a\tb",
        "a\nb\r\n",
        "'; --",
        "\\x00",
        "💈 Zoë \u{202e}",
        "null",
    ]);
    let any = any::<String>().prop_map(|text| text.replace('\0', ""));
    let text = prop_oneof![odd.prop_map(str::to_owned), any].new_tree(runner).unwrap().current();
    // Hexadecimal, so that neither psql nor we quote anything.
    let hex = text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    format!("convert_from('\\x{hex}', 'UTF8')")
}

/// What texts are drawn by. It is printed, so that what was drawn once can be drawn again: `STROWGER_TEST_SEED=…`.
fn seeded() -> TestRunner {
    let seed = match std::env::var("STROWGER_TEST_SEED") {
        Ok(seed) => seed.parse().expect("STROWGER_TEST_SEED is a number"),
        Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
    };
    println!("STROWGER_TEST_SEED={seed}");
    let bytes: Vec<u8> = [seed, 0, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Puts rows into every table: random texts, the ends of each type, nothing, and more than a piece of a backup holds.
///
/// A new table is missed by `a_backup_is_what_the_tenant_has` until it stands here.
pub(crate) fn fill(url: &str, schema: &str) {
    let mut runner = seeded();
    let mut sql = format!("set search_path = {schema};\n");
    for n in 0..12 {
        let mut t = || text(&mut runner);
        let at = ["'infinity'", "'-infinity'", "'epoch'", "'4713-01-01 BC'", "clock_timestamp()"][n % 5];
        let float = ["'NaN'", "'Infinity'", "'-0'", "1e-300", "0.1"][n % 5];
        sql.push_str(&format!(
            "insert into caller_profiles values ({n}::text || {}, {}, {}, jsonb_build_object('a' || {}, array[null, {}]), {at}, {at});
             insert into memories (user_id, type, key, content, created_at) values ({}, {}, nullif({}, ''), {}, {at})
             on conflict do nothing; -- two rows in a thousand runs are about the same
             insert into calls values ('CA{n}', {}, {}, {}, -2147483648, 2147483647, {at}, {at});
             insert into call_turns values ('CA{n}', 1, {}, 'said', {}, {}, 'model', gen_random_uuid(), {float}, 'listen', 'time', -32768, {at});
             insert into messages (call_sid, turn, user_id, kind, content) values ('CA{n}', 1, {}, 'message', {});\n",
            t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(),
        ));
        sql.push_str(&format!(
            "with s as (insert into call_summaries (user_id, summary, key_topics, variables, history_hash)
                        values ({}, {}, array[{}, null, '{{\"}}'], jsonb_build_object({n}::text, 1e300), sha256('{n}')) returning id)
             insert into personality_metrics (user_id, metrics, summary_id) select {}, to_jsonb({}), id from s;
             insert into personality_averages values ({n}::text || {}, '[]', 2147483647, {at});
             insert into outbox values ({}, '{n}', 'null', {at});
             insert into knowledge (question, variants, answer, priority) values ({}, '{{}}', {}, -1);
             insert into scenarios (key, name, phrases, replies) values ({n}::text || {}, {}, array[{}], array[]::text[]);
             insert into fillers values ({n}::text || {}, 'inherited');
             insert into urgency values ({n}::text || {}, '1e-300', 'custom');
             insert into variables (name, value, default_value) values ('v{n}', {}, null);
             insert into configurations values ({n} + 1000, jsonb_build_object('x', {}), {at}, 'test');\n",
            t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(),
        ));
    }
    sql.push_str(
        "insert into cloned_from (template_id, version, content) values ('x', 1, '{}');
         insert into memories (user_id, content) select 'large', string_agg(md5(n::text), e'\\n') from generate_series(1, 90000) n;
         insert into memories (user_id, content) select 'many', n::text from generate_series(1, 5000) n;
         insert into memory_vectors select id, 'm', 64, decode(repeat('00ff0a5c', 64), 'hex'), created_at from memories;\n",
    );
    psql(url, &["-f", "-"], &sql);
}
