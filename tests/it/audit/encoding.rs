//! The bytes that are hashed.

use proptest::prelude::*;
use provisioner::audit::hash::encode;
use strowger::control::chains::Row;

/// Rows that are easily mistaken for each other: short texts of two letters, small numbers.
fn row() -> impl Strategy<Value = Row> {
    let text = || "[01]{0,2}";
    let numbers = (0..12_i32, 1..12_i64, 1..12_i64, -1..12_i64, proptest::option::of(0..12_i32));
    (numbers, text(), text(), text(), 0..2_u8).prop_map(
        |((chain, seq, id, at, tenant_id), actor, action, detail, previous)| Row {
            chain,
            seq,
            id,
            at,
            actor,
            action,
            tenant_id,
            detail,
            previous: vec![previous; 32],
            hash: Vec::new(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Two rows that share some of their columns. Red when the lengths are left out of `encode`, or any one column.
    #[test]
    fn different_rows_never_encode_the_same(a in row(), other in row(), shared in proptest::collection::vec(any::<bool>(), 8)) {
        let b = Row {
            chain: if shared[0] { a.chain } else { other.chain },
            seq: if shared[1] { a.seq } else { other.seq },
            id: if shared[2] { a.id } else { other.id },
            at: if shared[3] { a.at } else { other.at },
            tenant_id: if shared[4] { a.tenant_id } else { other.tenant_id },
            previous: if shared[5] { a.previous.clone() } else { other.previous },
            // Most often the texts differ: they are where one column could run into the next.
            actor: if shared[6] && shared[7] { a.actor.clone() } else { other.actor },
            action: if shared[6] && !shared[7] { a.action.clone() } else { other.action },
            detail: if !shared[6] && shared[7] { a.detail.clone() } else { other.detail },
            hash: Vec::new(),
        };
        prop_assert_eq!(a == b, encode(&a) == encode(&b));
    }

    /// Neighbours in meaning: one letter moved from a column to the next, one column emptied into another.
    #[test]
    fn a_letter_in_another_column_is_another_row(a in row(), letter in "[01]") {
        let rows = [
            Row { actor: format!("{}{letter}", a.actor), ..a.clone() },
            Row { action: format!("{letter}{}", a.action), ..a.clone() },
            Row { action: format!("{}{letter}", a.action), ..a.clone() },
            Row { detail: format!("{letter}{}", a.detail), ..a.clone() },
            Row { tenant_id: None, ..a.clone() },
            Row { tenant_id: Some(1), detail: String::new(), ..a.clone() },
            Row { tenant_id: None, detail: "1".into(), ..a.clone() },
            Row { actor: String::new(), action: format!("{}{}", a.actor, a.action), ..a.clone() },
        ];
        for (i, one) in rows.iter().enumerate() {
            for other in &rows[i + 1..] {
                prop_assert_eq!(one == other, encode(one) == encode(other), "{:?} {:?}", one, other);
            }
        }
    }
}
