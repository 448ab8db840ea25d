//! E0308: A bare id opens nothing.
async fn open(router: &strowger::tenant::Router, tenant: strowger::id::TenantId) {
    let _ = router.open::<strowger::tenant::Read>(&tenant).await;
}
fn main() {}
