//! Another platform's database into tenants' own: counted and compared by psql on both sides, killed anywhere, run again.

mod dumps;
mod forms;
mod kills;
mod legacy;

use serde_json::Value;
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;

use crate::support::{Ran, World, world};
use legacy::{Legacy, psql};

/// The mapping that ships.
const MAPPING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/import/legacy-memory.toml");

/// What a run printed; its exit code must be that one.
fn report(ran: &Ran, code: i32) -> Value {
    assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Counts of one kind, over all tables and tenants.
fn rows(report: &Value, what: &str) -> i64 {
    report["counts"].as_array().unwrap().iter().map(|count| count[what]["rows"].as_i64().unwrap()).sum()
}

async fn three(w: &World) -> [Tenant; 3] {
    [
        w.tenant("One", Isolation::Schema).await,
        w.tenant("Two", Isolation::Database).await,
        w.tenant("Three", Isolation::Schema).await,
    ]
}

/// How many rows a tenant has in the tables that are imported, and how many the audit log has.
async fn standing(w: &World, tenants: &[Tenant]) -> (Vec<i64>, i64) {
    let mut all = Vec::new();
    for tenant in tenants {
        let sql = "select (select count(*) from memories) + (select count(*) from call_summaries) + (select count(*) from caller_profiles)
                   + (select count(*) from personality_metrics) + (select count(*) from personality_averages)";
        let db = w
            .superuser(if tenant.isolation == Isolation::Schema { "shared" } else { "dedicated" }, &tenant.database)
            .await;
        db.batch_execute(&format!("set search_path = {}", tenant.schema)).await.unwrap();
        all.push(db.query_one(sql, &[]).await.unwrap().get(0));
    }
    let control = w.superuser("control", &w.prefix.name("control")).await;
    (all, control.query_one("select count(*) from audit", &[]).await.unwrap().get(0))
}

/// 6,000 memories of three customers with all that goes wrong in real ones, and the other tables.
///
/// Turns red when a row is dropped without being counted (leave `merged.add` out), when a local number is taken as it is written
/// (`CallerKey::parse` for the raw text: other callers, other checksums), and when an older double is written over a newer one.
#[test]
fn six_thousand_memories_arrive_or_are_accounted_for() {
    world(async |w| {
        let tenants = three(&w).await;
        let legacy = Legacy::new(&w).await;
        legacy.fill(6000).await;
        let before = legacy.fingerprint().await;
        let named: Vec<String> =
            tenants.iter().zip([10, 20, 30]).map(|(t, old)| format!("--tenant={old}={}", t.id)).collect();
        let rejects = w.dir.join("rejects.jsonl").display().to_string();
        let mut args = vec!["import", "run", "--mapping", MAPPING, "--source-url", &legacy.url];
        args.extend(named.iter().map(String::as_str));

        let untouched = standing(&w, &tenants).await;
        let dry = w.ctl(&[&args[..], &["--dry-run", "--rejects", &format!("{rejects}.dry")]].concat());
        let planned = report(&dry, 5);
        assert_eq!(standing(&w, &tenants).await, untouched, "a dry run changes nothing");

        let ran = w.ctl(&[&args[..], &["--rejects", &rejects]].concat());
        let done = report(&ran, 5);
        assert_eq!(done["verdict"], "equal", "{done}");
        for what in ["source", "imported", "merged", "rejected", "wrong"] {
            assert_eq!(rows(&planned, what), rows(&done, what), "{what}: what was planned was done");
        }
        assert!(rows(&done, "merged") > 300 && rows(&done, "rejected") > 300 && rows(&done, "wrong") == 0, "{done}");
        let all = rows(&done, "imported") + rows(&done, "merged") + rows(&done, "rejected");
        assert_eq!(all, rows(&done, "source"));
        legacy.equals(&w, &tenants, &[legacy::MEMORIES, legacy::SUMMARIES, legacy::PROFILES]).await;

        // psql finds the sum that the report names.
        for here in done["here"].as_array().unwrap() {
            let tables = done["tables"].as_array().unwrap();
            let table = tables.iter().find(|table| table["to"] == here["table"]).unwrap();
            let tenant = tenants.iter().find(|t| here["customer_id"] == t.id.get()).unwrap();
            let found = psql(&legacy::as_tenant(&w, tenant).await, table["target_sql"].as_str().unwrap());
            let said = format!("{}|{}", here["after"]["rows"], here["after"]["checksum"].as_str().unwrap());
            assert_eq!((found, here["before"]["rows"].as_i64()), (said, Some(0)));
        }

        let lines: Vec<Value> =
            std::fs::read_to_string(&rejects).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let of = |outcome: &str| i64::try_from(lines.iter().filter(|l| l["outcome"] == outcome).count()).unwrap();
        assert_eq!((of("rejected"), of("merged")), (rows(&done, "rejected"), rows(&done, "merged")));
        assert!(lines.iter().all(|line| line["reason"].is_string() && line["row"].is_object()));
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&rejects).unwrap());
        assert_eq!(mode & 0o777, 0o600, "it holds callers' data");

        let stands = standing(&w, &tenants).await.0;
        let again = report(&w.ctl(&[&args[..], &["--rejects", &format!("{rejects}.2")]].concat()), 5);
        assert_eq!((again["verdict"].as_str(), rows(&again, "imported")), (Some("equal"), rows(&done, "imported")));
        assert_eq!(standing(&w, &tenants).await.0, stands, "run again it makes no double");
        assert_eq!(legacy.fingerprint().await, before, "the source is as it was");
        for words in ["fact ", "+1555", "(555)", "🎷"] {
            assert!(
                !ran.stderr.contains(words) && !ran.stdout.contains(words),
                "nothing of a caller is printed: {words}"
            );
        }
        let log = w.ctl(&["import", "status"]).json();
        let actions: Vec<&str> = log.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["import.end", "import.begin", "import.end", "import.begin"]);
    });
}
