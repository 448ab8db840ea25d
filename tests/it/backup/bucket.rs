//! Backups in a bucket: the same promises as in a folder, with a store that can refuse, lose us half way, or not be there.

use serde_json::json;
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;

use super::filled::fill;
use super::{content, psql, url_of};
use crate::crash::tapped::{Tapped, in_lanes, some_deaths};
use crate::jobs::{control, until, worker_in};
use crate::support::{Proxy, Ran, S3, World, run_in, world};

const STORE: &str = "s3://backups/nightly";

/// `strowgerctl` with the way to the bucket in its environment.
struct Ctl<'w> {
    w: &'w World,
    environment: Vec<(&'static str, String)>,
}

impl Ctl<'_> {
    fn run(&self, args: &[&str]) -> Ran {
        self.w.ctl_in(&self.environment, args, "")
    }

    /// The same, with one thing said otherwise.
    fn saying(&self, name: &'static str, value: &str, args: &[&str]) -> Ran {
        let environment = [&self.environment[..], &[(name, value.to_owned())]].concat();
        self.w.ctl_in(&environment, args, "")
    }

    fn back_up(&self, tenant: &Tenant) -> Ran {
        self.run(&["backup", "create", "--tenant", &tenant.id.to_string(), "--to", STORE])
    }

    /// The id of a new backup.
    fn made(&self, tenant: &Tenant) -> String {
        self.back_up(tenant).json()[0]["id"].as_str().unwrap().to_owned()
    }
}

fn refused(ran: &Ran, code: i32, why: &str) {
    assert!(ran.code == Some(code) && ran.stderr.contains(why), "{why}: {:?} {}", ran.code, ran.stderr);
}

/// Rows that do not fit into one part of an upload, however they are compressed, where no index is made of them.
fn fill_beyond_a_part(tenant: &Tenant) {
    let sql = format!(
        "insert into {}.outbox (kind, source_id, payload)
         select 'large', n % 60, to_jsonb(string_agg(encode(sha512((random()::text || n)::bytea), 'base64'), ''))
         from generate_series(1, 290000) n group by n % 60",
        tenant.schema
    );
    psql(&url_of(tenant), &["-c", &sql], "");
}

/// Cuts a command off from the store while it writes or reads data.
fn cut_off(s3: &mut S3, between: &Proxy, run: impl FnOnce() -> Ran + Send) -> Ran {
    s3.hold_data();
    std::thread::scope(|scope| {
        let running = scope.spawn(run);
        s3.wait_for_data();
        between.cut();
        s3.let_data_go();
        running.join().unwrap()
    })
}

/// Ends a command's session with Postgres when it has read all but the last table.
async fn cut_off_from_postgres(w: &World, tenant: &Tenant, run: impl FnOnce() -> Ran + Send) -> Ran {
    let db = w.superuser("shared", &tenant.database).await;
    let last = format!("{}.configurations", tenant.schema);
    db.batch_execute(&format!("begin; lock table {last} in access exclusive mode")).await.unwrap();
    let waiting = format!("from pg_locks where relation = '{last}'::regclass and not granted");
    let end = format!(
        "do $$ begin while not exists (select {waiting}) loop perform pg_sleep(0.02); end loop;
                     perform pg_terminate_backend(pid) {waiting}; end $$"
    );
    std::thread::scope(|scope| {
        let running = scope.spawn(run);
        psql(&url_of(tenant), &["-c", &end], "");
        running.join().unwrap()
    })
}

/// All that is done with a backup, in a bucket and in parts.
///
/// Turns red when the manifest is not deleted.
#[test]
fn a_bucket_holds_what_a_folder_does() {
    world(async |w| {
        let mut s3 = S3::start();
        let ctl = Ctl { w: &w, environment: s3.environment(s3.port) };
        let tenant = w.tenant("One", Isolation::Schema).await;
        fill(&url_of(&tenant), &tenant.schema);
        fill_beyond_a_part(&tenant);
        let before = content(&url_of(&tenant), &tenant.schema);
        ctl.run(&["platform", "set", "backups_to", &format!("{STORE}/")]).json();
        let made = ctl.run(&["backup", "create", "--tenant", "1"]).json();
        let (id, store) = (made[0]["id"].as_str().unwrap(), &made[0]["store"]);
        assert_eq!(store, STORE);
        let in_store = |names: &[&str]| names.iter().map(|name| format!("nightly/{name}")).collect::<Vec<_>>();
        let whole = in_store(&[".strowger-backups", &format!("{id}/data"), &format!("{id}/manifest")]);
        assert_eq!((s3.keys(), s3.uploads()), (whole, 0));
        let data = s3.get(&format!("nightly/{id}/data"));
        assert!(data.len() > 16 << 20, "one part: {}", data.len());
        assert!(ctl.run(&["backup", "verify", id]).json()["verified_at"].is_string());

        // In place, after something was lost.
        psql(&url_of(&tenant), &["-c", &format!("delete from {}.memory_vectors", tenant.schema)], "");
        ctl.run(&["backup", "restore", id, "--in-place"]).json();
        assert!(content(&url_of(&tenant), &tenant.schema) == before, "psql reads something else");

        // Without the control database, as from a folder.
        let ring = w.dir.join("server.ring");
        let (place, out) = (format!("{STORE}/{id}"), w.dir.join("out"));
        let alone = ["--server-key-ring", ring.to_str().unwrap(), "backup", "extract", "--from", &place];
        run_in(&ctl.environment, &[&alone[..], &["--output", "json", "--out", out.to_str().unwrap()]].concat(), "")
            .json();
        assert!(std::fs::metadata(out.join("outbox.csv")).unwrap().len() > 24 << 20);

        let newest = ctl.run(&["backup", "create", "--tenant", "1"]).json()[0]["id"].as_str().unwrap().to_owned();
        let pruned = ctl.run(&["backup", "prune", "--daily", "0", "--weekly", "0", "--monthly", "0"]).json();
        assert_eq!((pruned.as_array().unwrap().len(), &pruned[0]["id"]), (1, &json!(id)));
        assert!(s3.keys().iter().all(|key| !key.contains(id)));
        ctl.run(&["backup", "delete", &newest]).json();
        assert_eq!((s3.keys(), ctl.run(&["backup", "list"]).json()), (in_store(&[".strowger-backups"]), json!([])));
    });
}

/// Each is named, and none of it leaves anything in the bucket. Turns red when a bucket without the mark is taken for a store.
#[test]
fn a_bucket_that_refuses_says_why() {
    world(async |w| {
        let mut s3 = S3::start();
        let ctl = Ctl { w: &w, environment: s3.environment(s3.port) };
        let tenant = w.tenant("One", Isolation::Schema).await;
        let create = ["backup", "create", "--tenant", "1", "--to", STORE];
        refused(&ctl.saying("AWS_ALLOW_HTTP", "false", &create), 3, "AWS_ALLOW_HTTP=true");
        refused(&ctl.run(&["backup", "create", "--tenant", "1", "--to", "s3://backups/a b"]), 3, "s3://BUCKET/PREFIX");
        assert_eq!(ctl.run(&["backup", "list"]).json(), json!([]), "promised nothing");
        let ran = ctl.saying("AWS_SECRET_ACCESS_KEY", "another", &create);
        refused(&ran, 1, "AWS_SECRET_ACCESS_KEY");
        assert!(!ran.stderr.contains("another"), "{}", ran.stderr);
        refused(
            &ctl.run(&["backup", "create", "--tenant", "1", "--to", "s3://nowhere"]),
            1,
            "no such object or bucket",
        );
        assert_eq!(s3.keys(), Vec::<String>::new());
        let made = ctl.made(&tenant);
        assert_eq!((s3.keys().len(), ctl.run(&["backup", "list"]).json().as_array().unwrap().len()), (3, 1));

        // A restore that cannot read the store has changed nothing.
        let restore = ["backup", "restore", &made, "--in-place"];
        refused(&ctl.saying("AWS_SECRET_ACCESS_KEY", "another", &restore), 1, "the store refuses us");
        let nobody = Proxy::to(([127, 0, 0, 1], s3.port).into()).await;
        nobody.cut();
        let endpoint = format!("http://{}", nobody.address);
        refused(&ctl.saying("AWS_ENDPOINT_URL", &endpoint, &restore), 4, "AWS_ENDPOINT_URL");
        assert_eq!(
            ctl.run(&["job", "list"]).json().as_array().unwrap().iter().filter(|job| job["kind"] == "restore").count(),
            0
        );

        // In a bucket without the mark nothing is taken for deleted.
        s3.delete("nightly/.strowger-backups");
        refused(&ctl.run(&["backup", "delete", &made]), 4, "another bucket");
        s3.put("nightly/.strowger-backups", b"");
        ctl.run(&["backup", "delete", &made]).json();
        assert_eq!(s3.keys(), ["nightly/.strowger-backups"]);
    });
}

/// The store goes away half way through an upload: there is no manifest, the job says so, and a worker goes on when it is back.
///
/// Turns red when an upload that failed is not aborted, and when a store that does not answer is the end of the data.
#[test]
fn an_upload_that_is_cut_off_is_no_backup_and_is_made_again() {
    world(async |w| {
        let mut s3 = S3::start();
        let between = Proxy::to(([127, 0, 0, 1], s3.port).into()).await;
        let ctl = Ctl { w: &w, environment: s3.environment(between.address.port()) };
        let tenant = w.tenant("One", Isolation::Schema).await;
        fill_beyond_a_part(&tenant);

        let ran = cut_off_from_postgres(&w, &tenant, || ctl.back_up(&tenant)).await;
        assert_ne!(ran.code, Some(0));
        assert_eq!((s3.keys(), s3.uploads()), (vec!["nightly/.strowger-backups".to_owned()], 0), "it is aborted");

        let ran = cut_off(&mut s3, &between, || ctl.back_up(&tenant));
        refused(&ran, 4, "write s3://backups/nightly/");
        assert_eq!(s3.keys(), ["nightly/.strowger-backups"]);
        let listed = ctl.run(&["backup", "list"]).json();
        assert_eq!((&listed[0]["state"], listed.as_array().unwrap().len()), (&json!("writing"), 1));
        let jobs = ctl.run(&["job", "list"]).json();
        let job = jobs.as_array().unwrap().iter().find(|job| job["kind"] == "backup").unwrap();
        assert!(job.to_string().contains("s3://backups/nightly/"), "{job}");

        between.mend();
        let db = control(&w).await;
        db.batch_execute("update jobs set not_before = now() where kind = 'backup'").await.unwrap();
        let worker = worker_in(&w, &ctl.environment);
        until(&db, "select exists (select from backups where state = 'complete')").await;
        drop(worker);
        let id = listed[0]["id"].as_str().unwrap();
        assert!(ctl.run(&["backup", "verify", id]).json()["verified_at"].is_string());
        // What the store does not give is not missing in the backup.
        let ran = cut_off(&mut s3, &between, || ctl.run(&["backup", "verify", id]));
        refused(&ran, 4, "AWS_ENDPOINT_URL");
        // What was cut off stays as parts that nobody sees, for the bucket's own rule to take away.
        assert_eq!((s3.keys().len(), s3.uploads()), (3, 1));
    });
}

/// Turns red when a manifest is not asked whose it is.
#[test]
fn what_was_cut_or_swapped_in_a_bucket_is_refused() {
    world(async |w| {
        let mut s3 = S3::start();
        let ctl = Ctl { w: &w, environment: s3.environment(s3.port) };
        let tenant = w.tenant("One", Isolation::Schema).await;
        fill(&url_of(&tenant), &tenant.schema);
        let [id, other] = [ctl.made(&tenant), ctl.made(&tenant)];
        let of = |id: &str, name: &str| format!("nightly/{id}/{name}");
        let [data, manifest] = ["data", "manifest"].map(|name| s3.get(&of(&id, name)));
        let [their_data, their_manifest] = ["data", "manifest"].map(|name| s3.get(&of(&other, name)));
        let verify = || ctl.run(&["backup", "verify", &id]);
        let damaged = |s3: &mut S3, name: &str, bytes: &[u8], why: &str| {
            s3.put(&of(&id, name), bytes);
            let ran = verify();
            assert!(
                matches!(ran.code, Some(1 | 3)) && ran.stderr.contains(why),
                "{why}: {:?} {}",
                ran.code,
                ran.stderr
            );
        };
        let mut with = |name: &str, bytes: &[u8], why: &str| damaged(&mut s3, name, bytes, why);
        with("data", &data[..data.len() / 2], "is cut off");
        with("data", &their_data, "does not open");
        with("data", &[&data[..], b"x"].concat(), "follows its end");
        s3.put(&of(&id, "data"), &data);
        let mut with = |name: &str, bytes: &[u8], why: &str| damaged(&mut s3, name, bytes, why);
        with("manifest", &their_manifest, "another backup's");
        with("manifest", &manifest[..manifest.len() / 2], "is not one");
        s3.put(&of(&id, "manifest"), &manifest);
        assert!(verify().json()["verified_at"].is_string());
        s3.delete(&of(&id, "data"));
        refused(&verify(), 1, "no such object");
        assert_eq!(ctl.run(&["backup", "show", &id]).json()["state"], "complete", "looking changes nothing");
    });
}

/// Killed at statements all along, and run again: each backup is whole, and the bucket holds what the list says.
///
/// Turns red when an object without its manifest counts as a backup.
#[test]
fn a_killed_backup_or_restore_with_a_bucket_is_finished_when_run_again() {
    in_lanes(async |w, lane| {
        let mut s3 = S3::start();
        let tapped = Tapped::new(&w).await.with(s3.environment(s3.port));
        let tenant = w.tenant("One", Isolation::Schema).await;
        let create = ["backup", "create", "--tenant", "1", "--to", STORE];
        let (made, statements) = tapped.run(&create).await;
        for (at, moment) in some_deaths(12, statements, lane) {
            tapped.stop_or_end(at, moment, &create).await;
            let (again, _) = tapped.run(&create).await;
            assert_eq!(again[0]["state"], "complete", "{moment:?} {at}");
            let listed = w.ctl(&["backup", "list"]).json();
            let ids = listed.as_array().unwrap().iter().map(|backup| backup["id"].as_str().unwrap());
            let mut keys: Vec<String> =
                ids.flat_map(|id| ["data", "manifest"].map(|name| format!("nightly/{id}/{name}"))).collect();
            keys.push("nightly/.strowger-backups".into());
            keys.sort_unstable();
            assert_eq!(s3.keys(), keys, "{moment:?} {at}");
        }
        let restore = ["backup", "restore", made[0]["id"].as_str().unwrap(), "--in-place"];
        let (_, more) = tapped.run(&restore).await;
        for (at, moment) in some_deaths(36, more, lane) {
            if !tapped.stop_or_end(at, moment, &restore).await {
                continue;
            }
            assert_eq!(tapped.run(&restore).await.0["state"], "active", "{moment:?} {at}");
            w.as_tenant(tenant.id).await.query("select * from memories", &[]).await.unwrap();
        }
        println!("with a bucket: killed along {statements} and {more} statements ({lane:?})");
        w.ctl(&["doctor"]).json();
    });
}
