//! Live progress on standard error, for people only.

use std::io::IsTerminal as _;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use crate::fleet::{Step, Watch};

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
