//! The other form of the legacy schema, tenant columns of each type and none, rows that the tenant has newer.

use serde_json::json;
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;

use super::legacy::{Legacy, as_tenant, psql};
use super::{MAPPING, report, rows};
use crate::support::{Service, world};

const UUIDS: &str = "
    create table memories (id uuid primary key default gen_random_uuid(), $tenant user_id text, content text, created_at timestamptz);
    insert into memories ($name user_id, content, created_at)
    select $value '0702 24' || lpad((i % 50)::text, 4, '0'), 'fact ' || i, timestamptz '2024-01-01' + i * interval '1 s'
    from generate_series(1, 300) i";

fn uuids(kind: &str, value: &str) -> String {
    let (tenant, name) = if kind.is_empty() { (String::new(), "") } else { (format!("brand_id {kind},"), "brand_id,") };
    UUIDS.replace("$tenant", &tenant).replace("$name", name).replace("$value", value)
}

/// UUIDs are kept as ids, and local numbers are read as the tenant's callers write them.
#[test]
fn uuid_rows_of_text_and_uuid_tenants_and_of_none_keep_their_ids() {
    world(async |w| {
        let kenya = w.ctl(&["tenant", "create", "--name", "Nairobi", "--isolation", "schema", "--region", "KE"]).json();
        let id = kenya["customer_id"].to_string();
        let brand = "9b2f0e0c-5a35-4f4c-8c8a-3f1f6f2a7c11";
        let tenant = provisioner::tenants::get(&w.with, id.parse().unwrap()).await.unwrap();
        let there = as_tenant(&w, &tenant).await;
        for (name, kind, value, flag) in [
            ("text", "text", "'acme=co',".to_owned(), format!("--tenant=acme=co={id}")),
            ("uuid", "uuid", format!("'{brand}'::uuid,"), format!("--tenant={brand}={id}")),
            ("none", "", String::new(), format!("--all-to={id}")),
        ] {
            let legacy = Legacy::empty(&w, name).await;
            legacy.run(&uuids(kind, &value)).await;
            let before: i64 = psql(&there, "select count(*) from memories").parse().unwrap();
            let ran = w.ctl(&[
                "import",
                "run",
                "--mapping",
                MAPPING,
                "--source-url",
                &legacy.url,
                &flag,
                "--rejects",
                &w.dir.join(name).display().to_string(),
            ]);
            let done = report(&ran, 0);
            assert_eq!((done["verdict"].as_str(), rows(&done, "imported")), (Some("equal"), 300), "{name}");
            assert_eq!(done["missing"].as_array().unwrap().len(), 4, "tables that are not there are named");
            let ids = "select md5(string_agg(id::text, '' order by id)), count(*) from memories";
            let source = psql(&legacy.url, "select string_agg(quote_literal(id), ',') from memories");
            assert_eq!(psql(&legacy.url, ids), psql(&there, &format!("{ids} where id in ({source})")), "{name}");
            assert_eq!(psql(&there, "select count(*) from memories"), (before + 300).to_string());
            assert_eq!(psql(&there, "select count(*) from memories where user_id not like '+25470224%'"), "0");
        }
    });
}

/// Nobody's rows go nowhere: without a word on whose they are, nothing is written at all.
#[test]
fn whose_rows_are_is_never_guessed() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let legacy = Legacy::empty(&w, "none").await;
        legacy.run(&uuids("", "")).await;
        let import = ["import", "plan", "--mapping", MAPPING, "--source-url", &legacy.url];
        let ran = w.ctl(&import);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains("public.memories: no column says whose a row is"), "{}", ran.stderr);
        let ran = w.ctl(&[&import[..], &["--all-to", "77"]].concat());
        assert!(ran.code == Some(3) && ran.stderr.contains("there is no tenant 77"), "{}", ran.stderr);
        let named = format!("--tenant=else={}", tenant.id);
        let other = Legacy::empty(&w, "named").await;
        other.run(&uuids("text", "'acme',")).await;
        let ran = w.ctl(&["import", "plan", "--mapping", MAPPING, "--source-url", &other.url, &named]);
        assert_eq!(rows(&report(&ran, 5), "rejected"), 300, "a value that nobody named is nobody");
        other.run("alter table memories drop column content").await;
        let ran = w.ctl(&["import", "plan", "--mapping", MAPPING, "--source-url", &other.url, &named]);
        assert!(ran.stderr.contains("no column for content (looked for: content, value)"), "{}", ran.stderr);
    });
}

/// Turns red without `m.created_at <= …` in `imports::TARGETS`.
#[test]
fn what_a_tenant_has_newer_stays_and_what_the_source_has_newer_comes() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let there = as_tenant(&w, &tenant).await;
        let legacy = Legacy::new(&w).await;
        let rows_of = |content: &str, day: &str| {
            format!(
                "truncate memories restart identity;
                 insert into memories (customer_id, user_id, type, key, value, created_at)
                 values (1, '5551234567', 'note', 'a', '{content}', '{day}'), (1, '5551234567', 'note', null, '{content}', '{day}')"
            )
        };
        let count = std::cell::Cell::new(0);
        let import = || {
            count.set(count.get() + 1);
            let rejects = w.dir.join(format!("r{}", count.get())).display().to_string();
            let all = format!("--tenant=1={}", tenant.id);
            report(
                &w.ctl(&[
                    "import",
                    "run",
                    "--mapping",
                    MAPPING,
                    "--source-url",
                    &legacy.url,
                    &all,
                    "--rejects",
                    &rejects,
                ]),
                0,
            )
        };
        let contents = || psql(&there, "select string_agg(content, ',' order by key nulls last) from memories");
        legacy.run(&rows_of("old", "2024-01-01")).await;
        assert_eq!((rows(&import(), "imported"), contents()), (2, "old,old".to_owned()));
        legacy.run(&rows_of("new", "2024-02-01")).await;
        assert_eq!((rows(&import(), "imported"), contents()), (2, "new,new".to_owned()), "an edit on the old platform");
        psql(&there, "update memories set content = 'own', created_at = now() where key = 'a'");
        let done = import();
        assert_eq!((rows(&done, "imported"), rows(&done, "newer_here")), (1, 1));
        assert_eq!((contents(), done["verdict"].clone()), ("own,new".to_owned(), json!("equal")));
        // Another id with the same key, as a platform makes that writes a new row for each change.
        psql(
            &there,
            "update memories set content = 'seen', created_at = '2023-01-01', id = gen_random_uuid() where key = 'a'",
        );
        assert_eq!((rows(&import(), "imported"), contents()), (2, "new,new".to_owned()));
    });
}

/// Turns red when `moment` in `shape.rs` leaves it at what `to_char` says, which is nothing: the rows would come as if of 1970. Without
/// `is_of_calendar` in `row.rs` they come as they are, and the list of memories is no longer answered.
#[test]
fn a_row_at_a_moment_that_no_calendar_has_is_rejected_with_its_reason() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let id = tenant.id.to_string();
        for (n, (kind, good, late)) in [
            ("timestamptz", "'2024-01-01'", "'10000-01-01'"),
            ("timestamp", "'2024-01-01'", "'10000-01-01'"),
            ("date", "'2024-01-01'", "'10000-01-01'"),
            ("double precision", "1704067200", "'infinity'"),
        ]
        .into_iter()
        .enumerate()
        {
            let legacy = Legacy::empty(&w, &format!("at{n}")).await;
            legacy
                .run(&format!(
                    "create table memories (id uuid default gen_random_uuid(), user_id text, content text, created_at {kind});
                     insert into memories (user_id, content, created_at) values
                         ('5551234567', 'now', {good}), ('5551234567', 'unknown', null), ('5551234567', 'late', {late}),
                         ('5551234567', 'always', 'infinity'), ('5551234567', 'before', '-infinity')"
                ))
                .await;
            let rejects = w.dir.join(kind).display().to_string();
            let import = ["import", "run", "--mapping", MAPPING, "--source-url", &legacy.url, "--all-to", &id];
            let done = report(&w.ctl(&[&import[..], &["--rejects", &rejects]].concat()), 5);
            assert_eq!((rows(&done, "imported"), rows(&done, "rejected")), (2, 3), "{kind}");
            assert_eq!(done["verdict"], "equal", "{kind}: {done}");
            let said = std::fs::read_to_string(&rejects).unwrap();
            let reason = "\"reason\":\"created_at is no moment of the years up to 9999\"";
            assert_eq!(said.matches(reason).count(), 3, "{said}");
        }
        let server = w.server();
        let service = Service { server: &server, token: w.token(tenant.id, &[Scope::ReadMemories]).await };
        let listed = service.get("/v1/memories").await;
        assert_eq!((listed.status, listed.body["memories"].as_array().map(Vec::len)), (200, Some(8)), "{listed:?}");
    });
}
