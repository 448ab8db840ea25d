use zeroize::Zeroizing;

/// Bytes that must not be printed. Wiped when dropped; no `Debug`, no `Serialize`, no comparison.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// 256 random bits in URL-safe base64 (43 characters): a password nobody types.
    pub fn random_password() -> Self {
        use base64::Engine as _;
        let bytes = Zeroizing::new(super::envelope::random::<32>());
        Self::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes.as_ref()).into_bytes())
    }

    /// The bytes, for the one call that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text; `None` when they are not UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}
