//! `strowgerctl apply` and `strowgerctl export`.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::args::{Apply, Output};
use super::output::{say, show};
use crate::Provisioner;
use crate::declared::{self, Change, Plan};
use crate::error::{Error, Result};

pub(super) async fn apply(with: &Provisioner, args: &Apply, output: Output) -> Result<()> {
    let desired = read(&args.file)?;
    let plan = declared::plan(with, &desired, args.prune).await.map_err(|error| in_file(&args.file, error))?;
    tell(&plan);
    let changes: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    if !args.dry_run && !changes.is_empty() {
        consent(&plan, args.yes)?;
        let count = AtomicUsize::new(0);
        let done = |change: &Change<'_>| {
            let done = count.fetch_add(1, Ordering::Relaxed) + 1;
            say(&format!("{done}/{} {change}", plan.changes.len()));
        };
        let carried_out = declared::carry_out(with, &plan, &done).await;
        if carried_out.is_err() {
            let (done, all) = (count.load(Ordering::Relaxed), plan.changes.len());
            say(&format!("{done} of {all} changes were made; the same command goes on with the others"));
        }
        carried_out?;
    }
    match output {
        Output::Json => show(output, &json!({ "dry_run": args.dry_run, "changes": changes, "kept": plan.kept })),
        Output::Text if args.dry_run => show(output, &format!("{} changes, none made", changes.len()).into()),
        Output::Text => show(output, &format!("{} changes made", changes.len()).into()),
    }
}

fn read(file: &Path) -> Result<declared::Desired> {
    let doing = || Error::io(format!("read {}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(doing())?;
    } else {
        text = std::fs::read_to_string(file).map_err(doing())?;
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    declared::read(&text, folder).map_err(|error| in_file(file, error))
}

fn in_file(file: &Path, error: Error) -> Error {
    match error {
        Error::Conflict(what) => Error::Conflict(format!("{}: {what}", file.display())),
        other => other,
    }
}

/// The plan, for whoever watches.
fn tell(plan: &Plan<'_>) {
    for change in &plan.changes {
        say(&change.to_string());
    }
    for kept in &plan.kept {
        say(&format!("kept as it is, since its environment variable is not set: {kept}"));
    }
    if plan.changes.is_empty() {
        say("nothing to change");
    }
}

/// Asks a person at a terminal. Where nobody can be asked, only what takes something away needs `--yes`.
fn consent(plan: &Plan<'_>, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let taken = plan.changes.iter().filter(|change| change.takes_away()).count();
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return match taken {
            0 => Ok(()),
            _ => {
                Err(Error::Conflict(format!("this takes {taken} numbers and accounts away: say --yes if it is meant")))
            }
        };
    }
    let _ = write!(std::io::stderr(), "carry this out? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(Error::io("read the answer"))?;
    if matches!(answer.trim(), "y" | "yes") { Ok(()) } else { Err(Error::Conflict("nothing was changed".into())) }
}

/// The text alone, whatever --output says: it is for a file.
pub(super) async fn export(with: &Provisioner) -> Result<()> {
    let text = declared::export(with).await?;
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::io("print"))
}
