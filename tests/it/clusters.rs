//! Clusters in service: which one a new tenant goes to, closed, drained, removed, looked at.

use std::sync::Arc;

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use tokio_postgres::Client;

use crate::support::{Ran, World, until, world};

async fn control(w: &World) -> Client {
    w.superuser("control", &w.prefix.name("control")).await
}

/// Another name for the shared cluster's server, as if it were a second one.
async fn second(db: &Client, region: &str, budget: i32) {
    let sql = "insert into clusters (name, kind, region, host, port, tls, connection_budget)
               select 'second', kind, $1, host, port, tls, $2 from clusters where name = 'shared'";
    db.execute(sql, &[&region, &budget]).await.unwrap();
    let sql = "insert into cluster_admins select c.id, a.login, a.sealed_password from clusters c, cluster_admins a
               join clusters s on s.id = a.cluster_id and s.name = 'shared' where c.name = 'second'";
    db.execute(sql, &[]).await.unwrap();
}

fn create(w: &World, name: &str, more: &[&str]) -> Ran {
    w.ctl(&[&["tenant", "create", "--isolation", "schema", "--name", name], more].concat())
}

fn refused(ran: &Ran, says: &str) {
    assert_eq!((ran.code, ran.stderr.contains(says)), (Some(3), true), "{says}: {}", ran.stderr);
}

/// Turns red when a creation chooses before it has taken its id: those that run at once would all see an empty cluster.
#[test]
fn creations_at_once_spread_as_if_they_came_one_by_one() {
    world(async |w: Arc<World>| {
        let db = control(&w).await;
        second(&db, "", 120).await;
        std::thread::scope(|scope| {
            for n in 0..9 {
                let w = &w;
                scope.spawn(move || create(w, &n.to_string(), &["--no-wait"]).json());
            }
        });
        let sql =
            "select c.name, count(*) from placements p join clusters c on c.id = p.cluster_id group by 1 order by 1";
        let rows = db.query(sql, &[]).await.unwrap();
        let spread: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(
            spread,
            [("second".to_owned(), 6), ("shared".to_owned(), 3)],
            "twice the connections, twice the tenants"
        );
    });
}

/// Turns red when a label or a name is not asked for, and when the phone region is taken for it.
#[test]
fn a_tenant_goes_to_the_region_that_is_asked_for() {
    world(async |w| {
        second(&control(&w).await, "eu", 1).await;
        let eu = create(&w, "One", &["--cluster-region", "eu", "--region", "KE"]).json();
        assert_eq!((&eu["cluster"], &eu["region"]), (&json!("second"), &json!("KE")));
        assert_eq!(create(&w, "One", &["--cluster-region", "eu", "--region", "KE"]).json(), eu, "run again");
        refused(&create(&w, "One", &["--cluster-region", "us", "--region", "KE"]), "cluster region eu");
        refused(&create(&w, "Two", &["--cluster-region", "us"]), "second is in region \"eu\"");
        refused(&create(&w, "Two", &["--cluster-region", "eu", "--cluster", "shared"]), "is in region \"\"");
        assert_eq!(create(&w, "Two", &[]).json()["cluster"], "shared");
    });
}

/// Turns red when admission is not looked at, when `cluster add` of a known server opens it, and when a server forgets tenants for it.
#[test]
fn a_closed_cluster_takes_no_new_tenants_and_serves_those_it_has() {
    world(async |w| {
        let one = create(&w, "One", &[]).json();
        let list = w.ctl(&["cluster", "cordon", "shared"]).json();
        assert_eq!((&list[0]["admission"], &list[1]["admission"]), (&json!("cordoned"), &json!("open")));
        let add = ["cluster", "add", "shared", "--kind", "shared", "--budget", "60"];
        assert_eq!(w.ctl_with(&add, &World::superuser_url("shared")).json()[0]["admission"], "cordoned");
        refused(&create(&w, "Two", &[]), "shared is cordoned");
        refused(&create(&w, "Two", &["--cluster", "shared"]), "shared is cordoned");
        assert_eq!(create(&w, "One", &[]).json(), one, "one that is there is found");
        w.as_tenant(crate::crash::id_of(&one)).await.query_one("select 1 from identity", &[]).await.unwrap();

        w.ctl(&["cluster", "cordon", "shared", "--undo"]).json();
        create(&w, "Two", &[]).json();
        let drained = w.ctl(&["cluster", "drain", "shared"]);
        assert_eq!(
            (drained.code, drained.stderr.contains("2 still live there")),
            (Some(5), true),
            "{}",
            drained.stderr
        );
        let says: Value = serde_json::from_str(&drained.stdout).unwrap();
        assert_eq!(says, json!({ "cluster": "shared", "admission": "draining", "tenants_to_move": 2 }));
        refused(&create(&w, "Three", &[]), "shared is draining");
        refused(&w.ctl(&["cluster", "cordon", "missing"]), "there is no cluster missing");
        refused(&w.ctl(&["cluster", "drain", "missing"]), "there is no cluster missing");

        let rows = w.ctl(&["audit", "list"]).json();
        let said: Vec<&Value> =
            rows.as_array().unwrap().iter().filter(|row| row["action"] == "cluster.set_admission").collect();
        let said: Vec<&Value> = said.iter().rev().map(|row| &row["detail"]["admission"]).collect();
        assert_eq!(said, ["cordoned", "open", "draining"]);
    });
}

/// Turns red without `for share` in `clusters::candidates`: the cluster would be closed, and a tenant still come.
#[test]
fn a_cluster_is_closed_only_when_no_creation_is_on_its_way_to_it() {
    world(async |w: Arc<World>| {
        let (db, watching) = (control(&w).await, control(&w).await);
        db.batch_execute("begin; lock table placements in share mode").await.unwrap();
        let waiting = async |what: &str| {
            let sql = "select exists (select from pg_stat_activity where datname = current_database()
                           and wait_event_type = 'Lock' and starts_with(query, $1))";
            until(what, async || watching.query_one(sql, &[&what]).await.unwrap().get(0)).await;
        };
        let run = |args: &'static [&'static str]| {
            let w = Arc::clone(&w);
            tokio::task::spawn_blocking(move || w.ctl(args))
        };
        let creation = run(&["tenant", "create", "--name", "One", "--isolation", "schema", "--no-wait"]);
        waiting("insert into placements").await;
        let cordon = run(&["cluster", "cordon", "shared"]);
        waiting("update clusters").await;
        db.batch_execute("rollback").await.unwrap();
        assert_eq!(creation.await.unwrap().json()["cluster"], "shared");
        assert_eq!(cordon.await.unwrap().code, Some(0));
        refused(&create(&w, "Two", &[]), "shared is cordoned");
    });
}

/// Turns red when placements are not counted, and when the credential stays.
#[test]
fn a_cluster_is_forgotten_only_when_nobody_lives_there() {
    world(async |w| {
        let db = control(&w).await;
        let made = ["tenant", "create", "--isolation", "database", "--name", "One"];
        let tenant = w.ctl(&[&made[..], &["--no-wait"]].concat()).json();
        refused(&w.ctl(&["cluster", "remove", "dedicated"]), "1 tenants that are not erased");
        let drained = w.ctl(&["cluster", "drain", "dedicated"]);
        assert_eq!(drained.code, Some(5), "{}", drained.stderr);
        let job = w.ctl(&["job", "list", "--tenant", &tenant["customer_id"].to_string()]).json()[0]["id"].to_string();
        w.ctl(&["job", "cancel", &job]).json();
        assert_eq!(w.ctl(&["cluster", "drain", "dedicated"]).json()["tenants_to_move"], 0);

        let removed = w.ctl(&["cluster", "remove", "dedicated"]).json();
        assert_eq!(removed["removed"], "dedicated");
        let left = "select (select count(*) from clusters), (select count(*) from cluster_admins)";
        let row = db.query_one(left, &[]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1), "the shared one");
        refused(&w.ctl(&["cluster", "remove", "dedicated"]), "there is no cluster dedicated");
        assert_eq!(w.ctl(&["audit", "list", "--limit", "1"]).json()[0]["action"], "cluster.remove");
        refused(&w.ctl(&made), "there is no dedicated cluster that takes new tenants; shared is shared");

        // What is said to be left is all there is: a superuser who runs it has a server without us.
        let server = w.superuser("dedicated", "postgres").await;
        for sql in removed["left_on_the_server"].as_array().unwrap() {
            server.batch_execute(sql.as_str().unwrap()).await.unwrap();
        }
        let sql = "select (select count(*) from pg_roles where starts_with(rolname, $1))
                        + (select count(*) from pg_database where starts_with(datname, $1))";
        let ours = w.prefix.name("");
        assert_eq!(server.query_one(sql, &[&ours]).await.unwrap().get::<_, i64>(0), 0);

        let add = ["cluster", "add", "dedicated", "--kind", "dedicated", "--budget", "60"];
        assert_eq!(w.ctl_with(&add, &World::superuser_url("dedicated")).json()[1]["admission"], "open");
        w.ctl(&made).json();
    });
}

/// Turns red when a cluster that is away fails the others, and without `pg_read_all_stats`: whose transaction is old could not be seen.
#[test]
fn a_status_says_how_each_cluster_is() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let calm = w.ctl(&["cluster", "status", "shared"]).json();
        assert_eq!((&calm["reachable"], &calm["tenants"], &calm["budget"]), (&json!(true), &json!(1), &json!(60)));
        assert!(calm["version"].as_str().unwrap().starts_with(char::is_numeric), "{calm}");
        for more_than_none in ["connections", "max_connections", "size_bytes"] {
            assert!(calm[more_than_none].as_i64().unwrap() > 0, "{more_than_none}: {calm}");
        }
        let relations = calm["relations"].as_u64().unwrap();
        let estimate = strowger::schema::RELATIONS;
        assert!(
            relations <= estimate && relations > estimate / 2,
            "a tenant has {relations} relations, said are {estimate}"
        );
        assert_eq!(calm["wrong_settings"], json!([]));

        let mut db = w.as_tenant(tenant.id).await;
        let open = db.transaction().await.unwrap();
        open.query_one("select 1 from identity", &[]).await.unwrap();
        let old = async || w.ctl(&["cluster", "status", "shared"]).json()["oldest_transaction_s"].as_i64() >= Some(1);
        until("the open transaction is a second old", old).await;

        let admin = w.prefix.name("admin_a");
        let superuser = w.superuser("shared", "postgres").await;
        superuser.batch_execute(&format!("alter role {admin} set log_statement = 'ddl'")).await.unwrap();
        control(&w).await.execute("update clusters set port = 1 where name = 'dedicated'", &[]).await.unwrap();
        let all = w.ctl(&["cluster", "status"]).json();
        assert_eq!(all[0]["wrong_settings"], json!(["log_statement = 'none'"]));
        assert_eq!((&all[1]["reachable"], &all[1]["version"]), (&json!(false), &Value::Null));
        assert!(all[1]["error"].as_str().unwrap().contains("dedicated"), "{all}");
        refused(&w.ctl(&["cluster", "status", "missing"]), "there is no cluster missing");
    });
}
