//! The audit log: chained as it is written, closed to who writes it, and proven by the real `strowgerctl`.

mod encoding;
mod exports;
mod grants;
mod tampering;
mod together;
mod upgrade;

use serde_json::Value;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;

use crate::support::World;

/// A tenant with a life that leaves some rows.
async fn busy_tenant(w: &World, name: &str) -> TenantId {
    let id = w.tenant(name, Isolation::Schema).await.id;
    let text = id.to_string();
    for verb in ["suspend", "resume"] {
        w.ctl(&["tenant", verb, &text, "--reason", "o'clock \"\\ ünïcode 🎷"]).json();
    }
    w.token(id, &[]).await;
    id
}

/// `chain seq finding` of each line that `audit verify` shows; nothing is found, and it says so, or it fails.
fn findings(w: &World, more: &[&str]) -> Vec<String> {
    let ran = w.ctl(&[&["audit", "verify"], more].concat());
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    if ran.code == Some(0) {
        assert!(shown["rows"].as_i64().unwrap() > 0, "rows were looked at: {shown}");
        return Vec::new();
    }
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let lines: Vec<&Value> = shown.as_array().unwrap().iter().collect();
    assert!(ran.stderr.contains(lines[0]["explanation"].as_str().unwrap()), "the error names it: {}", ran.stderr);
    lines.iter().map(|f| format!("{} {} {}", f["chain"], f["seq"], f["finding"].as_str().unwrap())).collect()
}
