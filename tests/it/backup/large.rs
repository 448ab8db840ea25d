//! However much a tenant has, little of it is in memory at once.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use strowger::control::clusters::Isolation;

use super::{psql, store, url_of};
use crate::support::{World, strowgerctl, world};

/// Of a tenant's text; and what a command may have in memory, a build with debug assertions and all of its libraries included.
const TEXT: u64 = 100 << 20;
const LIMIT: u64 = TEXT + (50 << 20);

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
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(ended.success(), "{args:?}");
    println!("{args:?}: at most {} MiB in memory", most >> 20);
    most
}

/// Turns red when a backup is read before it is restored, or a table before it is written.
#[test]
fn a_large_tenant_is_backed_up_and_restored_in_little_memory() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        // Text that does not compress, where no index is made of it.
        let sql = format!(
            "insert into {}.outbox (kind, source_id, payload)
             select 'large', n % 2000, to_jsonb(string_agg(encode(sha512((random()::text || n)::bytea), 'base64'), ''))
             from generate_series(1, 1260000) n group by n % 2000",
            tenant.schema
        );
        psql(&url_of(&tenant), &["-c", &sql], "");
        let to = store(&w);
        let create = measured(&w, &["backup", "create", "--tenant", "1", "--to", to.to_str().unwrap()]);
        let listed = w.ctl(&["backup", "list"]).json();
        assert!(listed[0]["bytes"].as_u64().unwrap() > TEXT, "{listed}");
        let id = listed[0]["id"].as_str().unwrap();
        let restore = measured(&w, &["backup", "restore", id, "--in-place"]);
        let out = w.dir.join("out");
        let extract = measured(&w, &["backup", "extract", id, "--out", out.to_str().unwrap()]);
        assert!(
            [create, restore, extract].iter().all(|most| *most > 1 << 20 && *most < LIMIT),
            "{create} {restore} {extract}"
        );
    });
}
