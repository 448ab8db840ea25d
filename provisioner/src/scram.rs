//! SCRAM-SHA-256 verifiers (RFC 5802), made here so that no password travels to Postgres or stands in its log.

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strowger::vault::Secret;

use crate::error::{Error, Result};

/// Stretching protects guessable passwords; ours are 256 random bits, and one iteration halves the cost of connecting.
const ITERATIONS: u32 = 1;

/// What `alter role … password` takes in place of the password.
pub(crate) fn verifier(password: &Secret) -> Result<String> {
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(|_| Error::Unavailable("the system gives no random numbers".into()))?;
    Ok(with_salt(password.expose(), &salt))
}

fn with_salt(password: &[u8], salt: &[u8]) -> String {
    // PBKDF2 of one iteration is one HMAC over the salt and the block's number.
    let salted = mac(password, &[salt, &1u32.to_be_bytes()].concat());
    let stored_key = digest::digest(&digest::SHA256, &mac(&salted, b"Client Key"));
    let server_key = mac(&salted, b"Server Key");
    let [salt, stored, server] = [salt, stored_key.as_ref(), &server_key].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}
