//! The hash of a row, said a second time: control-migrations/V3 says it in SQL, and `audit verify` holds both together.

use aws_lc_rs::digest;
use strowger::control::chains::Row;

/// What stands before the first row of a chain.
pub const BEGINNING: [u8; 32] = [0; 32];

/// The bytes that a row's hash covers: the hash before it, and each column as text with its length before it.
///
/// The lengths are what keeps two different rows from being the same bytes.
pub fn encode(row: &Row) -> Vec<u8> {
    let tenant = row.tenant_id.map(|id| id.to_string()).unwrap_or_default();
    let fields = [
        "strowger audit 1",
        &row.chain.to_string(),
        &row.seq.to_string(),
        &row.id.to_string(),
        &row.at.to_string(),
        &row.actor,
        &row.action,
        &tenant,
        &row.detail,
    ];
    let mut out = row.previous.clone();
    for field in fields {
        // Postgres holds no text of 4 GiB.
        out.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(field.as_bytes());
    }
    out
}

/// SHA-256 of [`encode`].
pub fn of(row: &Row) -> Vec<u8> {
    digest::digest(&digest::SHA256, &encode(row)).as_ref().to_vec()
}
