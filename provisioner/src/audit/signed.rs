//! Signed heads: lines of JSON, of which the last signs all bytes of those before it.
//!
//! Made so that nobody needs this program to check them: without its last line the file is what was signed, with plain
//! Ed25519, by the key in its first line (SECURITY.md shows it with openssl).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use strowger::control::chains::Head;

use crate::signing;

/// How the first line of signed heads begins; rows of an export may stand before it.
const BEGINS: &str = "{\"strowger_audit_heads\":";

/// The first line: what is signed, and by which key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The version of this format: 1.
    pub strowger_audit_heads: u32,
    /// The prefix of the installation.
    pub installation: String,
    /// When, by the clock of who signed.
    pub at: String,
    /// The one tenant that was asked for; else all chains are here.
    pub tenant: Option<i32>,
    /// How many lines of heads follow.
    pub chains: usize,
    /// PEM.
    pub public_key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    signature: String,
}

/// Heads whose signature holds.
#[derive(Debug)]
pub struct Signed {
    /// What the first line says.
    pub statement: Statement,
    /// The heads.
    pub heads: Vec<Head>,
}

/// Whether a line is the first of signed heads.
pub(super) fn begins(line: &str) -> bool {
    line.starts_with(BEGINS)
}

/// The lines, signed.
pub(super) fn sign(pair: &Ed25519KeyPair, installation: &str, at: &str, tenant: Option<i32>, heads: &[Head]) -> String {
    let statement = Statement {
        strowger_audit_heads: 1,
        installation: installation.to_owned(),
        at: at.to_owned(),
        tenant,
        chains: heads.len(),
        public_key: signing::pem(pair),
    };
    let mut lines = line(&statement);
    lines.extend(heads.iter().map(line));
    let signature = STANDARD.encode(pair.sign(lines.as_bytes()));
    lines + &line(&Signature { signature })
}

/// One value as one line. Ours are plain structs, which always can be written.
pub(super) fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// Reads signed heads from their first line on. The error is what is wrong with them.
pub(super) fn read(lines: &str) -> Result<Signed, String> {
    let body = lines.strip_suffix('\n').ok_or("it ends in the middle of a line: its end is missing")?;
    let (signed, last) = body.rsplit_once('\n').ok_or("it ends without a signature")?;
    let signed = &lines[..=signed.len()];
    let Signature { signature } = serde_json::from_str(last).map_err(|_| "it ends without a signature")?;
    let signature = STANDARD.decode(signature).map_err(|_| "its signature is not base64")?;
    let mut parts = signed.lines();
    let statement: Statement = serde_json::from_str(parts.next().unwrap_or_default())
        .map_err(|_| "its heads do not begin as this version of strowgerctl writes them")?;
    let public = signing::from_pem(&statement.public_key).ok_or("its public key is not an Ed25519 key in PEM")?;
    UnparsedPublicKey::new(&ED25519, public)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "its signature does not hold: it was changed after it was signed")?;
    let heads: Result<Vec<Head>, _> = parts.map(serde_json::from_str).collect();
    let heads = heads.map_err(|_| "a line of its heads cannot be understood")?;
    if statement.strowger_audit_heads != 1 || statement.chains != heads.len() {
        return Err("its heads are not of a version that this strowgerctl knows".into());
    }
    Ok(Signed { statement, heads })
}
