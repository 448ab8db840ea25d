//! E0624: SQL is run by the domain files of `tenant` and by nobody else.
async fn query(db: &strowger::tenant::TenantDb<strowger::tenant::Read>) {
    let _ = db.conn().query("select 1", &[]).await;
}
fn main() {}
