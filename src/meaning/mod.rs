//! What a text is about, as a vector: without a network, without a neural network.
//!
//! A static word-vector model is a table with a row for each token, and a tokenizer that cuts a text into them. A text's
//! vector is the mean of its tokens' rows, of length 1, so that the cosine of two texts is their dot product. The files are
//! those of the MIT-licensed Python package `wordllama` (`ops/word-vectors.sh` fetches them), and the results are that
//! package's, float noise aside.
//!
//! What a newcomer gets wrong: vectors of two models mean nothing to each other. [`Table::id`] goes wherever a vector goes, and
//! whoever compares two compares their ids first. Scores are low: about 0.4 is a match, 0.1 is chance.
//!
//! A leaf: no IO but reading the two files once.

mod bpe;
mod table;

pub use table::{BadTable, Table};

/// A text's vector, and which model made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// Names all that makes vectors comparable.
    pub model: String,
    /// Its numbers.
    pub values: Vec<f32>,
}

/// How alike two vectors of one model are, -1 to 1; 0 for vectors of different lengths or without one.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return 0.0;
    }
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    let cosine = dot(a, b) / lengths;
    if cosine.is_finite() { cosine.clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_of_hand_worked_vectors() {
        assert!((cosine(&[3.0, 4.0], &[4.0, 3.0]) - 0.96).abs() < 1e-6);
        assert!((cosine(&[1.0, 0.0], &[-2.0, 0.0]) + 1.0).abs() < 1e-6);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 0.0]).to_bits(), 0f32.to_bits(), "no direction, no likeness");
        assert_eq!(cosine(&[1.0], &[1.0, 0.0]).to_bits(), 0f32.to_bits(), "another model's");
    }
}
