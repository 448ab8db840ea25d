//! What a call to the model will have cost, until that is known.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::control::usage::{self, Purpose, Reserved, Used};
use crate::control::{Control, ControlError};
use crate::providers::model::Tokens;
use crate::vault::Scope;

/// What a call comes to.
pub(super) struct Cost {
    /// What for.
    pub(super) purpose: Purpose,
    /// Whose key.
    pub(super) paid_by: Scope,
    /// The provider's name of the model.
    pub(super) model: String,
    /// Tokens read.
    pub(super) prompt_tokens: i64,
    /// Tokens written.
    pub(super) completion_tokens: i64,
}

/// A reservation whose call is under way. Dropped with it, because a client went away or a request took too long, it is settled as if the
/// call had cost all that it can: the provider has been asked.
pub(super) struct Unsettled {
    control: Control,
    cost: Cost,
    reserved: Option<Reserved>,
}

impl Unsettled {
    /// One that may come to that.
    pub(super) fn new(control: &Control, reserved: Reserved, cost: Cost) -> Self {
        Self { control: control.clone(), cost, reserved: Some(reserved) }
    }

    /// Puts what the provider counted in the place of the reservation, or, for `None`, gives it back; in a task of its own, which whoever asked
    /// does not take along when they go. What the provider did not count is taken as it was reserved. A failure here leaves the
    /// reservation: the tenant has its answer, and its budget errs on the careful side.
    pub(super) fn end(&mut self, counted: Option<Tokens>) -> Option<JoinHandle<()>> {
        let reserved = self.reserved.take()?;
        // None while a process ends.
        let runtime = Handle::try_current().ok()?;
        let (control, cost) = (self.control.clone(), &self.cost);
        let (purpose, paid_by, model) = (cost.purpose, cost.paid_by, cost.model.clone());
        let tokens = counted.map(|counted| {
            (
                counted.prompt_tokens.map_or(cost.prompt_tokens, i64::from),
                counted.completion_tokens.map_or(cost.completion_tokens, i64::from),
            )
        });
        Some(runtime.spawn(async move {
            noted(match tokens {
                Some((prompt_tokens, completion_tokens)) => {
                    let used = Used { purpose, paid_by, model: &model, prompt_tokens, completion_tokens };
                    usage::settle(&control, reserved, &used).await
                }
                None => usage::release(&control, reserved).await,
            });
        }))
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        drop(self.end(Some(Tokens::default())));
    }
}

fn noted(done: Result<(), ControlError>) {
    if let Err(error) = done {
        tracing::warn!(%error, "a model call is not settled: its reservation stays in the tenant's day");
    }
}
