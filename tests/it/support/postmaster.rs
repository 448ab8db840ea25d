//! A cluster's server as processes: who runs its data folder, stopped, killed as a machine dies, started again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Who runs a data folder, if anybody.
pub(crate) fn pid(data: &Path) -> Option<u32> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid: u32 = text.lines().next()?.parse().ok()?;
    is_alive(pid).then_some(pid)
}

/// Starts it again as it was started before. It may not be ready yet when this returns.
pub(crate) fn start(data: &Path) {
    let options = fs::read_to_string(data.join("postmaster.opts")).unwrap();
    let words: Vec<&str> = options.split_whitespace().map(|word| word.trim_matches('"')).collect();
    let owner = fs::metadata(data).unwrap();
    let mut postgres = Command::new(words[0]);
    postgres.args(&words[1..]).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = postgres.uid(owner.uid()).gid(owner.gid()).process_group(0).spawn().unwrap();
    std::thread::spawn(move || running.wait());
}

/// Kills every process of it at once. What was acknowledged is with the operating system, as it would be on a disk.
pub(crate) fn kill(data: &Path) {
    let Some(postmaster) = pid(data) else { return };
    let all: Vec<u32> = [postmaster].into_iter().chain(children(postmaster)).collect();
    // The parent first: it would start anew what it misses. Some may have ended by themselves.
    let pids: Vec<String> = all.iter().map(u32::to_string).collect();
    let shot = format!("kill -KILL {} 2>/dev/null; true", pids.join(" "));
    assert!(Command::new("sh").args(["-c", &shot]).status().unwrap().success());
    while all.iter().any(|pid| is_alive(*pid)) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // Whoever adopted it may be slow to bury it, and who comes after it would take it for alive.
    let _ = fs::remove_file(data.join("postmaster.pid"));
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before them is in brackets and may hold anything.
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent)).collect()
}
