//! Where a page of a list ended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use uuid::Uuid;

/// The last row's time and what tells it from others of that instant. Opaque on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<K = Uuid> {
    pub(super) at: OffsetDateTime,
    pub(super) key: K,
}

/// What tells rows of one instant apart.
pub trait Key: Sized {
    /// As bytes.
    fn to_bytes(&self) -> Vec<u8>;
    /// Back again, if they are one.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Key for Uuid {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

impl Key for String {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = Self::from_utf8(bytes.to_vec()).ok()?;
        // Postgres has no such text; a cursor that holds one is not ours.
        (!text.contains('\0')).then_some(text)
    }
}

impl<K: Key> Cursor<K> {
    /// Reads what an earlier answer gave.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nanos, key) = bytes.split_first_chunk::<16>()?;
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from_be_bytes(*nanos)).ok()?;
        // Postgres has no such instants; a cursor that names one is not ours.
        (1900..=9999).contains(&at.year()).then_some(())?;
        Some(Self { at, key: K::from_bytes(key)? })
    }
}

impl<K: Key> std::fmt::Display for Cursor<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = [self.at.unix_timestamp_nanos().to_be_bytes().as_slice(), &self.key.to_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// The first `limit` rows, and where to go on if there was one more.
pub(super) fn split<T, K>(
    mut rows: Vec<T>,
    limit: i64,
    cursor: impl Fn(&T) -> Cursor<K>,
) -> (Vec<T>, Option<Cursor<K>>) {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(cursor);
    (rows, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_survive_the_wire(nanos in 0i64..i64::MAX, id in any::<u128>(), name in "[^\0]{0,40}") {
            let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).unwrap();
            let cursor = Cursor { at, key: Uuid::from_u128(id) };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
            let cursor = Cursor { at, key: name };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,60}") {
            let _ = Cursor::<Uuid>::parse(&text);
            let _ = Cursor::<String>::parse(&text);
        }
    }
}
