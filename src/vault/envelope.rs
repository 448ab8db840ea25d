//! One AES-256-GCM envelope: `version (1) | key id length (1) | key id | nonce (12) | ciphertext and tag`.

use aes_gcm::aead::{Aead, Generate, KeyInit, Nonce, Payload};
use aes_gcm::{Aes256Gcm, Key};

use super::VaultError;

const VERSION: u8 = 1;
const NONCE: usize = 12;

pub(super) type KeyBytes = zeroize::Zeroizing<[u8; 32]>;

/// Random bytes from the operating system.
pub(super) fn random<const N: usize>() -> [u8; N] {
    <[u8; N]>::generate()
}

pub(super) fn seal(key: &KeyBytes, key_id: &[u8], associated: &[&[u8]], plain: &[u8]) -> Vec<u8> {
    let nonce = Nonce::<Aes256Gcm>::generate();
    let payload = Payload { msg: plain, aad: &frame(associated) };
    // AES-GCM refuses only messages over 64 GiB; nothing here comes near, and an empty result would fail to open.
    let ciphertext = cipher(key).encrypt(&nonce, payload).unwrap_or_default();
    let id_len = u8::try_from(key_id.len()).unwrap_or(u8::MAX);
    [&[VERSION, id_len], key_id, nonce.as_slice(), &ciphertext].concat()
}

/// The key id in the header, and the rest.
pub(super) fn header(sealed: &[u8]) -> Result<(&[u8], &[u8]), VaultError> {
    let [VERSION, id_len, rest @ ..] = sealed else { return Err(VaultError::Malformed) };
    rest.split_at_checked(usize::from(*id_len))
        .filter(|(_, body)| body.len() >= NONCE + 16)
        .ok_or(VaultError::Malformed)
}

pub(super) fn open(key: &KeyBytes, body: &[u8], associated: &[&[u8]]) -> Result<super::Secret, VaultError> {
    let (nonce, ciphertext) = body.split_at_checked(NONCE).ok_or(VaultError::Malformed)?;
    let nonce = Nonce::<Aes256Gcm>::try_from(nonce).map_err(|_| VaultError::Malformed)?;
    let payload = Payload { msg: ciphertext, aad: &frame(associated) };
    cipher(key).decrypt(&nonce, payload).map(super::Secret::new).map_err(|_| VaultError::Refused)
}

fn cipher(key: &KeyBytes) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(**key))
}

/// Each part with its length before it, so that no two lists of parts give the same bytes.
fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![VERSION];
    for part in parts {
        out.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        out.extend(*part);
    }
    out
}
