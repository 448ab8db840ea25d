//! The installation's Ed25519 key, the audit key, for what outlives it: heads of the audit log and receipts of erasures.
//!
//! What is signed needs no program of ours to be checked: lines of text, of which the last holds the signature over all
//! bytes before it, by plain Ed25519 (SECURITY.md shows it with openssl).

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strowger::control::chains;
use strowger::control::keys::Ring;

use crate::Provisioner;
use crate::error::{Error, Result};

/// The row that the key is sealed for.
const KEY: &str = "audit";

/// What DER puts before the 32 bytes of an Ed25519 public key.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key; made when it is first asked for.
pub(crate) async fn key(with: &Provisioner) -> Result<Ed25519KeyPair> {
    if let Some(pair) = find(with).await? {
        return Ok(pair);
    }
    let random = |_| Error::Unavailable("the system gives no random numbers".into());
    let pair = Ed25519KeyPair::generate().map_err(random)?;
    let private = zeroize::Zeroizing::new(pair.to_pkcs8v1().map_err(random)?.as_ref().to_vec());
    let sealed = with.platform_key(Ring::Admin).await?.seal(KEY, &private);
    let mut change = with.control.change(&with.actor).await?;
    chains::add_key(&mut change, pair.public_key().as_ref(), &sealed).await?;
    change.commit().await?;
    // Another process may have been first: its key is the one that stays.
    find(with).await?.ok_or_else(|| Error::Unavailable("the new audit key is not there yet".into()))
}

/// The key, if it was made.
pub(crate) async fn find(with: &Provisioner) -> Result<Option<Ed25519KeyPair>> {
    let Some(sealed) = chains::key(&with.control).await? else { return Ok(None) };
    let what = "the audit key";
    let private = with.platform_key(Ring::Admin).await?.open(KEY, &sealed).map_err(Error::vault(what))?;
    let pair = Ed25519KeyPair::from_pkcs8(private.expose());
    pair.map(Some).map_err(|_| Error::Conflict(format!("{what} is malformed in the control database")))
}

/// The public half as openssl reads it.
pub(crate) fn pem(pair: &Ed25519KeyPair) -> String {
    let der = [SPKI.as_slice(), pair.public_key().as_ref()].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

/// The 32 bytes of an Ed25519 public key.
pub(crate) fn from_pem(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).ok()?.strip_prefix(SPKI.as_slice()).map(<[u8]>::to_vec)
}

/// The signature over a line and its end.
pub(crate) fn sign(pair: &Ed25519KeyPair, line: &str) -> Vec<u8> {
    pair.sign(format!("{line}\n").as_bytes()).as_ref().to_vec()
}

/// The line, and a last line with its signature.
pub(crate) fn signed(line: &str, signature: &[u8]) -> String {
    format!("{line}\n{}\n", serde_json::json!({ "signature": STANDARD.encode(signature) }))
}
