//! E0308: What was opened for reading does not write.
async fn write(db: &strowger::tenant::TenantDb<strowger::tenant::Read>, new: &strowger::tenant::settings::Settings) {
    let _ = strowger::tenant::settings::put(db.conn(), new).await;
}
fn main() {}
