//! A damaged fleet: every kind of damage is named, what can be mended is, and what holds data is not touched unasked.

use std::collections::BTreeSet;

use strowger::control::clusters::Isolation;
use tokio_postgres::Client;

use crate::jobs::control;
use crate::support::{World, world};

/// The codes of all findings.
fn codes(w: &World, args: &[&str]) -> BTreeSet<String> {
    let ran = w.ctl(&[&["doctor"], args].concat());
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    let found = found.as_array().unwrap();
    assert_eq!(ran.code, Some(if found.is_empty() { 0 } else { 5 }), "{}", ran.stderr);
    for finding in found {
        println!("{}: {}: {} ({})", finding["code"], finding["place"], finding["what"], finding["advice"]);
    }
    eprintln!("{}", ran.stderr);
    found.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

fn set(codes: &[&str]) -> BTreeSet<String> {
    codes.iter().map(ToString::to_string).collect()
}

async fn run(db: &Client, sql: &str) {
    db.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// What no `--fix` touches: it needs an operator, a superuser, or a backup.
const LEFT: [&str; 10] = [
    "account.orphan",
    "functions.public",
    "identity.wrong",
    "job.failed",
    "key.legacy",
    "key.missing",
    "publication.orphan",
    "schema.missing",
    "sealed.unreadable",
    "tenant.kept",
];

const MENDED: [&str; 15] = [
    "database.closed",
    "database.orphan",
    "database.public",
    "grant.public",
    "grant.wrong",
    "membership.admin",
    "membership.extra",
    "membership.missing",
    "mirror.extra",
    "mirror.missing",
    "number.moving",
    "role.limit",
    "role.login",
    "role.missing",
    "role.powers",
];

/// No database is open to everybody even for a moment: other tests prepare these clusters meanwhile, and that is refused then.
///
/// Each damage is what the code of its line says, in the words of psql.
async fn damage(w: &World) {
    let p = &w.prefix;
    let (shared, dedicated) =
        (w.superuser("shared", &p.name("shared")).await, w.superuser("dedicated", "postgres").await);
    run(&dedicated, &format!("alter database {p}_t3 allow_connections false")).await;
    run(&dedicated, &format!("create database {p}_t98 owner {p}_admin allow_connections false")).await;
    run(&dedicated, &format!("grant connect on database {p}_t3 to public")).await;
    run(&shared, "grant select on tenant_1.memories to public").await;
    run(&shared, &format!("revoke insert on tenant_2.memories from {p}_t2_rw")).await;
    run(&shared, &format!("grant {p}_t1_owner to {p}_admin")).await;
    run(&shared, &format!("grant {p}_t2_rw to {p}_t1_a")).await;
    run(&shared, &format!("revoke {p}_t2_rw from {p}_t2_b")).await;
    run(&shared, "insert into tenant_2.numbers values ('phone', '+18005550109')").await;
    run(&shared, "delete from tenant_1.numbers").await;
    run(&shared, &format!("alter role {p}_t2_a connection limit 3")).await;
    run(&shared, &format!("alter role {p}_t4_a login")).await;
    run(&dedicated, &format!("drop role {p}_t3_b")).await;
    run(&shared, &format!("alter role {p}_t1_rw createdb")).await;
    run(&shared, &format!("alter role {p}_t1_a set work_mem = '1MB'")).await;
    run(&shared, &format!("create role {p}_t99_owner")).await;
    run(&shared, &format!("create schema tenant_99 authorization {p}_t99_owner")).await;
    run(&shared, &format!("set role {p}_t99_owner; create table tenant_99.kept as select 1; reset role")).await;
    run(&w.superuser("shared", "postgres").await, &format!("alter database {p}_template allow_connections true")).await;

    run(&shared, "grant execute on function pg_advisory_lock(bigint) to public").await;
    run(&shared, "update tenant_4.identity set epoch = 9").await;
    run(&shared, "create publication tenant_99_feed").await;
    run(&shared, "alter schema tenant_5 rename to aside").await;
    w.ctl_with(&["key", "add", "old", "--legacy", "--all-tenants"], &"s".repeat(32)).json();
    let db = control(w).await;
    run(&db, "update numbers set state = 'moving', next_tenant_id = 2 where value = '+18005550102'").await;
    run(&db, "insert into jobs (kind, subject, tenant_id, state) values ('repair', 'tenant 1', 1, 'failed')").await;
    run(&db, "delete from data_keys where tenant_id = 6").await;
    run(&db, "update secrets set sealed = overlay(sealed placing '\\x00' from 40) where tenant_id = 1").await;
    run(&db, "insert into tenants (id, name, region, state) values (50, 'gone', 'US', 'erased')").await;
    run(&db, "insert into accounts (provider, external_id, tenant_id, sealed_secret) values ('twilio', 'AC' || repeat('9', 32), 50, '')")
        .await;
    run(&db, "update jobs set state = 'cancelled' where kind = 'erase'").await;
}

/// Turns red when one of the checks is taken out; when `--fix` drops what holds rows, or touches what control knows.
#[test]
fn a_damaged_fleet_is_explained_and_mended() {
    world(async |w| {
        use Isolation::{Database, Schema};
        for (name, isolation) in
            [("1", Schema), ("2", Schema), ("3", Database), ("4", Schema), ("5", Schema), ("6", Schema), ("7", Schema)]
        {
            w.tenant(name, isolation).await;
        }
        let account = w.account(1, None).await;
        let id = |id: i32| strowger::id::TenantId::try_from(id).unwrap();
        w.assign("+18005550101", id(1), &account).await;
        w.assign("+18005550102", id(2), &account).await;
        w.ctl(&["tenant", "suspend", "4"]).json();
        w.ctl(&["tenant", "delete", "7"]).json();
        w.ctl_with(&["secret", "set", "model_key", "--tenant", "1"], "something").json();
        assert_eq!(codes(&w, &[]), set(&[]), "a sound fleet");

        damage(&w).await;
        let mut all: BTreeSet<String> = set(&LEFT);
        all.extend(set(&MENDED));
        all.extend(set(&["role.orphan", "role.settings", "schema.orphan", "template.open"]));
        assert!(all.len() >= 10);
        assert_eq!(codes(&w, &[]), all);
        assert_eq!(codes(&w, &[]), all, "looking changes nothing");

        let mut left = set(&LEFT);
        left.extend(set(&["role.orphan", "schema.orphan"]));
        assert_eq!(codes(&w, &["--fix"]), left, "rows are kept");
        assert_eq!(codes(&w, &["--fix", "--drop-data"]), set(&LEFT));

        let db = w.as_tenant(id(2)).await;
        db.execute("insert into memories (user_id, content) values ('+18005550199', 'x')", &[]).await.unwrap();
        w.as_tenant(id(3)).await.query("select * from configurations", &[]).await.unwrap();
    });
}

/// What the other fleet has no room for, and no `--fix` touches.
const ALSO_LEFT: [&str; 10] = [
    "database.missing",
    "job.overdue",
    "job.recovery_failed",
    "number.orphan",
    "schema.owner",
    "schema.unknown",
    "server.setting",
    "slot.orphan",
    "table.missing",
    "tenant.unfinished",
];

/// A setting of the server is what the admin's session has of it: others' tests run on that server.
async fn damage_more(w: &World) {
    let p = &w.prefix;
    let (shared, dedicated) =
        (w.superuser("shared", &p.name("shared")).await, w.superuser("dedicated", "postgres").await);
    run(&shared, "drop table tenant_1.numbers").await;
    run(&shared, &format!("alter schema tenant_2 owner to {p}_admin")).await;
    run(&dedicated, &format!("drop database {p}_t3 with (force)")).await;
    run(&shared, &format!("create schema tenant_5 authorization {p}_admin")).await;
    run(&shared, &format!("grant select on tenant_6.memories to {p}_t1_rw")).await;
    run(&shared, &format!("alter role {p}_admin_a set password_encryption = 'md5'")).await;
    run(&shared, &format!("select pg_create_physical_replication_slot('{p}_t99')")).await;
    let db = control(w).await;
    run(&db, "update erasures set copies_until = now() - interval '1 minute'").await;
    run(&db, "update numbers set tenant_id = 7, state = 'active'").await;
    run(&db, "insert into jobs (kind, subject, not_before) values ('rotate-admin', 'cluster shared', now() - interval '2 hours')")
        .await;
    run(&db, "insert into jobs (kind, subject, tenant_id, state) values ('create', 'tenant 4', 4, 'recovery_failed')")
        .await;
}

/// Turns red when one of these checks is taken out, and when the schema of a tenant that is half made is said to be one that lives elsewhere.
#[test]
fn what_is_rarely_damaged_is_explained_too() {
    world(async |w| {
        use Isolation::{Database, Schema};
        let all = [
            ("1", Schema),
            ("2", Schema),
            ("3", Database),
            ("4", Schema),
            ("5", Database),
            ("6", Schema),
            ("7", Schema),
        ];
        for (name, isolation) in all {
            w.tenant(name, isolation).await;
        }
        w.ctl(&["cluster", "copies", "add", "shared", "--kind", "backup", "--where", "a shelf", "--kept", "1d"]).json();
        assert_eq!(w.ctl(&["tenant", "erase", "7", "--now", "--confirm", "7"]).json()["state"], "erasing");
        let account = w.account(1, None).await;
        w.assign("+18005550101", 6.try_into().unwrap(), &account).await;
        w.ctl(&["number", "release", "+18005550101"]).json();
        assert_eq!(codes(&w, &[]), set(&[]), "a sound fleet");

        run(&control(&w).await, "update tenants set state = 'provisioning' where id = 4").await;
        assert_eq!(codes(&w, &[]), set(&["tenant.unfinished"]), "half made");
        damage_more(&w).await;
        let mut all = set(&ALSO_LEFT);
        all.extend(set(&["erasure.overdue", "grant.foreign"]));
        assert_eq!(codes(&w, &[]), all);
        assert_eq!(codes(&w, &["--fix", "--drop-data"]), set(&ALSO_LEFT));
        run(&w.superuser("shared", "postgres").await, &format!("select pg_drop_replication_slot('{}_t99')", w.prefix))
            .await;
        assert_eq!(
            control(&w)
                .await
                .query_one("select state from tenants where id = 7", &[])
                .await
                .unwrap()
                .get::<_, String>(0),
            "erased"
        );
    });
}

/// Turns red when a finding has a code that docs/operating.md does not list.
#[test]
fn every_code_is_documented() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_to_string(root.join("docs/operating.md")).unwrap();
    let table = docs.split("| codes | what differs |").nth(1).unwrap();
    let is_code = |text: &&str| {
        text.split_once('.').is_some_and(|(noun, adjective)| {
            [noun, adjective]
                .iter()
                .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        })
    };
    let mut codes = 0;
    for file in std::fs::read_dir(root.join("provisioner/src/doctor")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for code in text.split('"').filter(is_code).filter(|code| *code != "doctor.fix") {
            codes += 1;
            assert!(table.contains(&format!("`{code}`")), "{code} is not in the doctor's table");
        }
    }
    assert!(codes > 40, "the control: {codes} codes were found");
}

/// Turns red when a cluster that is away ends the whole look.
#[test]
fn a_cluster_that_is_away_is_a_finding() {
    world(async |w| {
        w.tenant("One", Isolation::Database).await;
        control(&w).await.execute("update clusters set port = 1 where name = 'shared'", &[]).await.unwrap();
        assert_eq!(codes(&w, &[]), set(&["cluster.unreadable"]));
    });
}
