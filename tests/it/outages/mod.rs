//! A server dies with all its processes, at every step of a tenant's life (created, suspended, rotated, deleted, erased), of a backup, a
//! restore in place or as a new tenant, its undoing, and a move: where the tenant lives, where it moves to, or the control database. A run
//! over the fleet: `fleet/outages.rs`. It comes back before its client goes on, or once the client has given up. The same command, run
//! again, makes it whole: the tenant is served in one place, what was acknowledged is there once, and nothing is left of the attempt.
//!
//! How many statements each step sends is seen in a run that nobody disturbs, and each step that the code has must be among them. Each
//! step is struck before its first statement, and a long one at some more; with `STROWGER_TEST_SWEEPS=whole` at all of them.

mod backups;
mod life;
mod moves;
mod restores;
mod unlucky;
mod writer;

use std::ops::ControlFlow;
use std::process::Output;

use serde_json::Value;
use strowger::control::jobs::Kind;
use tokio_postgres::Client;

use crate::crash::is_sound;
use crate::crash::tapped::{Tapped, is_whole};
use crate::support::World;

/// A step is struck once in so many statements, and then so many times at most: the more there are, the more of them only look.
const STRETCH: usize = 25;
const STRETCHES: usize = 3;

/// When a server that died is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Back {
    /// Before whoever talks to it finds out.
    AtOnce,
    /// When the command has come to its end.
    Later,
}

/// One server's death.
#[derive(Debug, Clone)]
struct Death {
    /// During which step; `None` before there is a job.
    step: Option<String>,
    /// Before which of the statements that the step sends.
    statement: usize,
    /// Which of the servers that take part; their order is the test's.
    who: usize,
    back: Back,
}

/// At which step the job is that somebody is at.
async fn step_now(control: &Client) -> Option<String> {
    let step = "select step from jobs where state = 'running' order by id desc limit 1";
    control.query_opt(step, &[]).await.unwrap()?.get(0)
}

/// How many statements a command sends at each step of its job, in order; `None` before there is a job.
///
/// Turns red when a step of that kind sends none, and so would not be struck.
async fn steps_of(w: &World, tapped: &Tapped, kind: Kind, command: &[&str]) -> Vec<(Option<String>, usize)> {
    let control = crate::jobs::control(w).await;
    let mut steps: Vec<(Option<String>, usize)> = Vec::new();
    let look = async || {
        let now = step_now(&control).await;
        match steps.last_mut() {
            Some((step, statements)) if *step == now => *statements += 1,
            // The command's last words come when its job is done.
            Some(_) if now.is_none() => {}
            _ => steps.push((now, 1)),
        }
        ControlFlow::Continue(())
    };
    let ended = tapped.look_at_each(command, look).await;
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    let seen: Vec<&str> = steps.iter().filter_map(|(step, _)| step.as_deref()).collect();
    assert_eq!(seen, provisioner::jobs::steps(kind), "every step is struck");
    println!("{command:?}: {} steps, with statements: {steps:?}", seen.len());
    steps
}

/// Who dies when, of so many servers that take part.
fn deaths(steps: &[(Option<String>, usize)], servers: usize) -> Vec<Death> {
    let mut deaths = Vec::new();
    let mut add = |step: &Option<String>, statement, who, back| {
        deaths.push(Death { step: step.clone(), statement, who, back });
    };
    for (place, (step, statements)) in steps.iter().enumerate() {
        if is_whole() {
            for statement in 0..*statements {
                for who in 0..servers {
                    add(step, statement, who, Back::AtOnce);
                    add(step, statement, who, Back::Later);
                }
            }
            continue;
        }
        let back = |n: usize| if n.is_multiple_of(2) { Back::Later } else { Back::AtOnce };
        for who in 0..servers {
            add(step, 0, who, back(place + who));
        }
        for further in (1..=STRETCHES).take_while(|further| further * STRETCH < *statements) {
            add(step, further * STRETCH, further % servers, back(further / servers));
        }
    }
    deaths
}

/// Runs a command to whatever end. Before a statement of a step something happens; how it ended, if it came so far.
async fn before(
    w: &World,
    tapped: &Tapped,
    (step, statement): (Option<&str>, usize),
    command: &[&str],
    meanwhile: impl AsyncFnOnce(),
) -> Option<Output> {
    let control = crate::jobs::control(w).await;
    let (mut seen, mut meanwhile) = (0, Some(meanwhile));
    let look = async || {
        if step_now(&control).await.as_deref() != step {
            return ControlFlow::Continue(());
        }
        seen += 1;
        if seen <= statement {
            return ControlFlow::Continue(());
        }
        meanwhile.take().unwrap()().await;
        ControlFlow::Break(())
    };
    let ended = tapped.look_at_each(command, look).await;
    meanwhile.is_none().then_some(ended)
}

/// Runs a command, kills a server at its moment, and has it back; whether the command has done its work all the same.
///
/// Every step must come. That many statements need not: how often a command looks depends on when it looks.
async fn strike(w: &World, tapped: &Tapped, death: &Death, server: &str, command: &[&str]) -> bool {
    let die = async || {
        w.servers().kill(server);
        if death.back == Back::AtOnce {
            w.servers().start_again(server).await;
        }
    };
    let ended = before(w, tapped, (death.step.as_deref(), death.statement), command, die).await;
    let Some(ended) = ended else {
        assert!(death.statement > 0, "{command:?} did not come to {death:?}");
        return true;
    };
    if death.back == Back::Later {
        w.servers().start_again(server).await;
    }
    ended.status.success()
}

/// Strikes a command at every step of its job: the server where its tenant lives, and the control database.
///
/// `begin` makes what the command is about, which it says; `is_so` looks at what the same command, run again, has made of it.
async fn struck_everywhere(
    w: &World,
    (kind, home): (Kind, &str),
    mut begin: impl AsyncFnMut(usize) -> Vec<String>,
    mut is_so: impl AsyncFnMut(&Value, &str),
) {
    let servers = [home, "control"];
    let tapped = Tapped::new(w).await;
    let steps = steps_of(w, &tapped, kind, &words(&begin(0).await)).await;
    let deaths = deaths(&steps, servers.len());
    for (n, death) in deaths.iter().enumerate() {
        let (server, when) = (servers[death.who], format!("{} {death:?}", servers[death.who]));
        let command = begin(n + 1).await;
        strike(w, &tapped, death, server, &words(&command)).await;
        let (found, _) = tapped.run(&words(&command)).await;
        is_so(&found, &when).await;
    }
    println!("{}: {} deaths of the tenant's cluster and the control database", kind.as_str(), deaths.len());
    is_sound(w);
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
