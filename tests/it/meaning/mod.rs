//! The word vectors are those of the Python package they come from. `reference.json` was computed with it.

use std::path::PathBuf;

use serde_json::Value;
use strowger::meaning::{Table, cosine};

fn reference() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("reference.json")).unwrap();
    file["texts"].as_array().unwrap().clone()
}

/// The files that `./test` fetched from PyPI.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("STROWGER_TEST_WORD_VECTORS").expect("run the tests with ./test: it fetches the vectors").into()
}

#[expect(clippy::cast_possible_truncation, reason = "the reference is given to six places")]
fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

#[test]
fn vectors_and_cosines_are_those_of_the_python_package() {
    let table = Table::load(&folder()).unwrap();
    assert_eq!(table.dimension(), 256);
    let texts = reference();
    let vectors: Vec<_> = texts.iter().map(|t| table.embed(t["text"].as_str().unwrap()).unwrap()).collect();
    for (text, vector) in texts.iter().zip(&vectors) {
        let shown = vector[..6].iter().chain(&vector[254..]);
        for (ours, theirs) in shown.zip(text["vector"].as_array().unwrap()) {
            assert!((ours - number(theirs)).abs() < 1e-5, "{}: {ours} for {theirs}", text["text"]);
        }
        for (other, theirs) in vectors.iter().zip(text["cosines"].as_array().unwrap()) {
            assert!((cosine(vector, other) - number(theirs)).abs() < 1e-4, "{}", text["text"]);
        }
    }
}

#[test]
fn what_means_the_same_is_closer_than_what_does_not() {
    let table = Table::load(&folder()).unwrap();
    let alike = |a, b| cosine(&table.embed(a).unwrap(), &table.embed(b).unwrap());
    assert!(alike("cracked windshield", "windscreen") > alike("cracked windshield", "plays the piano") + 0.1);
    assert!(table.embed("").is_none(), "nothing is about nothing");
}

#[test]
fn very_long_texts_are_read_from_their_beginning() {
    let table = Table::load(&folder()).unwrap();
    let long = "é was here ".repeat(10_000);
    let same = cosine(&table.embed(&long).unwrap(), &table.embed(&long[..16_384]).unwrap());
    assert!(same > 0.9999, "{same}");
}
