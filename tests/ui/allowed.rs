//! Compiles: the same things done as they should be.
use strowger::auth::Principal;
use strowger::auth::webhook::{TwilioForm, Verified};
use strowger::control::numbers::NumberRow;
use strowger::persona::Configuration;
use strowger::tenant::{Router, TenantDb, Write, configurations};

async fn allowed(router: &Router, call: &Verified<TwilioForm>, number: &NumberRow, new: &Configuration) {
    let Some(who) = Principal::from_call(call, number) else { return };
    let Ok(db): Result<TenantDb<Write>, _> = router.open(&who).await else { return };
    let _ = configurations::add(db.conn(), 1, new, "an operator").await;
}
fn main() {}
