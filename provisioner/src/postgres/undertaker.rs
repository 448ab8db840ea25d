//! What ends a cluster that is not kept, and deletes its folder, when this process ends.
//!
//! A killed process cannot clean up after itself, so a shell beside it does: it waits for the end of its standard input, which is
//! ours.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::{Error, Result};

/// In the folder, the cluster's data.
pub(crate) const CLUSTER: &str = "cluster";
/// In the folder, the process group of a program that still writes there; not there when none does.
pub(crate) const BUSY: &str = "busy";
/// In the folder, a link to the folder of the cluster's socket, if it has one.
pub(crate) const SOCKETS: &str = "sockets";

/// What still writes into the folder has ended, or soon will, by the time it can be deleted.
const WORK: &str = r#"cat >/dev/null
group=$(cat "$1/busy" 2>/dev/null) && kill -KILL -- "-$group" 2>/dev/null
pid=$(head -n 1 "$1/cluster/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
sockets=$(readlink "$1/sockets") && rm -rf "$sockets"
until rm -rf "$1" 2>/dev/null; do sleep 0.5; done"#;

/// The shell. Dropped, it does its work before this returns; it does it too when we are killed.
pub(crate) struct Undertaker(Child);

impl Undertaker {
    /// From here on whatever becomes of the folder is cleaned up.
    pub(crate) fn over(folder: &Path) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", WORK, "undertaker"]).arg(folder).current_dir("/").process_group(0);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        shell.map(Self).map_err(Error::io("run a shell"))
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
