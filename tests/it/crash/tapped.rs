//! A `strowgerctl` all of whose statements to Postgres are counted, and that can be killed at any of them.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::support::counting_proxy::{Moment, Tap};
use crate::support::{World, signal, strowgerctl, world};

/// Where a command of so many statements is killed.
///
/// Everywhere before a statement and everywhere in the middle of one. After a statement means before the next one, as far as
/// Postgres can tell, so only the last one is waited for.
pub(crate) fn deaths(statements: usize, lane: Moment) -> impl Iterator<Item = (usize, Moment)> {
    let last = (lane == Moment::Unsent).then_some((statements, Moment::Unanswered));
    (1..=statements).map(move |at| (at, lane)).chain(last)
}

/// Every so manyth of them, each lane its own, for commands that take long; with `STROWGER_TEST_SWEEPS=whole` all of them.
pub(crate) fn some_deaths(every: usize, statements: usize, lane: Moment) -> impl Iterator<Item = (usize, Moment)> {
    let every = one_in(every);
    let first = usize::from(matches!(lane, Moment::UnderWay | Moment::CutUnanswered)) * (every / 2);
    deaths(statements, lane).skip(first).step_by(every)
}

/// Which share of its moments a sweep takes: one in so many; with `STROWGER_TEST_SWEEPS=whole` each of them.
pub(crate) fn one_in(many: usize) -> usize {
    if is_whole() { 1 } else { many }
}

/// Both halves of a sweep that kills, side by side, each in a world of its own.
pub(crate) fn in_lanes<F: Future<Output = ()>>(situation: impl Fn(Arc<World>, Moment) -> F + Sync) {
    side_by_side(&[Moment::Unsent, Moment::UnderWay], situation);
}

/// The same, and with `STROWGER_TEST_SWEEPS=whole` its connection is cut too: the command lives on to say what it makes of that.
pub(crate) fn in_more_lanes<F: Future<Output = ()>>(situation: impl Fn(Arc<World>, Moment) -> F + Sync) {
    if is_whole() { in_all_lanes(situation) } else { in_lanes(situation) }
}

/// A sweep in one lane of its own, and with `STROWGER_TEST_SWEEPS=whole` in these too.
pub(crate) fn in_lane<F: Future<Output = ()>>(
    lane: Moment,
    when_whole: &[Moment],
    situation: impl Fn(Arc<World>, Moment) -> F + Sync,
) {
    let more = if is_whole() { when_whole } else { &[] };
    side_by_side(&[&[lane][..], more].concat(), situation);
}

/// Killed and cut.
pub(crate) fn in_all_lanes<F: Future<Output = ()>>(situation: impl Fn(Arc<World>, Moment) -> F + Sync) {
    side_by_side(&[Moment::Unsent, Moment::UnderWay, Moment::CutUnsent, Moment::CutUnanswered], situation);
}

/// Whether sweeps that take long are to leave nothing out. All of them then take long on two cores.
pub(crate) fn is_whole() -> bool {
    std::env::var("STROWGER_TEST_SWEEPS").is_ok_and(|sweeps| sweeps == "whole")
}

fn side_by_side<F: Future<Output = ()>>(lanes: &[Moment], situation: impl Fn(Arc<World>, Moment) -> F + Sync) {
    std::thread::scope(|scope| {
        for &lane in lanes {
            let situation = &situation;
            scope.spawn(move || world(|w| situation(w, lane)));
        }
    });
}

/// `strowgerctl` in a world whose control database and clusters are reached through proxies.
pub(crate) struct Tapped {
    tap: Tap,
    config: PathBuf,
    /// What else the command finds in its environment.
    environment: Vec<(&'static str, String)>,
    /// Where control is, and where the proxy before it is.
    ports: (u16, u16),
    /// The command that is being looked at.
    running: AtomicU32,
}

impl Tapped {
    pub(crate) async fn new(world: &World) -> Self {
        let tap = Tap::of("strowgerctl");
        world.tap_clusters(&tap).await;
        let real: tokio_postgres::Config = world.urls.provisioner.parse().unwrap();
        let real = real.get_ports()[0];
        let port = tap.before(([127, 0, 0, 1], real).into()).await;
        let tapped = Self {
            tap,
            config: world.dir.join("strowgerctl-tapped.toml"),
            environment: Vec::new(),
            ports: (real, port),
            running: AtomicU32::new(0),
        };
        tapped.follow(world);
        tapped
    }

    /// The same with more in its environment.
    pub(crate) fn with(self, environment: Vec<(&'static str, String)>) -> Self {
        Self { environment, ..self }
    }

    /// Takes over the world's settings as they are now.
    pub(crate) fn follow(&self, world: &World) {
        let text = std::fs::read_to_string(world.dir.join("strowgerctl.toml")).unwrap();
        let (real, port) = self.ports;
        std::fs::write(&self.config, text.replace(&format!(":{real}/"), &format!(":{port}/"))).unwrap();
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        let mut command = Command::new(strowgerctl());
        command.arg("--config").arg(&self.config).args(["--output", "json"]).args(args);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Runs a command to its end, which must be a good one: its result, and how many statements it sent.
    pub(crate) async fn run(&self, args: &[&str]) -> (Value, usize) {
        self.tap.arm(None);
        let ended = self.spawn(args).wait_with_output().await.unwrap();
        assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
        (serde_json::from_slice(&ended.stdout).unwrap(), self.tap.seen())
    }

    /// Runs a command to whatever end. Each of its statements waits until `look` has been, until that has seen enough.
    pub(crate) async fn look_at_each(
        &self,
        args: &[&str],
        mut look: impl AsyncFnMut() -> ControlFlow<()>,
    ) -> std::process::Output {
        self.tap.arm(None);
        self.tap.pause_each(true);
        let child = self.spawn(args);
        self.running.store(child.id().unwrap(), Ordering::Relaxed);
        let mut ending = Box::pin(child.wait_with_output());
        loop {
            tokio::select! {
                () = self.tap.sprung() => {
                    // Others may have something to say meanwhile.
                    self.tap.pause_each(false);
                    if look().await.is_break() {
                        self.tap.let_all_go_on();
                        break;
                    }
                    self.tap.pause_each(true);
                    self.tap.go_on();
                }
                ended = &mut ending => {
                    self.tap.arm(None);
                    return ended.unwrap();
                }
            }
        }
        let ended = ending.await.unwrap();
        self.tap.arm(None);
        ended
    }

    /// Sends the command that is being looked at a signal.
    pub(crate) fn signal_running(&self, name: &str) {
        signal(self.running.load(Ordering::Relaxed), name);
    }

    /// Runs a command to whatever end. Before its first statement by which `question`, asked of a database, is answered with yes, or so
    /// many statements later, `meanwhile` happens; it must come so far.
    pub(crate) async fn once(
        &self,
        (db, question, mut later): (&tokio_postgres::Client, &str, usize),
        args: &[&str],
        meanwhile: impl AsyncFnOnce(),
    ) -> std::process::Output {
        let mut meanwhile = Some(meanwhile);
        let look = async || {
            if !db.query_one(question, &[]).await.unwrap().get::<_, bool>(0) {
                return ControlFlow::Continue(());
            }
            if later > 0 {
                later -= 1;
                return ControlFlow::Continue(());
            }
            meanwhile.take().unwrap()().await;
            ControlFlow::Break(())
        };
        let ended = self.look_at_each(args, look).await;
        assert!(meanwhile.is_none(), "{args:?}: never {question}");
        ended
    }

    /// Runs a command and stops it at one statement, which it must reach.
    pub(crate) async fn stop(&self, at: usize, moment: Moment, args: &[&str]) {
        assert!(self.stop_or_end(at, moment, args).await, "{args:?} ended before statement {at}");
    }

    /// The same for a command that asks again until servers have answered: whether it was stopped. It may need fewer statements.
    pub(crate) async fn stop_or_end(&self, at: usize, moment: Moment, args: &[&str]) -> bool {
        self.tap.arm(Some((at, moment)));
        if moment.is_cut() {
            // To whatever end it comes.
            self.spawn(args).wait_with_output().await.unwrap();
            let reached = self.tap.seen() >= at;
            self.tap.arm(None);
            return reached;
        }
        let mut child = self.spawn(args);
        let killed = tokio::select! {
            () = self.tap.sprung() => true,
            ended = child.wait() => {
                let mut words = String::new();
                child.stderr.take().unwrap().read_to_string(&mut words).await.unwrap();
                assert!(ended.unwrap().success(), "{args:?} at {at}: {words}");
                false
            }
        };
        let _ = child.kill().await;
        self.tap.arm(None);
        killed
    }
}
