//! A line that says how far a job or a run is, on a terminal only; scripts and logs get none.

use std::io::IsTerminal as _;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use strowger::control::jobs::{Job, State};

use super::output::say;
use crate::fleet::{Step, Watch};

/// Shows jobs as they go; one that is only written down is named, for `job wait`.
pub(super) fn reporter(no_wait: bool) -> impl Fn(&Job) + Send + Sync {
    // Drawn to standard error, and not at all if that is not a terminal.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("· {prefix} {bar:24} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    move |job| {
        if no_wait && job.state == State::Queued {
            return say(&format!("job {0} is queued: `strowgerctl job wait {0}`", job.id));
        }
        bar.set_prefix(format!("{} {}", job.kind.as_str(), job.subject));
        bar.set_length(u64::try_from(job.steps_total).unwrap_or(0));
        bar.set_position(u64::try_from(job.steps_done).unwrap_or(0));
        let step = job.step.as_deref().unwrap_or_default();
        bar.set_message(job.detail.as_ref().map_or_else(|| step.to_owned(), |detail| format!("{step}: {detail}")));
        if !job.state.is_open() {
            bar.finish_and_clear();
        }
    }
}

/// A bar if somebody looks on, else nothing. It goes when the run lets go of it.
pub(super) fn watch() -> Watch {
    if !std::io::stderr().is_terminal() {
        return Arc::new(|_| ());
    }
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} tenants, {per_sec}, {eta} left{msg}") {
        bar.set_style(style);
    }
    Arc::new(move |step: Step| {
        bar.set_length(u64::try_from(step.of).unwrap_or_default());
        bar.set_position(u64::try_from(step.over).unwrap_or_default());
        if step.failed > 0 {
            bar.set_message(format!(", {} failed", step.failed));
        }
    })
}
