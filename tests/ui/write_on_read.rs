//! E0308: What was opened for reading does not write.
async fn write(db: &strowger::tenant::TenantDb<strowger::tenant::Read>, new: &strowger::persona::Configuration) {
    let _ = strowger::tenant::configurations::add(db.conn(), 1, new, "nobody").await;
}
fn main() {}
