//! An import killed with SIGKILL at every statement it sends to a tenant: every batch, while Postgres takes it.

use std::cell::Cell;
use std::process::Stdio;

use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use tokio::process::{Child, Command};

use super::legacy::{Legacy, MEMORIES};
use super::{MAPPING, report, three};
use crate::crash::tapped::deaths;
use crate::support::counting_proxy::{Moment, Tap};
use crate::support::{Ran, World, strowgerctl, world};

async fn forget(w: &World, tenants: &[Tenant]) {
    for tenant in tenants {
        let cluster = if tenant.isolation == Isolation::Schema { "shared" } else { "dedicated" };
        let db = w.superuser(cluster, &tenant.database).await;
        db.batch_execute(&format!("truncate {}.memories cascade", tenant.schema)).await.unwrap();
    }
}

/// An import of the legacy database into the three tenants, in small batches.
struct Again<'a> {
    w: &'a World,
    legacy: &'a Legacy,
    tenants: &'a [Tenant],
    runs: Cell<usize>,
}

impl Again<'_> {
    fn spawn(&self) -> Child {
        self.runs.set(self.runs.get() + 1);
        let mut command = Command::new(strowgerctl());
        command.arg("--config").arg(self.w.dir.join("strowgerctl.toml")).args(["--output", "json", "import", "run"]);
        command.args(["--mapping", MAPPING, "--source-url", &self.legacy.url, "--batch", "40", "--rejects"]);
        command.arg(self.w.dir.join(format!("rejects-{}", self.runs.get())));
        command
            .args(self.tenants.iter().zip([10, 20, 30]).map(|(tenant, old)| format!("--tenant={old}={}", tenant.id)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    }

    /// To its end, after which psql finds the same on both sides.
    async fn whole(&self) {
        let ended = self.spawn().wait_with_output().await.unwrap();
        let [stdout, stderr] = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        let ran = Ran { code: ended.status.code(), stdout, stderr };
        assert_eq!(report(&ran, 5)["verdict"], "equal");
        self.legacy.equals(self.w, self.tenants, &[MEMORIES]).await;
    }
}

/// Turns red when ids of serial rows are made anew each time: the second run doubles what the first one wrote.
#[test]
fn an_import_killed_at_every_batch_is_finished_when_run_again() {
    world(async |w| {
        let tenants = three(&w).await;
        let legacy = Legacy::new(&w).await;
        legacy.fill(240).await;
        legacy
            .run(
                "update memories set value = 'short' || id where length(value) > 100000;
                    drop table call_summaries, caller_profiles, personality_metrics, personality_averages",
            )
            .await;
        let tap = Tap::of("strowgerctl import");
        w.tap_clusters(&tap).await;
        let again = Again { w: &w, legacy: &legacy, tenants: &tenants, runs: Cell::new(0) };
        tap.arm(None);
        again.whole().await;
        let statements = tap.seen();
        let last = deaths(statements, Moment::Unsent).last();
        for (at, moment) in deaths(statements, Moment::UnderWay).chain(last) {
            forget(&w, &tenants).await;
            tap.arm(Some((at, moment)));
            let mut child = again.spawn();
            tokio::select! {
                () = tap.sprung() => child.kill().await.unwrap(),
                _ = child.wait() => panic!("it ended before statement {at} of {statements}"),
            }
            tap.arm(None);
            again.whole().await;
        }
        println!("import: killed at each of {statements} statements to tenants");
        assert!(statements > 20, "the control: every batch is among them");
    });
}
