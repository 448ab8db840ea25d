//! However much a tenant has, little of it is in memory at once.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use strowger::control::clusters::Isolation;

use super::{psql, store, url_of};
use crate::support::{World, strowgerctl, world};

/// Of a tenant's text, which does not compress, in megabytes: so much in rows of four kilobytes, and so many values of a megabyte each.
const SMALL: u64 = 24;
const LARGE: u64 = 8;
/// How much more a command may have in memory than for a tenant that has next to nothing. Seen were 7 to 20 MiB, of 88 MiB too.
const MORE: u64 = 24 << 20;

/// What a process has had in memory at most, so far; `None` once it has ended.
fn peak(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().unwrap() << 10)
}

/// Runs a command to its good end; the most that it had in memory.
fn measured(w: &World, args: &[&str]) -> u64 {
    let mut command = Command::new(strowgerctl());
    command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(args).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        most = most.max(peak(&child).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success() && most > 1 << 20, "{args:?}: {most}");
    most
}

/// The most that each command had in memory that carries all of a tenant.
fn all_measured(w: &World) -> [(&'static str, u64); 3] {
    let to = store(w);
    let create = measured(w, &["backup", "create", "--tenant", "1", "--to", to.to_str().unwrap()]);
    let newest = w.ctl(&["backup", "list"]).json()[0]["id"].as_str().unwrap().to_owned();
    [
        ("create", create),
        ("verify", measured(w, &["backup", "verify", &newest])),
        ("restore", measured(w, &["backup", "restore", &newest, "--in-place"])),
    ]
}

/// Turns red when a table's pieces, or its rows, are gathered before they are sent on.
#[test]
fn a_large_tenant_is_backed_up_and_restored_in_little_memory() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let little = all_measured(&w);
        // Where no index is made of it. A piece of a backup is compressed by itself, and has next to nothing twice.
        let sql = format!(
            "set search_path = {};
             create temp table slices as
             select n / 47 as slice, translate(string_agg(encode(sha512(n::text::bytea), 'base64'), ''), e'\\n', '') as text
             from generate_series(0, 47 * 256 - 1) n group by 1;
             insert into outbox (kind, source_id, payload)
             select 'small', n || ' ' || slice, to_jsonb(text) from slices, generate_series(1, {SMALL}) n;
             insert into personality_averages (user_id, averages, calls)
             select n, to_jsonb((select string_agg(text, '') from slices)), 1 from generate_series(1, {LARGE}) n",
            tenant.schema
        );
        psql(&url_of(&tenant), &["-f", "-"], &sql);
        let much = all_measured(&w);
        let backup = &w.ctl(&["backup", "list"]).json()[0];
        assert!(backup["stored_bytes"].as_u64().unwrap() > (SMALL + LARGE) << 19, "{backup}");
        for ((command, little), (_, much)) in little.into_iter().zip(much) {
            println!(
                "backup {command}: at most {} MiB in memory, {} MiB for next to nothing",
                much >> 20,
                little >> 20
            );
            assert!(much < little + MORE, "{command}: {much}, {little} for next to nothing");
        }
    });
}
