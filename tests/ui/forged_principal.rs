//! E0451: Only a proven request makes a principal.
fn main() {
    let tenant: strowger::id::TenantId = "2".parse().unwrap();
    let _ = strowger::auth::Principal { tenant };
}
