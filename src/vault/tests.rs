use proptest::prelude::*;

use super::*;
use crate::id::TenantId;

fn ring(id: &str) -> MasterRing {
    MasterRing::parse(&MasterRing::generate(id)).unwrap()
}

fn tenant(id: i32) -> Scope {
    Scope::Tenant(TenantId::try_from(id).unwrap())
}

#[test]
fn a_short_missing_or_doubled_key_is_refused() {
    assert!(matches!(MasterRing::parse(""), Err(RingError::Empty)));
    assert!(matches!(MasterRing::parse("# only a comment\n"), Err(RingError::Empty)));
    assert!(matches!(MasterRing::parse("k1:AAAA"), Err(RingError::Length { bytes: 3, .. })));
    assert!(matches!(MasterRing::parse("no colon"), Err(RingError::Line(1))));
    assert!(matches!(MasterRing::parse("k1:***"), Err(RingError::Line(1))));
    let line = MasterRing::generate("k1");
    assert!(matches!(MasterRing::parse(&format!("{}{}", *line, *line)), Err(RingError::Line(2))));
    assert!(matches!(MasterRing::from_file(std::path::Path::new("/nonexistent")), Err(RingError::Unreadable { .. })));
}

#[test]
fn an_old_master_key_still_unwraps_when_a_new_one_stands_first() {
    let old = MasterRing::generate("k1");
    let (key, wrapped) = MasterRing::parse(&old).unwrap().new_data_key(tenant(1), 1);
    let sealed = key.seal::<AuthToken>("AC1", b"token");
    let both = MasterRing::parse(&format!("{}{}", *MasterRing::generate("k2"), *old)).unwrap();
    let opened = both.unwrap_data_key(tenant(1), &wrapped).unwrap().open("AC1", &sealed).unwrap();
    assert_eq!(opened.expose(), b"token");
}

#[test]
fn a_ring_follows_its_file_and_a_broken_file_takes_no_key_away() {
    let path = std::env::temp_dir().join(format!("strowger-ring-{}", uuid::Uuid::new_v4()));
    let (first, second) = (MasterRing::generate("k1"), MasterRing::generate("k2"));
    std::fs::write(&path, first.as_bytes()).unwrap();
    let following = MasterRing::from_file(&path).unwrap();
    let clone = following.clone();
    let (_, wrapped) = MasterRing::parse(&second).unwrap().new_data_key(tenant(1), 1);
    assert_eq!(following.unwrap_data_key(tenant(1), &wrapped).err(), Some(VaultError::UnknownKey));
    std::fs::write(&path, format!("{}{}", *second, *first)).unwrap();
    assert!(clone.unwrap_data_key(tenant(1), &wrapped).is_ok());
    assert_eq!(following.ids(), ["k2", "k1"]);
    let (_, old) = MasterRing::parse(&first).unwrap().new_data_key(tenant(1), 1);
    let rewrapped = following.rewrap_data_key(tenant(1), &old, "k2").unwrap();
    assert!(MasterRing::parse(&second).unwrap().unwrap_data_key(tenant(1), &rewrapped).is_ok());
    std::fs::write(&path, "not a ring at all").unwrap();
    assert_eq!(following.ids(), ["k2", "k1"]);
    std::fs::remove_file(&path).unwrap();
    assert!(following.unwrap_data_key(tenant(1), &old).is_ok());
}

#[test]
fn a_challenge_is_answered_by_the_same_key_only() {
    let (mine, other) = (ring("k1"), ring("k1"));
    let challenge = mine.challenge("k1", b"nonce").unwrap();
    assert!(mine.answers(&challenge, b"nonce"));
    assert!(!mine.answers(&challenge, b"another"));
    assert!(!other.answers(&challenge, b"nonce"), "same id, other key");
    assert!(!ring("k2").answers(&challenge, b"nonce"));
    assert!(!mine.answers(b"", b"nonce"));
    assert!(mine.challenge("k2", b"nonce").is_none());
}

#[test]
fn a_wrapped_key_opens_only_for_its_scope_version_and_ring() {
    let mine = ring("k1");
    let (_, wrapped) = mine.new_data_key(tenant(1), 1);
    assert_eq!(mine.unwrap_data_key(tenant(2), &wrapped).err(), Some(VaultError::Refused));
    assert_eq!(mine.unwrap_data_key(Scope::Platform, &wrapped).err(), Some(VaultError::Refused));
    let newer = WrappedKey { version: 2, ..wrapped.clone() };
    assert_eq!(mine.unwrap_data_key(tenant(1), &newer).err(), Some(VaultError::Refused));
    assert_eq!(ring("k1").unwrap_data_key(tenant(1), &wrapped).err(), Some(VaultError::Refused), "same id, other key");
    assert_eq!(ring("k2").unwrap_data_key(tenant(1), &wrapped).err(), Some(VaultError::UnknownKey));
}

proptest! {
    #[test]
    fn what_was_sealed_opens_again(plain in proptest::collection::vec(any::<u8>(), 0..300), row in "\\PC{0,40}") {
        let (key, _) = ring("k1").new_data_key(tenant(7), 1);
        let sealed = key.seal::<NamedSecret>(&row, &plain);
        let opened = key.open(&row, &sealed).unwrap();
        prop_assert_eq!(opened.expose(), plain.as_slice());
    }

    #[test]
    fn another_tenant_purpose_row_or_version_is_refused(a in 1..i32::MAX, b in 1..i32::MAX, row in "[a-z]{1,9}", other in "[a-z]{1,9}") {
        prop_assume!(a != b && row != other);
        let ring = ring("k1");
        let (key, wrapped) = ring.new_data_key(tenant(a), 1);
        let sealed = key.seal::<NamedSecret>(&row, b"secret");
        prop_assert_eq!(key.open(&other, &sealed).err(), Some(VaultError::Refused));
        let as_token = Sealed::<AuthToken>::from_stored(sealed.as_bytes().to_vec());
        prop_assert_eq!(key.open(&row, &as_token).err(), Some(VaultError::Refused));
        // The same key bytes under another scope: what an attacker gets who moves both rows.
        let DataKey { version, bytes, .. }: DataKey = ring.unwrap_data_key(tenant(a), &wrapped).unwrap();
        let moved = DataKey { scope: tenant(b), version, bytes };
        prop_assert_eq!(moved.open(&row, &sealed).err(), Some(VaultError::Refused));
        let (second, _) = ring.new_data_key(tenant(a), 2);
        prop_assert_eq!(second.open(&row, &sealed).err(), Some(VaultError::UnknownKey));
    }

    #[test]
    fn every_flipped_bit_is_refused(plain in proptest::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0u32..8) {
        let (key, _) = ring("k1").new_data_key(tenant(7), 1);
        let mut bytes = key.seal::<NamedSecret>("row", &plain).as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(key.open("row", &Sealed::<NamedSecret>::from_stored(bytes)).is_err());
    }

    #[test]
    fn any_bytes_at_all_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let (key, _) = ring("k1").new_data_key(tenant(7), 1);
        let sealed = Sealed::<NamedSecret>::from_stored(bytes.clone());
        prop_assert!(key.open("row", &sealed).is_err());
        let wrapped = WrappedKey { version: 1, bytes };
        prop_assert!(ring("k1").unwrap_data_key(tenant(7), &wrapped).is_err());
    }
}
