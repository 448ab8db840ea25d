//! Compiles: the same things done as they should be.
use strowger::auth::Principal;
use strowger::auth::webhook::{TwilioForm, Verified};
use strowger::control::numbers::NumberRow;
use strowger::tenant::{Router, TenantDb, Write, settings};

async fn allowed(router: &Router, call: &Verified<TwilioForm>, number: &NumberRow, new: &settings::Settings) {
    let Some(who) = Principal::from_call(call, number) else { return };
    let Ok(db): Result<TenantDb<Write>, _> = router.open(&who).await else { return };
    let _ = settings::put(db.conn(), new).await;
}
fn main() {}
