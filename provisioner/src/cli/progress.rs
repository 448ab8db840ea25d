//! A line that says how far a job is, on a terminal only; scripts and logs get none.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use strowger::control::jobs::{Job, State};

use super::output::say;

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
        bar.set_message(job.step.clone().unwrap_or_default());
        if !job.state.is_open() {
            bar.finish_and_clear();
        }
    }
}
